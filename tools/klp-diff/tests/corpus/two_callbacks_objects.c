// SPDX-License-Identifier: GPL-2.0
// Two objects have a callback each.
// files: vmlinux driver
// objects: driver:0 vmlinux:1
// exports: consume
// changed: f
// new: before
// external: consume
#include "kernel.h"
#ifdef PATCHED
static int before(void *object) { return consume(FILE); }
void *callback __section(".kpatch.callbacks.pre_patch") = before;
#endif
#if FILE == 1
#ifdef PATCHED
int f(int n) { return consume(n) + 1; }
#else
int f(int n) { return consume(n); }
#endif
#endif
