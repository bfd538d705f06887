// SPDX-License-Identifier: GPL-2.0
// gcc leaves no room to restore the TOC pointer behind a call of a function of the same file, and such
// a function stays in the kernel.
// only: powerpc-gcc
// refused: f Architecture
#include "kernel.h"
static noinline int g(int n) { return consume(n) + 1; }
#ifdef PATCHED
int f(int n) { return g(n) + consume(7); }
#else
int f(int n) { return g(n) + consume(6); }
#endif
int h(int n) { return g(n); }
