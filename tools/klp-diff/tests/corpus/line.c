// SPDX-License-Identifier: GPL-2.0
// Numbers of lines are passed beside the file's name.
// nothing
#include "kernel.h"
#ifdef PATCHED
#line 300
#endif
#define might_sleep() __might_sleep(__FILE__, __LINE__)
int f(int n) { might_sleep(); return consume(n); }
int g(int n)
{
	if (n)
		lockdep_rcu_suspicious(__FILE__, __LINE__, "no lock");
	return consume(n);
}
int h(int n)
{
	if (n)
		_printk("failed at %s (%d)\n", __FILE__, __LINE__);
	return consume(n);
}
