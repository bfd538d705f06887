// SPDX-License-Identifier: GPL-2.0
// A tracepoint of a module that may be absent stays off: its entry is left out.
// only: x86_64
// files: driver
// exports: consume
// changed: f
// entries: __jump_table 0
// external: consume
#include "kernel.h"
#include "jump_label.h"
u64 __tracepoint_hook[2] = { 1 };
int f(int n)
{
#ifdef PATCHED
	return branch(__tracepoint_hook) ? consume(n) + 1 : consume(n + 1);
#else
	return branch(__tracepoint_hook) ? consume(n) + 2 : consume(n + 2);
#endif
}
