// SPDX-License-Identifier: GPL-2.0
/* Taking tasks off their CPU, so that their stacks can be looked at. */

#include <linux/cpumask.h>
#include <linux/percpu.h>
#include <linux/sched/task.h>
#include <linux/stop_machine.h>

#include "livepatch.h"

/* Work for a CPU's stopper: it looks at a task that was found running on that CPU. */
struct livepatch_look {
	struct cpu_stop_work work;
	/* Holds a reference while the work is queued or running. NULL: the work can be queued. */
	struct task_struct *task;
};

static DEFINE_PER_CPU(struct livepatch_look, livepatch_looks);

/* The stopper runs with preemption off. It occupies this CPU, so the task does not run here. */
static int livepatch_look(void *arg)
{
	struct livepatch_look *look = arg;
	struct task_struct *task = look->task;

	livepatch_switch_if_pending(task);
	/*
	 * Pairs with the acquire in livepatch_take_off_cpu(): the work is done before it is reused.
	 */
	smp_store_release(&look->task, NULL);
	put_task_struct(task);
	return 0;
}

/*
 * No CPU goes offline while preemption is off here. The stopper of an active CPU accepts work, and
 * does it before it parks.
 */
void livepatch_take_off_cpu(struct task_struct *task)
{
	struct livepatch_look *look;
	unsigned int cpu;

	preempt_disable();
	cpu = task_cpu(task);
	look = per_cpu_ptr(&livepatch_looks, cpu);
	get_task_struct(task);
	/* Pairs with the release in livepatch_look(): the work that is reused here is done. */
	if (task_curr(task) && cpu != smp_processor_id() && cpu_active(cpu) &&
	    !cmpxchg_acquire(&look->task, NULL, task))
		stop_one_cpu_nowait(cpu, livepatch_look, look, &look->work);
	else
		put_task_struct(task);
	preempt_enable();
}
