// SPDX-License-Identifier: GPL-2.0
// A large constant array is initialised from constants that the module has too.
// changed: f
// external: use
#include "kernel.h"
int f(int n)
{
	volatile u64 values[4] = { 0x123456789abcdef0, 2,
#ifdef PATCHED
		0x1111111111111111,
#else
		0x2222222222222222,
#endif
		0x3333333333333333 };
	use((void *)values);
	return n;
}
