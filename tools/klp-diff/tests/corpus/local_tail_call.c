// SPDX-License-Identifier: GPL-2.0
// A function ends in a call that leaves the module, and the frame that the stub would use is not its own.
// only: powerpc
// flags: -mcmodel=large -foptimize-sibling-calls
// refused: f Architecture
#include "kernel.h"
static noinline int g(int n) { return consume(n) + 1; }
#ifdef PATCHED
int f(int n) { return g(n + 7); }
#else
int f(int n) { return g(n + 6); }
#endif
int h(int n) { return g(n) + 1; }
