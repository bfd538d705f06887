/* SPDX-License-Identifier: GPL-2.0 */
/* Which results are right, and how many were not. */
#ifndef STRESS_JUDGE_H
#define STRESS_JUDGE_H

#include "stress.h"

struct proc_dir_entry;

/* Where calls come from. */
enum context { USER, THREAD, SOFTIRQ, INTERRUPT, CONTEXTS };

/* What one task has seen in the phase of this word, from calls of its own and of those who interrupt it. */
struct view {
	u64 phase;
	bool moved;
};

/* What calls in a row gave while nothing could move the task. */
struct calls {
	u64 phase;
	u64 count;
	/* Bit by bit. */
	unsigned int versions;
	u64 expected, got;
};

void calls_begin(struct calls *calls);
void calls_add(struct calls *calls, u64 mixed, u64 got);
/* "view" is NULL where nobody knows what the task has seen. */
void calls_end(struct calls *calls, enum context context, struct view *view);

int judge_init(struct proc_dir_entry *dir);

#endif
