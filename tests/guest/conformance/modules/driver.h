/* SPDX-License-Identifier: GPL-2.0 */
/* What the parts of conformance_driver share. */
#ifndef CONFORMANCE_DRIVER_H
#define CONFORMANCE_DRIVER_H

#include "conformance.h"

/* Neither ORIGINAL nor PATCHED. */
#define UNSEEN	-1
#define WRONG	-2

/* What a check has seen: one version throughout, or why not. */
struct told {
	int version;
	char why[160];
};

struct check {
	const char *name;
	/* The user's buffer is NULL in a kthread. */
	void (*run)(struct told *told, char __user *buffer);
};

/* By what a call gave, given what each version gives. */
void see(struct told *told, const char *what, u64 got, u64 original, u64 patched);
/* Likewise, where a call gives the version itself. */
void see_version(struct told *told, const char *what, int version);

/* calls.c: the checks that are nothing but calls, the last one without a name. */
extern const struct check checks[];
/* Several at once, from any context. */
void check_calls(struct told *told, char __user *buffer);

/* spin.c: tasks that are preempted and interrupted, and what calls from interrupts see. */
extern const struct check spin_check;
int spin_start(void);
void spin_stop(void);

#endif
