// SPDX-License-Identifier: GPL-2.0
// Code that must not be traced changes.
// refused: f NotPatchable
#include "kernel.h"
noinstr int f(int n)
{
#ifdef PATCHED
	return n + 1;
#else
	return n;
#endif
}
