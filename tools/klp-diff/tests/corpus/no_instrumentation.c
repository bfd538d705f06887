// SPDX-License-Identifier: GPL-2.0
// A function changes in a section that must not be patched.
// refused: f NotPatchable
#include "kernel.h"
#ifdef PATCHED
noinstr int f(int n) { return consume(n) + 1; }
#else
noinstr int f(int n) { return consume(n) + 2; }
#endif
