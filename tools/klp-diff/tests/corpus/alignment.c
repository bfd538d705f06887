// SPDX-License-Identifier: GPL-2.0
// Only the alignment of a function changes.
// nothing
#include "kernel.h"
#ifdef PATCHED
__attribute__((aligned(64)))
#endif
int f(int n) { return consume(n); }
