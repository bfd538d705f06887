// SPDX-License-Identifier: GPL-2.0
// A callback comes along.
// changed: f
// new: before
// external: consume
#include "kernel.h"
struct callback { int (*function)(void *object); };
#ifdef PATCHED
static int before(void *object) { return object ? consume(1) : 0; }
struct callback callback __section(".kpatch.callbacks.pre_patch") = { before };
int f(int n) { return consume(n) + 1; }
#else
int f(int n) { return consume(n); }
#endif
