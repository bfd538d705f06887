// SPDX-License-Identifier: GPL-2.0
// New per-CPU variables are in the one section that the module loader knows.
// changed: f
// data: first second
// external: consume
// outside: old
// sections: .data..percpu
#include "kernel.h"
#define __percpu(suffix) __section(".data..percpu" suffix)
#ifdef PATCHED
static __percpu("..read_mostly") int first = 1;
static __percpu("") long second = 2;
#endif
static __percpu("") int old = 3;
int f(int n)
{
	old += n;
#ifdef PATCHED
	first += n;
	second += n;
	return consume(n + first + second + old);
#else
	return consume(n + old);
#endif
}
