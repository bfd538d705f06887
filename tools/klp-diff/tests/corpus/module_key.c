// SPDX-License-Identifier: GPL-2.0
// A jump label whose key is in a module that may be absent.
// files: driver
// exports: consume
// refused: __jump_table KeyInModule
#include "kernel.h"
#include "jump_label.h"
static u64 key[2] __used = { 1 };
int f(int n)
{
#ifdef PATCHED
	if (branch(key))
		return consume(n) + 1;
#endif
	return consume(n);
}
int g(int n) { return branch(key) ? consume(n) : consume(n + 3); }
