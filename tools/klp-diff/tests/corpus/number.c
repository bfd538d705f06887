// SPDX-License-Identifier: GPL-2.0
// A number that is no line changes, though it is passed to a function that prints.
// changed: f
// external: _printk
#include "kernel.h"
#ifdef PATCHED
int f(void) { _printk("%s: %d\n", "speed", 11); return 0; }
#else
int f(void) { _printk("%s: %d\n", "speed", 10); return 0; }
#endif
