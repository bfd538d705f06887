// SPDX-License-Identifier: GPL-2.0
/*
 * The part of the bridge that has to be C, since Rust has no counterpart of the macros that are used here.
 */

#include <linux/bpf.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/livepatch.h>
#include <linux/mm.h>
#include <linux/moduleloader.h>
#include <linux/percpu.h>
#include <linux/sched/task.h>
#include <linux/stop_machine.h>

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
 * In livepatch.rs. The module loader calls the core, and modules use shadow variables, before the core's own
 * initcall has run: the locks and lists for that have to be ready before any module can load.
 */
int livepatch_early_init(void);
early_initcall(livepatch_early_init);

/* Return addresses of the task that this CPU looks at. They are too many for the stack. */
static DEFINE_PER_CPU(unsigned long[100], livepatch_entries);

/* This CPU's buffer and its length in words. The caller has preemption off for as long as it uses it. */
unsigned long *livepatch_stack_buffer(unsigned int *length);
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

/* In tasks.rs. */
void livepatch_switch_if_pending(struct task_struct *task);

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
 * Takes the task off the CPU that it is running on, to look at it. The caller holds klp_mutex, so
 * that only one queues work. While preemption is off here, no CPU goes: the stopper of one that is
 * active accepts work, and does it before it parks.
 */
void livepatch_take_off_cpu(struct task_struct *task);
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

void livepatch_name_traced(unsigned long *entries, unsigned long count);
bool livepatch_finds_trampoline(const unsigned long *words, unsigned long count);

/* Puts the traced function in the place of each address in a trampoline. */
void livepatch_name_traced(unsigned long *entries, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		unsigned long traced = bpf_trampoline_func(entries[i]);

		if (traced)
			entries[i] = traced;
	}
}

/*
 * Whether one of the words on a stack points into a trampoline. Trampolines are in module space or
 * among the rest of what is virtually mapped, as the stack may be, to which most words there point.
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
