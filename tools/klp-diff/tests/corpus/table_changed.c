// SPDX-License-Identifier: GPL-2.0
// A constant table of one function changes: that function has a new one.
// changed: f
// data: squares
#include "kernel.h"
#ifdef PATCHED
static const int squares[6] = { 0, 1, 4, 9, 16, 25 };
#else
static const int squares[6] = { 0, 1, 4, 9, 16, 24 };
#endif
int f(unsigned int n) { return squares[n % 6]; }
int g(int n) { return n; }
