// SPDX-License-Identifier: GPL-2.0
// The lists of relocations name the object that they wait for, and the section.
// only: x86_64-gcc
// files: driver vmlinux
// exports: consume
// changed: f g
// outside: driver:state hidden
// external: consume
// lists: driver..text.f vmlinux..text.f vmlinux..text.g
#include "kernel.h"
int hidden(int n);
#ifdef PATCHED
#define STEP 2
#else
#define STEP 1
#endif
#if FILE == 1
static int state;
int f(int n) { state += n; return hidden(n) + consume(state) + STEP; }
#else
int g(int n) { return hidden(n) + consume(n) + STEP; }
#endif
