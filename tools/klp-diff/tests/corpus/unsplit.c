// SPDX-License-Identifier: GPL-2.0
// Without the compiler's splitting, the same change is in the function itself.
// flags: -fno-reorder-blocks-and-partition -fno-ipa-sra -fno-partial-inlining -fno-ipa-cp
// only: gcc
// changed: f
// external: consume cold_path
#include "kernel.h"
__attribute__((cold)) void cold_path(int n);
int f(int n)
{
	if (__builtin_expect(n < 0, 0)) {
		cold_path(n);
#ifdef PATCHED
		cold_path(n + 2);
#else
		cold_path(n + 1);
#endif
	}
	return consume(n);
}
