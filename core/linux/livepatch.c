// SPDX-License-Identifier: GPL-2.0
/*
 * The C part of the bridge: code that needs macros and inline functions without a Rust counterpart,
 * and the ftrace handler, a single function through which every call of a patched function runs,
 * with the table in which it finds the function's site.
 */

#include <linux/bpf.h>
#include <linux/cpu.h>
#include <linux/export.h>
#include <linux/init.h>
#include <linux/livepatch.h>
#include <linux/moduleloader.h>
#include <linux/percpu.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>
#include <linux/rculist.h>
#include <linux/sched/signal.h>
#include <linux/sched/task.h>
#include <linux/trace_recursion.h>
#include <linux/workqueue.h>

#include "livepatch.h"

/* The C core exports these symbols too, to GPL modules as here. */
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
 * The module loader calls the core, and modules use shadow variables, before the core's own
 * initcall has run. The locks and lists that they use have to be ready before any module can load.
 */
early_initcall(livepatch_early_init);

/* The patched functions by location. Changed under a lock of ftrace.rs, read as below. */
static struct hlist_head livepatch_table[512];

/*
 * The linker puts functions at multiples of 16 on most architectures, one after the other. The
 * bits above are spread well, and take a single instruction. A hash of the address takes up to 7.
 */
static __always_inline struct hlist_head *livepatch_bucket(unsigned long location)
{
	return &livepatch_table[location / 16 % ARRAY_SIZE(livepatch_table)];
}

void livepatch_link(struct livepatch_entry *entry)
{
	/*
	 * Release, in here: whoever finds the entry sees what is in it. The entry may have been in
	 * the table before, without a wait since. A reader that is still at it then goes through
	 * the start of the same list again.
	 */
	hlist_add_head_rcu(&entry->node, livepatch_bucket(entry->location));
}

void livepatch_unlink(struct livepatch_entry *entry)
{
	hlist_del_init_rcu(&entry->node);
}

#define livepatch_follow(next)							\
	hlist_entry_safe(rcu_dereference_raw_check(next), struct livepatch_entry, node)

/*
 * The caller holds the lock of ftrace.rs, or has preemption off. An entry that was unlinked is
 * freed only after every CPU has scheduled. Handlers may run where RCU is not watching, so RCU is
 * not asked.
 */
static __always_inline struct livepatch_entry *livepatch_search(unsigned long location)
{
	struct livepatch_entry *entry = livepatch_follow(livepatch_bucket(location)->first);

	/* Nearly always it is the first one. Without the loop, that takes fewer instructions. */
	if (likely(entry && entry->location == location))
		return entry;
	while (entry && entry->location != location)
		entry = livepatch_follow(entry->node.next);
	return entry;
}

struct livepatch_entry *livepatch_find(unsigned long location)
{
	return livepatch_search(location);
}

/* Returns where the call at ip goes, or 0 for the original. */
static __always_inline unsigned long livepatch_dispatch(unsigned long ip)
{
	const struct livepatch_entry *entry = livepatch_search(ip);
	const struct livepatch_site *site;
	unsigned long word;
	int state;

	if (!entry)
		return 0;
	site = &entry->site;
	/*
	 * Acquire: pairs with the release in Site::publish(), and with the write barrier in
	 * Transition::begin(). A call that sees a transition sees its versions and the task's
	 * state. site.rs says why they belong together.
	 */
	word = smp_load_acquire(&site->word);
	/* Outside of transitions, most calls do not come here: ftrace sends them to the version. */
	if (unlikely(word != LIVEPATCH_IN_TRANSITION))
		return word == LIVEPATCH_ORIGINAL ? 0 : word;
	/* As View::choose() does. */
	state = READ_ONCE(current->patch_state);
	if (unlikely(state != KLP_TRANSITION_PATCHED)) {
		if (state == KLP_TRANSITION_UNPATCHED) {
			unsigned long below = READ_ONCE(site->below);

			/* Keeps the compiler from making one load of this and the one below. */
			OPTIMIZER_HIDE_VAR(below);
			return below;
		}
		WARN_ON_ONCE(1);
	}
	return READ_ONCE(site->newest);
}

/*
 * All is inline, so that a patched function pays for no call from here. The guard against recursion
 * turns preemption off, which Scheduler::synchronize() relies on to wait for handlers.
 */
void notrace livepatch_ftrace_handler(unsigned long ip, unsigned long parent_ip,
				      struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	unsigned long version;
	int bit;

	bit = ftrace_test_recursion_trylock(ip, parent_ip);
	if (WARN_ON_ONCE(bit < 0))
		return;
	version = livepatch_dispatch(ip);
	if (likely(version))
		ftrace_regs_set_instruction_pointer(fregs, version);
	ftrace_test_recursion_unlock(bit);
}

/* The initializer puts them among the kernel's initialized data. */
struct ftrace_ops livepatch_ops[LIVEPATCH_OPS] = {
	[0 ... LIVEPATCH_OPS - 1] = { .func = livepatch_ftrace_handler },
};

void livepatch_visit_threads(void (*fn)(struct task_struct *task, void *arg), void *arg)
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

void livepatch_work_on_each_cpu(long (*fn)(void *arg))
{
	unsigned int cpu;

	cpus_read_lock();
	for_each_online_cpu(cpu)
		work_on_cpu(cpu, fn, NULL);
	cpus_read_unlock();
}

/* Return addresses of the task that this CPU is checking. They are too many for the stack. */
struct livepatch_entries {
	unsigned long entries[100];
	bool taken;
};

static DEFINE_PER_CPU(struct livepatch_entries, livepatch_entries);

unsigned long *livepatch_take_entries(unsigned int *length)
{
	struct livepatch_entries *own = this_cpu_ptr(&livepatch_entries);

	if (WARN_ON_ONCE(own->taken))
		return NULL;
	own->taken = true;
	*length = ARRAY_SIZE(own->entries);
	return own->entries;
}

void livepatch_put_entries(void)
{
	this_cpu_ptr(&livepatch_entries)->taken = false;
}

#ifdef CONFIG_BPF_JIT
/*
 * A BPF trampoline that calls the traced function by itself (fexit, fmod_ret) may be entered by a
 * jump. Before that call, and after it has returned, a task in the trampoline has no address of the
 * function on its stack. Only the trampoline's code tells which function it is for. The task may be
 * preempted there, or sleep in a sleepable program. Before the call it is about to run the
 * original, so it counts as inside the function.
 *
 * BPF knows a trampoline while a task is in it, even if all programs were detached. BPF may not
 * know it while the task is in its first or last instructions, but no stack there counts as
 * reliable.
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

#endif

/* Architectures that never have to undo a relocation do not provide this. */
void __weak clear_relocate_add(Elf_Shdr *sechdrs, const char *strtab, unsigned int symindex,
			       unsigned int relsec, struct module *me)
{
}
