// SPDX-License-Identifier: GPL-2.0
// Two modules may have new functions of one name: each uses its own.
// files: first second
// objects: first:1 second:1
// exports: consume
// changed: f
// new: added
// external: consume
#include "kernel.h"
#ifdef PATCHED
noinline int added(int n) { return consume(n) + FILE; }
int f(int n) { return added(n) + 1; }
#else
int f(int n) { return consume(n); }
#endif
