/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The tracepoints livepatch:*. They are hit with the core's mutex held, except klp_task_moved. That
 * one is also hit on the way to user mode, in the idle loop, in the scheduler before it takes its
 * locks, and in a CPU's stopper; and with tasklist_lock held. No probe may sleep.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM livepatch

#if !defined(_KERNEL_LIVEPATCH_LINUX_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _KERNEL_LIVEPATCH_LINUX_TRACE_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

#include "livepatch.h"

DECLARE_EVENT_CLASS(klp_patch,

	TP_PROTO(const char *patch),

	TP_ARGS(patch),

	TP_STRUCT__entry(
		__string(patch, patch)
	),

	TP_fast_assign(
		__assign_str(patch);
	),

	TP_printk("patch=%s", __get_str(patch))
);

DEFINE_EVENT(klp_patch, klp_patch_enabled,
	TP_PROTO(const char *patch),
	TP_ARGS(patch)
);

DEFINE_EVENT(klp_patch, klp_patch_disabled,
	TP_PROTO(const char *patch),
	TP_ARGS(patch)
);

TRACE_EVENT(klp_patch_replaced,

	TP_PROTO(const char *patch, const char *by),

	TP_ARGS(patch, by),

	TP_STRUCT__entry(
		__string(patch, patch)
		__string(by, by)
	),

	TP_fast_assign(
		__assign_str(patch);
		__assign_str(by);
	),

	TP_printk("patch=%s by=%s", __get_str(patch), __get_str(by))
);

DECLARE_EVENT_CLASS(klp_transition,

	TP_PROTO(const char *patch, const char *direction),

	TP_ARGS(patch, direction),

	TP_STRUCT__entry(
		__string(patch, patch)
		__string(direction, direction)
	),

	TP_fast_assign(
		__assign_str(patch);
		__assign_str(direction);
	),

	TP_printk("patch=%s direction=%s", __get_str(patch), __get_str(direction))
);

DEFINE_EVENT(klp_transition, klp_transition_started,
	TP_PROTO(const char *patch, const char *direction),
	TP_ARGS(patch, direction)
);

DEFINE_EVENT(klp_transition, klp_transition_reversed,
	TP_PROTO(const char *patch, const char *direction),
	TP_ARGS(patch, direction)
);

DEFINE_EVENT(klp_transition, klp_transition_forced,
	TP_PROTO(const char *patch, const char *direction),
	TP_ARGS(patch, direction)
);

TRACE_EVENT(klp_transition_completed,

	TP_PROTO(const char *patch, const char *direction, const struct livepatch_counts *counts),

	TP_ARGS(patch, direction, counts),

	TP_STRUCT__entry(
		__string(patch, patch)
		__string(direction, direction)
		__field(u64, duration_us)
		__field(u64, attempts)
		__field(u64, reversals)
		__field(u64, forks)
		__field(u64, by_attempt)
		__field(u64, by_exit)
		__field(u64, by_idle)
		__field(u64, by_scheduler)
		__field(u64, by_stopper)
		__field(u64, by_force)
	),

	TP_fast_assign(
		__assign_str(patch);
		__assign_str(direction);
		__entry->duration_us = counts->duration_us;
		__entry->attempts = counts->attempts;
		__entry->reversals = counts->reversals;
		__entry->forks = counts->forks;
		__entry->by_attempt = counts->by_attempt;
		__entry->by_exit = counts->by_exit;
		__entry->by_idle = counts->by_idle;
		__entry->by_scheduler = counts->by_scheduler;
		__entry->by_stopper = counts->by_stopper;
		__entry->by_force = counts->by_force;
	),

	TP_printk("patch=%s direction=%s duration_us=%llu attempts=%llu reversals=%llu forks=%llu by_attempt=%llu by_exit=%llu by_idle=%llu by_scheduler=%llu by_stopper=%llu by_force=%llu",
		  __get_str(patch), __get_str(direction), __entry->duration_us, __entry->attempts,
		  __entry->reversals, __entry->forks, __entry->by_attempt, __entry->by_exit,
		  __entry->by_idle, __entry->by_scheduler, __entry->by_stopper, __entry->by_force)
);

TRACE_EVENT(klp_attempt,

	TP_PROTO(const char *patch, u64 number, u64 left, u64 duration_us),

	TP_ARGS(patch, number, left, duration_us),

	TP_STRUCT__entry(
		__string(patch, patch)
		__field(u64, number)
		__field(u64, left)
		__field(u64, duration_us)
	),

	TP_fast_assign(
		__assign_str(patch);
		__entry->number = number;
		__entry->left = left;
		__entry->duration_us = duration_us;
	),

	TP_printk("patch=%s number=%llu left=%llu duration_us=%llu", __get_str(patch),
		  __entry->number, __entry->left, __entry->duration_us)
);

/* At most one patch is in transition, so there is no need to name it. */
TRACE_EVENT(klp_task_moved,

	TP_PROTO(struct task_struct *task, const char *way),

	TP_ARGS(task, way),

	TP_STRUCT__entry(
		__array(char, comm, TASK_COMM_LEN)
		__field(pid_t, pid)
		__string(way, way)
	),

	TP_fast_assign(
		memcpy(__entry->comm, task->comm, TASK_COMM_LEN);
		__entry->pid = task->pid;
		__assign_str(way);
	),

	TP_printk("comm=%s pid=%d way=%s", __entry->comm, __entry->pid, __get_str(way))
);

TRACE_EVENT(klp_gear_changed,

	TP_PROTO(const char *patch, const char *gear),

	TP_ARGS(patch, gear),

	TP_STRUCT__entry(
		__string(patch, patch)
		__string(gear, gear)
	),

	TP_fast_assign(
		__assign_str(patch);
		__assign_str(gear);
	),

	TP_printk("patch=%s gear=%s", __get_str(patch), __get_str(gear))
);

#endif /* _KERNEL_LIVEPATCH_LINUX_TRACE_H */

/*
 * This part must be outside protection. A path cannot name the folder: "linux" is a macro of gcc.
 * The Makefile tells the compiler where to look.
 */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
