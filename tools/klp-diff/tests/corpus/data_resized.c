// SPDX-License-Identifier: GPL-2.0
// A structure grows.
// refused: state SizeChanged
#include "kernel.h"
struct state {
	u64 a, b;
#ifdef PATCHED
	u64 c;
#endif
};
struct state state = { .a = 1 };
u64 f(void) { return state.a + state.b; }
