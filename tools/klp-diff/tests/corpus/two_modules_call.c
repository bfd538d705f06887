// SPDX-License-Identifier: GPL-2.0
// A changed function of one module calls a new function of another: the live patch's own, which is
// there also while the other module is not.
// files: first second
// objects: first:1 second:1
// exports: consume
// changed: f g
// new: added
// data: limit
// external: consume
#include "kernel.h"
int added(int n);
extern int limit;
#ifdef PATCHED
#if FILE == 1
int limit = 3;
noinline int added(int n) { return consume(n) + limit; }
int f(int n) { return added(n) + 1; }
#else
int g(int n) { return added(n) + limit; }
#endif
#elif FILE == 1
int f(int n) { return consume(n); }
#else
int g(int n) { return consume(n); }
#endif
