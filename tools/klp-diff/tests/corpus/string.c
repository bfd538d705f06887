// SPDX-License-Identifier: GPL-2.0
// A string changes, and no byte of code.
// changed: f
// external: _printk
#include "kernel.h"
#ifdef PATCHED
int f(void) { _printk("new\n"); return 0; }
#else
int f(void) { _printk("old\n"); return 0; }
#endif
int g(void) { _printk("other\n"); return 0; }
