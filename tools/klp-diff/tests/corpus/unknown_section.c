// SPDX-License-Identifier: GPL-2.0
// What a section is for is unknown, and it changes.
// refused: entry UnknownSection
#include "kernel.h"
#ifdef PATCHED
int entry __section("__mysterious") = 2;
#else
int entry __section("__mysterious") = 1;
#endif
int f(int n) { return consume(n); }
