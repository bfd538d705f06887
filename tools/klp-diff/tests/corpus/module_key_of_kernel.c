// SPDX-License-Identifier: GPL-2.0
// A jump label in a module, whose key the kernel exports.
// files: driver
// exports: consume key
// changed: f
// entries: __jump_table 1
// external: consume key
#include "kernel.h"
#include "jump_label.h"
extern u64 key[2];
int f(int n)
{
#ifdef PATCHED
	if (branch(key))
		return consume(n) + 1;
#endif
	return consume(n);
}
