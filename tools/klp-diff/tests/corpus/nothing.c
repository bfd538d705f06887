// SPDX-License-Identifier: GPL-2.0
// Only comments and lines move.
// nothing
#include "kernel.h"
#ifdef PATCHED
#line 20
#endif
int f(int n) { return consume(n) + 1; }
