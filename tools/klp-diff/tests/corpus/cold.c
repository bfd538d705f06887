// SPDX-License-Identifier: GPL-2.0
// Only the part changes that is split off as unlikely: the function goes along.
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
