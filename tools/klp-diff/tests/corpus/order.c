// SPDX-License-Identifier: GPL-2.0
// Functions change places.
// nothing
#include "kernel.h"
static int count;
#ifdef PATCHED
int g(int n) { static int own; own += n; return consume(own); }
int f(int n) { count += n; _printk("f %d\n", count); return 0; }
#else
int f(int n) { count += n; _printk("f %d\n", count); return 0; }
int g(int n) { static int own; own += n; return consume(own); }
#endif
