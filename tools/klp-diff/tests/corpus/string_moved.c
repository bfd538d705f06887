// SPDX-License-Identifier: GPL-2.0
// A string is added before others, in a function of its own.
// changed: f
// external: _printk
#include "kernel.h"
int f(void)
{
#ifdef PATCHED
	_printk("first\n");
#endif
	_printk("second\n");
	return 1;
}
int g(void) { _printk("second\n"); _printk("third\n"); return 2; }
