/* SPDX-License-Identifier: GPL-2.0 */
/* Timers that call what is patched, and leave their CPU time for the rest. */
#ifndef STRESS_TIMER_H
#define STRESS_TIMER_H

#include <linux/hrtimer.h>

/* What a CPU has for others, in terms of what a timer's calls took. */
#define PAUSE 8

/*
 * Calls beside a tracer, in an emulator on a busy host, can take longer than the period. A timer that fired
 * again at once would then be all that its CPU does. CPU 1 may be off just then, and whoever would bring
 * it back never runs.
 */
static inline enum hrtimer_restart fires_again(struct hrtimer *timer, ktime_t began, ktime_t period)
{
	ktime_t now = ktime_get();

	hrtimer_forward(timer, ktime_add_ns(now, PAUSE * ktime_to_ns(ktime_sub(now, began))), period);
	return HRTIMER_RESTART;
}

#endif
