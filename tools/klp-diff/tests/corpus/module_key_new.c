// SPDX-License-Identifier: GPL-2.0
// A jump label in a module, whose key is new and comes along.
// files: driver
// exports: consume
// changed: f
// data: key
// entries: __jump_table 1
// external: consume
#include "kernel.h"
#include "jump_label.h"
#ifdef PATCHED
static u64 key[2] __used = { 1 };
#endif
int f(int n)
{
#ifdef PATCHED
	if (branch(key))
		return consume(n) + 1;
#endif
	return consume(n);
}
