// SPDX-License-Identifier: GPL-2.0
/*
 * The module that is patched: the original version of each function, and the symbols that new versions
 * reach by relocations.
 */
#include <linux/module.h>
#include <linux/sched.h>

#include "conformance.h"

#define VERSION ORIGINAL
#define LINKAGE
#define FUNCTION(name) conformance_##name
#include "versions.h"

EXPORT_SYMBOL_GPL(conformance_sum0);
EXPORT_SYMBOL_GPL(conformance_sum1);
EXPORT_SYMBOL_GPL(conformance_sum2);
EXPORT_SYMBOL_GPL(conformance_sum3);
EXPORT_SYMBOL_GPL(conformance_sum4);
EXPORT_SYMBOL_GPL(conformance_sum5);
EXPORT_SYMBOL_GPL(conformance_sum6);
EXPORT_SYMBOL_GPL(conformance_sum7);
EXPORT_SYMBOL_GPL(conformance_sum8);
EXPORT_SYMBOL_GPL(conformance_pair);
EXPORT_SYMBOL_GPL(conformance_make_pair);
EXPORT_SYMBOL_GPL(conformance_large);
EXPORT_SYMBOL_GPL(conformance_make_large);
EXPORT_SYMBOL_GPL(conformance_variadic);
EXPORT_SYMBOL_GPL(conformance_sibling);

noinline u64 conformance_recurse(unsigned int depth, void *self)
{
	recurse_t inner = self;

	return depth ? step_of(ORIGINAL, inner(depth - 1, self), depth) : ORIGINAL;
}
EXPORT_SYMBOL_GPL(conformance_recurse);

/* Only the new versions of these functions check anything. The old ones just exist. */
#define PLACEHOLDER(name, ...)				\
noinline int conformance_##name(__VA_ARGS__)		\
{							\
	barrier();					\
	return ORIGINAL;				\
}							\
EXPORT_SYMBOL_GPL(conformance_##name)

PLACEHOLDER(local, void);
PLACEHOLDER(exported, void);
PLACEHOLDER(static_call, void);
PLACEHOLDER(jump_label, void);
PLACEHOLDER(alternatives, char __user *buffer);

noinline int conformance_hold(void (*body)(void *), void *data)
{
	body(data);
	/* Keeps the call above from becoming a tail call. */
	barrier();
	return ORIGINAL;
}
EXPORT_SYMBOL_GPL(conformance_hold);

noinline int conformance_spin(const bool *on)
{
	while (READ_ONCE(*on)) {
		cpu_relax();
		/* Without this, a kernel without preemption would never get the CPU back. */
		cond_resched();
	}
	return ORIGINAL;
}
EXPORT_SYMBOL_GPL(conformance_spin);

noinline u64 conformance_inner_sum8(const u64 *v)
{
	return ~conformance_sum8(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
}
EXPORT_SYMBOL_GPL(conformance_inner_sum8);

noinline u64 conformance_inner_sum2(u64 a, u64 b)
{
	return conformance_sum2(b, a);
}
EXPORT_SYMBOL_GPL(conformance_inner_sum2);

/* Only a live patch's relocations reach these two. */
static int conformance_secret __used = 42;
module_param_named(secret, conformance_secret, int, 0444);

static noinline __used int conformance_secret_add(int a)
{
	return READ_ONCE(conformance_secret) + a;
}

int conformance_shared = 4711;
EXPORT_SYMBOL_GPL(conformance_shared);

noinline int conformance_shared_add(int a)
{
	return READ_ONCE(conformance_shared) + a;
}
EXPORT_SYMBOL_GPL(conformance_shared_add);

static int __init target_init(void)
{
	return 0;
}
module_init(target_init);

static void __exit target_exit(void)
{
}
module_exit(target_exit);

MODULE_DESCRIPTION("Module to be patched, for the conformance suite");
MODULE_LICENSE("GPL");
