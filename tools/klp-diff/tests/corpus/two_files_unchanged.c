// SPDX-License-Identifier: GPL-2.0
// One of two files does not change.
// files: vmlinux vmlinux
// objects: vmlinux:1
// changed: g
// external: consume
#include "kernel.h"
#if FILE == 1
int f(int n) { return consume(n); }
#elif defined(PATCHED)
int g(int n) { return consume(n) + 1; }
#else
int g(int n) { return consume(n); }
#endif
