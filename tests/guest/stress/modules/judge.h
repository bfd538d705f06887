/* SPDX-License-Identifier: GPL-2.0 */
/* Judges which results are right, and counts the wrong ones. */
#ifndef STRESS_JUDGE_H
#define STRESS_JUDGE_H

#include "stress.h"

struct proc_dir_entry;

/* The context that calls come from. */
enum context { USER, THREAD, SOFTIRQ, INTERRUPT, CONTEXTS };

/* What one task has seen in a phase, from its own calls and from calls of its interrupts. */
struct view {
	u64 phase;
	bool moved;
};

/* The results of calls in a row while nothing could move the task. */
struct calls {
	u64 phase;
	u64 count;
	/* The versions that ran, a bit for each. */
	unsigned int versions;
	u64 expected, got;
};

void calls_begin(struct calls *calls);
void calls_add(struct calls *calls, u64 mixed, u64 got);
/* "view" is NULL where it is not known what the task has seen. */
void calls_end(struct calls *calls, enum context context, struct view *view);

int judge_init(struct proc_dir_entry *dir);

#endif
