// SPDX-License-Identifier: GPL-2.0
// A line that the function returns is a number like any other.
// changed: f
#include "kernel.h"
#ifdef PATCHED
#line 300
#endif
int f(void) { return __LINE__; }
