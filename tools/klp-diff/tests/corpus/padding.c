// SPDX-License-Identifier: GPL-2.0
// The padding before a function, which the compiler lists, is no patch site on x86_64.
// only: x86_64
// flags: -fpatchable-function-entry=16,16
// refused: f NoPatchSite
#include "kernel.h"
#ifdef PATCHED
notrace int f(int n) { return consume(n) + 1; }
#else
notrace int f(int n) { return consume(n) + 2; }
#endif
