// SPDX-License-Identifier: GPL-2.0
// A changed function of one module calls a new function of another, which uses a variable of its
// own module. That is loaded whenever the first is, which uses what it exports.
// files: first second
// objects: first:0 second:1
// exports: consume first:anchor
// changed: g
// new: added
// outside: first:anchor first:seen
// external: consume
#include "kernel.h"
int added(int n);
int anchor(int n);
#if FILE == 1
static int seen;
#ifdef PATCHED
noinline int added(int n) { return consume(n) + seen++; }
#endif
int anchor(int n) { return consume(n) + seen++; }
#elif defined(PATCHED)
int g(int n) { return anchor(added(n)); }
#else
int g(int n) { return anchor(n); }
#endif
