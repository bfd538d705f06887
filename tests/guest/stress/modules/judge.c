// SPDX-License-Identifier: GPL-2.0
/*
 * A program loads and disables patches. It announces which versions may run from now on, and whether tasks
 * move towards one of them: a phase. It announces a phase before any action that allows more, and narrows
 * the phase only after it has seen that action end. So calls between two looks at the same phase must obey
 * the phase. These results are wrong:
 *
 *	garbled     the result does not come from these arguments, in any version
 *	mixed       not all calls ran the same version, though nothing could move the task meanwhile
 *	forbidden   a version that no task may see in this phase
 *	backwards   another version than the one that tasks move to, in a task that had already moved
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/bitops.h>
#include <linux/export.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/sched.h>
#include <linux/seq_file.h>
#include <linux/smp.h>
#include <linux/spinlock.h>

#include "judge.h"

enum wrong { GARBLED, MIXED, FORBIDDEN, BACKWARDS, WRONGS };

static const char *const wrong_names[] = { "garbled", "mixed", "forbidden", "backwards" };
static const char *const context_names[] = { "user", "thread", "softirq", "interrupt" };

/* --- the phase -------------------------------------------------------------------------------------- */

/* A single word, so that one read tells everything and no two phases look alike. */
#define ALLOWED(phase)	((unsigned int)(phase) & 0xff)
/* VERSIONS: tasks move towards no version. */
#define TOWARDS(phase)	((unsigned int)((phase) >> 8) & 0xff)
#define NEXT_PHASE	BIT_ULL(32)

static u64 phase = NEXT_PHASE | 1 | VERSIONS << 8;

/* The last phase in which tasks were forced. Calls may begin before it and end after it. */
static u64 forced_phase;

static int set_phase(const char *val, const struct kernel_param *kp)
{
	unsigned int allowed, towards, forced;
	u64 new;

	if (sscanf(val, "%x %u %u", &allowed, &towards, &forced) != 3 ||
	    allowed > 0xff || towards > VERSIONS || forced > 1)
		return -EINVAL;
	new = (phase & ~(NEXT_PHASE - 1)) + NEXT_PHASE + (allowed | towards << 8 | forced << 16);
	if (forced)
		WRITE_ONCE(forced_phase, new);
	/* Orders the phase after all that its writer has seen and done, and before all that it will do. */
	smp_mb();
	WRITE_ONCE(phase, new);
	smp_mb();
	return 0;
}

static const struct kernel_param_ops phase_ops = {
	.set = set_phase,
};
module_param_cb(phase, &phase_ops, NULL, 0200);
MODULE_PARM_DESC(phase, "versions allowed, as bits; which of them tasks move to, or 8; whether by force");

/* --- the count -------------------------------------------------------------------------------------- */

struct count {
	u64 calls[CONTEXTS];
	u64 wrong[CONTEXTS][WRONGS];
	u64 versions[VERSIONS];
};

static DEFINE_PER_CPU(struct count, counts);

#define EXAMPLES 8
static char examples[EXAMPLES][160];
static unsigned int examples_known;
static DEFINE_RAW_SPINLOCK(examples_lock);

static void wrong(const struct calls *calls, enum context context, enum wrong what)
{
	unsigned long flags;

	this_cpu_inc(counts.wrong[context][what]);
	raw_spin_lock_irqsave(&examples_lock, flags);
	if (examples_known < EXAMPLES)
		scnprintf(examples[examples_known++], sizeof(examples[0]),
			  "%s: %s/%d, %s on CPU %u: versions %#x, allowed %#x, towards %u; result %llx, expected %llx",
			  wrong_names[what], current->comm, current->pid, context_names[context],
			  smp_processor_id(), calls->versions, ALLOWED(calls->phase), TOWARDS(calls->phase),
			  calls->got, calls->expected);
	raw_spin_unlock_irqrestore(&examples_lock, flags);
}

/* --- calls ------------------------------------------------------------------------------------------ */

void calls_begin(struct calls *calls)
{
	*calls = (struct calls){ .phase = READ_ONCE(phase) };
	/* Pairs with set_phase(): calls come after everything that was done before this phase. */
	smp_mb();
}
EXPORT_SYMBOL_GPL(calls_begin);

void calls_add(struct calls *calls, u64 mixed, u64 got)
{
	calls->count++;
	calls->versions |= 1U << (got & VERSION_BITS);
	if (unlikely((got ^ mixed) & ~VERSION_BITS)) {
		calls->expected = mixed & ~VERSION_BITS;
		calls->got = got;
	}
}
EXPORT_SYMBOL_GPL(calls_add);

void calls_end(struct calls *calls, enum context context, struct view *view)
{
	bool same, moved, forced;
	u64 now;

	/* Pairs with set_phase(): calls come before everything that is done after this phase. */
	smp_mb();
	now = READ_ONCE(phase);
	same = calls->phase == now;
	/* Pairs with set_phase(): sees every force up to now, including those since these calls began. */
	smp_rmb();
	forced = READ_ONCE(forced_phase) >= (calls->phase & ~(NEXT_PHASE - 1));
	/* After a sleep, the task may be on another CPU, and it may be preempted. */
	preempt_disable();
	this_cpu_add(counts.calls[context], calls->count);
	this_cpu_inc(counts.versions[__ffs(calls->versions)]);
	if (calls->expected != (calls->got & ~VERSION_BITS))
		wrong(calls, context, GARBLED);
	if (hweight32(calls->versions) > 1 && !forced)
		wrong(calls, context, MIXED);
	if (same && calls->versions & ~ALLOWED(now))
		wrong(calls, context, FORBIDDEN);
	if (same && view && TOWARDS(now) != VERSIONS) {
		moved = calls->versions == 1U << TOWARDS(now);
		if (view->phase == now && view->moved && !moved)
			wrong(calls, context, BACKWARDS);
		*view = (struct view){ .phase = now, .moved = moved };
	}
	preempt_enable();
}
EXPORT_SYMBOL_GPL(calls_end);

/* --- the report ------------------------------------------------------------------------------------- */

/* For a program: one number per line, with its name. */
static int report_show(struct seq_file *m, void *v)
{
	unsigned int cpu, i, kind;

	/* Includes CPUs that are offline now. */
	for_each_present_cpu(cpu) {
		const struct count *count = per_cpu_ptr(&counts, cpu);

		for (i = 0; i < CONTEXTS; i++) {
			seq_printf(m, "%u calls %s %llu\n", cpu, context_names[i], count->calls[i]);
			for (kind = 0; kind < WRONGS; kind++)
				seq_printf(m, "%u %s %s %llu\n", cpu, wrong_names[kind], context_names[i],
					   count->wrong[i][kind]);
		}
		for (i = 0; i < VERSIONS; i++)
			seq_printf(m, "%u version %u %llu\n", cpu, i, count->versions[i]);
	}
	return 0;
}

static int examples_show(struct seq_file *m, void *v)
{
	unsigned int i;

	for (i = 0; i < READ_ONCE(examples_known); i++)
		seq_printf(m, "%s\n", examples[i]);
	return 0;
}

static int forget(const char *val, const struct kernel_param *kp)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		memset(per_cpu_ptr(&counts, cpu), 0, sizeof(counts));
	raw_spin_lock_irq(&examples_lock);
	examples_known = 0;
	raw_spin_unlock_irq(&examples_lock);
	return 0;
}

static const struct kernel_param_ops forget_ops = {
	.set = forget,
};
module_param_cb(forget, &forget_ops, NULL, 0200);
MODULE_PARM_DESC(forget, "count from zero");

int judge_init(struct proc_dir_entry *dir)
{
	if (!proc_create_single("report", 0444, dir, report_show) ||
	    !proc_create_single("examples", 0444, dir, examples_show))
		return -ENOMEM;
	return 0;
}
