// SPDX-License-Identifier: GPL-2.0
// A changed function of one module calls a new function of another, which uses a variable that is
// there only while its own module is.
// files: first second
// exports: consume
// refused: added OtherModule
#include "kernel.h"
int added(int n);
#if FILE == 1
static int seen;
#ifdef PATCHED
static noinline int deeper(int n) { return consume(n) + seen++; }
noinline int added(int n) { return deeper(n) + consume(n); }
#endif
int f(int n) { return consume(n) + seen++; }
#elif defined(PATCHED)
int g(int n) { return added(n); }
#else
int g(int n) { return consume(n); }
#endif
