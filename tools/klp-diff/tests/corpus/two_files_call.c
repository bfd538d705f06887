// SPDX-License-Identifier: GPL-2.0
// A changed function that another file calls is the kernel's: livepatch redirects it.
// files: vmlinux vmlinux
// changed: f g
// external: consume f
#include "kernel.h"
int f(int n);
#ifdef PATCHED
#define STEP 2
#else
#define STEP 1
#endif
#if FILE == 1
int f(int n) { return consume(n) + STEP; }
#else
int g(int n) { return f(n) + consume(n) + STEP; }
#endif
