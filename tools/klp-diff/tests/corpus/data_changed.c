// SPDX-License-Identifier: GPL-2.0
// The initial value of a variable that live code uses changes.
// refused: limit DataChanged
#include "kernel.h"
#ifdef PATCHED
int limit = 5;
#else
int limit = 4;
#endif
int f(int n) { return n > limit; }
