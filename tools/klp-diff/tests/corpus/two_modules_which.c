// SPDX-License-Identifier: GPL-2.0
// Two modules get new functions of one name, and a third one calls it: nobody knows which.
// files: first second third
// exports: consume
// refused: added DefinedTwice
#include "kernel.h"
int added(int n);
#if FILE == 3
#ifdef PATCHED
int g(int n) { return added(n); }
#else
int g(int n) { return consume(n); }
#endif
#elif defined(PATCHED)
noinline int added(int n) { return consume(n) + FILE; }
int f(int n) { return added(n) + 1; }
#else
int f(int n) { return consume(n); }
#endif
