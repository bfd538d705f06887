// SPDX-License-Identifier: GPL-2.0
// In the medium model, a variable of the same file is a distance from the TOC pointer. The kernel's
// variable is out of its reach.
// only: powerpc
// flags: -mcmodel=medium
// refused: f Architecture
#include "kernel.h"
static int state;
#ifdef PATCHED
int f(int n) { return consume(n + 7) + state++; }
#else
int f(int n) { return consume(n + 6) + state++; }
#endif
int h(void) { return state++; }
