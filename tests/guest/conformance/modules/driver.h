/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by the parts of conformance_driver. */
#ifndef CONFORMANCE_DRIVER_H
#define CONFORMANCE_DRIVER_H

#include "conformance.h"

/* Neither ORIGINAL nor PATCHED. */
#define UNSEEN	-1
#define WRONG	-2

/* The result of a check: the one version that it saw, or what is wrong. */
struct told {
	int version;
	char why[160];
};

struct check {
	const char *name;
	/* The user's buffer is NULL in a kthread. */
	void (*run)(struct told *told, char __user *buffer);
};

/* Records the version of a call by its result. The caller gives the result of each version. */
void see(struct told *told, const char *what, u64 got, u64 original, u64 patched);
/* Records the version of a call that returns the version itself. */
void see_version(struct told *told, const char *what, int version);

/* calls.c: the checks that only make calls. The last entry has no name. */
extern const struct check checks[];
/* Runs several checks at once, from any context. */
void check_calls(struct told *told, char __user *buffer);

/* spin.c: tasks that are preempted and interrupted, and the versions that calls from interrupts get. */
extern const struct check spin_check;
int spin_start(void);
void spin_stop(void);

#endif
