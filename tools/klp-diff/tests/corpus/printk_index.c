// SPDX-License-Identifier: GPL-2.0
// The index of messages is only listed: the module leaves it out. Where constants with pointers are in
// `.data.rel.ro`, a copy of the entry is in the module, and does no harm.
// only: x86_64 arm64 s390 powerpc-gcc
// changed: f
// external: _printk
#include "kernel.h"
struct entry { const char *format; const char *function; };
#define pr(text) do {							\
	static const struct entry entry __used = { text, __func__ };	\
	static const struct entry *pointer __used			\
		__section(".printk_index") = &entry;			\
	_printk(text);							\
} while (0)
int f(int n)
{
#ifdef PATCHED
	pr("after\n");
#else
	pr("before\n");
#endif
	return n;
}
