// SPDX-License-Identifier: GPL-2.0
/* Reading the stacks of sleeping tasks without unwinding them. */

#include <linux/bpf.h>
#include <linux/mm.h>
#include <linux/sched/task_stack.h>

#include "livepatch.h"

/*
 * Function graph tracing, kretprobes and rethooks keep return addresses outside of the stack. KASAN
 * reports reads of another task's stack.
 */
void livepatch_with_sleeping_stack(struct task_struct *task, unsigned long sp,
				   void (*fn)(const unsigned long *words, unsigned long count,
					      void *arg),
				   void *arg)
{
	unsigned long start, end;

	if (IS_ENABLED(CONFIG_KASAN) || task->on_rq)
		return;
#ifdef CONFIG_FUNCTION_GRAPH_TRACER
	if (task->ret_stack)
		return;
#endif
#ifdef CONFIG_KRETPROBES
	if (!llist_empty(&task->kretprobe_instances))
		return;
#endif
#ifdef CONFIG_RETHOOK
	if (!llist_empty(&task->rethooks))
		return;
#endif
	if (!try_get_task_stack(task))
		return;
	start = (unsigned long)task_stack_page(task);
	end = start + THREAD_SIZE;
	if (sp > start && sp < end && IS_ALIGNED(sp, sizeof(long)))
		fn((const unsigned long *)sp, (end - sp) / sizeof(long), arg);
	put_task_stack(task);
}

#ifdef CONFIG_BPF_JIT
/*
 * BPF may have forgotten a program that was detached while a task was in it. A stack with an
 * address in that program is not reliable, but only unwinding notices. So the search of single
 * words has to find the trampoline, which BPF knows while a task is in it.
 *
 * Trampolines are in module space or elsewhere in the vmalloc area. The stack may be in that area
 * too, and most addresses on a stack point into the stack itself.
 */
bool livepatch_finds_trampoline(const unsigned long *words, unsigned long count)
{
	unsigned long start = (unsigned long)words;

	for (unsigned long i = 0; i < count; i++) {
		unsigned long word = READ_ONCE(words[i]);

		if (word - start < count * sizeof(word))
			continue;
		if (is_vmalloc_or_module_addr((void *)word) && bpf_trampoline_func(word))
			return true;
	}
	return false;
}
#endif
