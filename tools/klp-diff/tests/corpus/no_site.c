// SPDX-License-Identifier: GPL-2.0
// A function that the tracer can't reach changes.
// refused: f NoPatchSite
#include "kernel.h"
#ifdef PATCHED
notrace int f(int n) { return consume(n) + 1; }
#else
notrace int f(int n) { return consume(n) + 2; }
#endif
