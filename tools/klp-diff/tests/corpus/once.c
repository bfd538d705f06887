// SPDX-License-Identifier: GPL-2.0
// The state of a message that is printed once belongs to the code that prints it.
// changed: f
// data: __already_done
// external: _printk consume
#include "kernel.h"
int f(int n)
{
	static char __section(".data..once") __already_done;

	if (!__already_done) {
		__already_done = 1;
		_printk("once\n");
	}
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
