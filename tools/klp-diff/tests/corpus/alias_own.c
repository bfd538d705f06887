// SPDX-License-Identifier: GPL-2.0
// What was another name of a function becomes a function of its own. The kernel's callers of both
// names are at one address.
// refused: other Merged
#include "kernel.h"
int one(int n) { return consume(n); }
#ifdef PATCHED
int other(int n) { return consume(n) + 1; }
#else
int other(int n) __attribute__((alias("one")));
#endif
