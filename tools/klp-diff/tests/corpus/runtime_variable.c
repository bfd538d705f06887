// SPDX-License-Identifier: GPL-2.0
// The function shifts by the variable itself, as the refusal of the constant advises.
// exports: consume
// changed: f
// outside: order
// external: consume
#include "kernel.h"
static unsigned char order;
void set(int n) { order = n; }
int get(void) { return order; }
#ifdef PATCHED
int f(unsigned int n) { return consume(n >> order) + 1; }
#else
int f(unsigned int n)
{
	__asm__("1:\n\t.pushsection runtime_shift_order, \"a\"\n\t.long 1b - .\n\t.popsection" : "+r"(n));
	return consume(n);
}
#endif
