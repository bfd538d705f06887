// SPDX-License-Identifier: GPL-2.0
/* Has ftrace shut itself down, as it does where it finds code that it did not expect. */
#include <linux/ftrace.h>
#include <linux/kprobes.h>

#include "regressions.h"

static int __init kill_init(void)
{
	/* The function is not exported, but a kprobe finds it. */
	struct kprobe probe = { .symbol_name = "ftrace_kill" };
	void (*kill)(void);
	int ret = register_kprobe(&probe);

	if (ret)
		return ret;
	kill = (void *)probe.addr;
	unregister_kprobe(&probe);
	kill();
	return 0;
}
module_init(kill_init);

MODULE_DESCRIPTION("Shuts ftrace down, for the suite regressions");
MODULE_LICENSE("GPL");
