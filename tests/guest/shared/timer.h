/* SPDX-License-Identifier: GPL-2.0 */
/* Timers that call the patched functions and leave CPU time for everything else. */
#ifndef SHARED_TIMER_H
#define SHARED_TIMER_H

#include <linux/hrtimer.h>

/* The pause after a timer's calls, as a multiple of the time that they took. */
#define PAUSE 8

/*
 * With a tracer, in an emulator on a busy host, the calls can take longer than the period. A timer that
 * fired again at once would then use up its whole CPU. CPU 1 may be offline at that moment, and the task
 * that would bring it back would never run.
 */
static inline enum hrtimer_restart fires_again(struct hrtimer *timer, ktime_t began, ktime_t period)
{
	ktime_t now = ktime_get();

	hrtimer_forward(timer, ktime_add_ns(now, PAUSE * ktime_to_ns(ktime_sub(now, began))), period);
	return HRTIMER_RESTART;
}

#endif
