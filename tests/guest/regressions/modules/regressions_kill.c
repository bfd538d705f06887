// SPDX-License-Identifier: GPL-2.0
/* Makes ftrace shut itself down, as it does when it finds code that it does not expect. */
#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/kernel.h>
#include <linux/kprobes.h>

#include "regressions.h"

static int __init kill_init(void)
{
	/* The function is not exported, but a kprobe finds it. */
	struct kprobe probe = { .symbol_name = "ftrace_kill" };
	char symbol[KSYM_SYMBOL_LEN];
	unsigned long offset = 0;
	void (*kill)(void);
	int ret = register_kprobe(&probe);

	if (ret)
		return ret;
	/* The kprobe may lie behind the entry that callers from elsewhere use. */
	sprint_symbol(symbol, (unsigned long)probe.addr);
	if (sscanf(symbol, "ftrace_kill+0x%lx", &offset) != 1)
		ret = -ENOENT;
	kill = (void *)probe.addr - offset;
	unregister_kprobe(&probe);
	if (ret)
		return ret;
	kill();
	return 0;
}
module_init(kill_init);

MODULE_DESCRIPTION("Shuts ftrace down, for the suite regressions");
MODULE_LICENSE("GPL");
