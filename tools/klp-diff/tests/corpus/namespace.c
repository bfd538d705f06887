// SPDX-License-Identifier: GPL-2.0
// The module imports the namespaces that the object does.
// changed: f
// external: consume
// modinfo: livepatch=Y import_ns=CORPUS
#include "kernel.h"
static const char import[] __used __section(".modinfo") = "import_ns=CORPUS";
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
