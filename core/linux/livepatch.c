// SPDX-License-Identifier: GPL-2.0
/*
 * The part of the bridge that is C: it lives off macros and inline functions that Rust has no counterpart
 * of, or it is one piece that every call of a patched function runs through.
 */

#include <linux/bpf.h>
#include <linux/cpu.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/livepatch.h>
#include <linux/mm.h>
#include <linux/moduleloader.h>
#include <linux/percpu.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/stop_machine.h>
#include <linux/trace_recursion.h>
#include <linux/workqueue.h>

#include "livepatch.h"

/* The same symbols, for the same modules, as the C core's. */
EXPORT_SYMBOL_GPL(klp_enable_patch);
EXPORT_SYMBOL_GPL(klp_find_section_by_name);
EXPORT_SYMBOL_GPL(klp_get_prev_state);
EXPORT_SYMBOL_GPL(klp_get_state);
EXPORT_SYMBOL_GPL(klp_shadow_alloc);
EXPORT_SYMBOL_GPL(klp_shadow_free);
EXPORT_SYMBOL_GPL(klp_shadow_free_all);
EXPORT_SYMBOL_GPL(klp_shadow_get);
EXPORT_SYMBOL_GPL(klp_shadow_get_or_alloc);

/*
 * The module loader calls the core, and modules use shadow variables, before the core's own initcall has run:
 * the locks and lists for that have to be ready before any module can load.
 */
early_initcall(livepatch_early_init);

/* The guard is inline, so that a call of a patched function pays for one call from here. */
void notrace livepatch_ftrace_handler(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
				      struct ftrace_regs *fregs)
{
	int bit;

	bit = ftrace_test_recursion_trylock(ip, parent_ip);
	if (WARN_ON_ONCE(bit < 0))
		return;
	livepatch_dispatch(ip, fregs);
	ftrace_test_recursion_unlock(bit);
}

void livepatch_for_each_thread(void (*fn)(struct task_struct *task, void *arg), void *arg)
{
	struct task_struct *g, *task;

	read_lock(&tasklist_lock);
	for_each_process_thread(g, task)
		fn(task, arg);
	read_unlock(&tasklist_lock);
}

struct task_struct *livepatch_get_next_thread(int *number)
{
	struct task_struct *task = NULL;
	struct pid *pid;

	rcu_read_lock();
	while (!task && (pid = find_ge_pid(*number, &init_pid_ns))) {
		*number = pid_nr(pid) + 1;
		task = pid_task(pid, PIDTYPE_PID);
	}
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	return task;
}

/*
 * Function graph tracing, kretprobes and rethooks keep return addresses elsewhere. KASAN does not like that
 * others look at a stack.
 */
void livepatch_with_sleeping_stack(struct task_struct *task, unsigned long sp,
				   void (*fn)(const unsigned long *words, unsigned long count, void *arg),
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

void livepatch_work_on_each_cpu(long (*fn)(void *arg))
{
	unsigned int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu)
		work_on_cpu(cpu, fn, NULL);
	cpus_read_unlock();
}

/* Return addresses of the task that this CPU looks at. They are too many for the stack. */
static DEFINE_PER_CPU(unsigned long[100], livepatch_entries);

unsigned long *livepatch_stack_buffer(unsigned int *length)
{
	*length = ARRAY_SIZE(livepatch_entries);
	return *this_cpu_ptr(&livepatch_entries);
}

/* What a CPU's stopper is to look at: a task that was found running there. */
struct livepatch_look {
	struct cpu_stop_work work;
	/* A reference while the work is queued or running; NULL while it can be queued. */
	struct task_struct *task;
};

static DEFINE_PER_CPU(struct livepatch_look, livepatch_looks);

/* The stopper has preemption off. It is running here, and so the task is not. */
static int livepatch_look(void *arg)
{
	struct livepatch_look *look = arg;
	struct task_struct *task = look->task;

	livepatch_switch_if_pending(task);
	/* Pairs with the acquire below: the work has been done when it is queued again. */
	smp_store_release(&look->task, NULL);
	put_task_struct(task);
	return 0;
}

/*
 * klp_mutex sees to it that only one queues work. While preemption is off here, no CPU goes: the stopper of
 * one that is active accepts work, and does it before it parks.
 */
void livepatch_take_off_cpu(struct task_struct *task)
{
	struct livepatch_look *look;
	unsigned int cpu;

	preempt_disable();
	cpu = task_cpu(task);
	look = per_cpu_ptr(&livepatch_looks, cpu);
	if (task_curr(task) && cpu != smp_processor_id() && cpu_active(cpu) &&
	    !smp_load_acquire(&look->task)) {
		look->task = get_task_struct(task);
		stop_one_cpu_nowait(cpu, livepatch_look, look, &look->work);
	}
	preempt_enable();
}

#ifdef CONFIG_BPF_JIT
/*
 * A BPF trampoline that calls the traced function by itself (fexit, fmod_ret) may be entered by a
 * jump. Until it makes its call, and when that has returned, a task in it has no address of the
 * function on its stack: only the trampoline's code tells which function that is. The task may be
 * preempted there, or sleep in a program that may. It is about to run the original, so it is inside.
 *
 * While a task is in a trampoline, that is known to BPF, even if all programs were detached. In its
 * first and last instructions it may not be, but there no stack counts as reliable. A program that
 * was detached may not be known any more, and then the stack is not reliable either; only whoever
 * looks at single words has to find the trampoline on his own.
 *
 * Nothing here takes a lock: the caller may hold those of the scheduler.
 */

void livepatch_name_traced(unsigned long *entries, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		unsigned long traced = bpf_trampoline_func(entries[i]);

		if (traced)
			entries[i] = traced;
	}
}

/*
 * Trampolines are in module space or among the rest of what is virtually mapped, as the stack may be, to which
 * most words there point.
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

/* Architectures that never have to undo a relocation do not provide this. */
void __weak clear_relocate_add(Elf_Shdr *sechdrs, const char *strtab, unsigned int symindex,
			       unsigned int relsec, struct module *me)
{
}
