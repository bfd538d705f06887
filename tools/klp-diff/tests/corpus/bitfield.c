// SPDX-License-Identifier: GPL-2.0
// Another bit of a structure is tested.
// changed: f
// external: consume
#include "kernel.h"
struct flags { u32 first : 3, second : 1, third : 4; };
int f(struct flags *flags)
{
#ifdef PATCHED
	return flags->third == 5 ? consume(1) : consume(2);
#else
	return flags->first == 5 ? consume(1) : consume(2);
#endif
}
