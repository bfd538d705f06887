// SPDX-License-Identifier: GPL-2.0
// A pointer to a changed function is the kernel's, a call goes to the new version.
// changed: f g
// outside: g
// external: consume use
#include "kernel.h"
noinline int g(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
int f(int n)
{
	use((void *)g);
#ifdef PATCHED
	return g(n) + 2;
#else
	return g(n);
#endif
}
