// SPDX-License-Identifier: GPL-2.0
// A statement changes.
// changed: f
// outside: g
// external: consume
// only: x86_64 arm64 s390 powerpc-clang
#include "kernel.h"
static noinline int g(int n) { return consume(n) + 1; }
#ifdef PATCHED
int f(int n) { return g(n) + consume(7); }
#else
int f(int n) { return g(n) + consume(6); }
#endif
int h(int n) { return g(n); }
