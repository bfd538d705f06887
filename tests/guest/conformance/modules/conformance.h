/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Shared by the conformance modules. A patched function has two versions, which return different results
 * for the same arguments. The caller knows both results. So it can tell which version ran and whether the
 * arguments arrived intact.
 */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include <linux/bitops.h>
#include <linux/compiler.h>
#include <linux/minmax.h>
#include <linux/stdarg.h>
#include <linux/types.h>

/* Versions of a function. */
#define ORIGINAL	0
#define PATCHED		1

/* Takes at most two registers, and does not fill all of them. */
struct pair {
	u64 first;
	u32 second;
	u16 third;
	u8 fourth;
};

/* Too large for registers. To return it, the caller passes a hidden pointer. */
struct large {
	u64 part[8];
};

/* Returns the sum of the values in a version. It differs for each version, value and position. */
static __always_inline u64 weigh(int version, const u64 *values, int count)
{
	u64 sum = version ? 0xc0ffee : 0x7ea;
	int i;

	for (i = 0; i < count; i++)
		sum = rol64(sum, 7) ^ (values[i] * (2 * i + 3 + 100 * version));
	return sum;
}

static __always_inline u64 weigh_pair(int version, struct pair p)
{
	u64 values[] = { p.first, p.second, p.third, p.fourth };

	return weigh(version, values, 4);
}

static __always_inline void fill_large(struct large *to, int version, u64 a, u64 b)
{
	u64 values[] = { a, b };
	int i;

	for (i = 0; i < ARRAY_SIZE(to->part); i++)
		to->part[i] = weigh(version, values, 2) + i;
}

/* Continues a number through a recursion. Each level may be of either version. */
static __always_inline u64 step_of(int version, u64 inner, unsigned int depth)
{
	return rol64(inner ^ depth, version ? 11 : 3);
}

/* Calls itself by the pointer, so that the compiler cannot turn it into a loop. */
typedef u64 (*recurse_t)(unsigned int depth, void *self);

/* The functions of conformance_target. Each of them is patched. */
u64 conformance_sum0(void);
u64 conformance_sum1(u64 a);
u64 conformance_sum2(u64 a, u64 b);
u64 conformance_sum3(u64 a, u64 b, u64 c);
u64 conformance_sum4(u64 a, u64 b, u64 c, u64 d);
u64 conformance_sum5(u64 a, u64 b, u64 c, u64 d, u64 e);
u64 conformance_sum6(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f);
u64 conformance_sum7(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g);
u64 conformance_sum8(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h);
u64 conformance_pair(struct pair p);
struct pair conformance_make_pair(u64 a);
u64 conformance_large(struct large l, u64 a);
struct large conformance_make_large(u64 a, u64 b);
u64 conformance_variadic(int count, ...);
u64 conformance_sibling(u64 a, u64 b);
u64 conformance_recurse(unsigned int depth, void *self);

/* These return a negative error, or else the version. The user's buffer is NULL in a kthread. */
int conformance_local(void);
int conformance_exported(void);
int conformance_static_call(void);
int conformance_jump_label(void);
int conformance_alternatives(char __user *buffer);

/* Calls "body" while the function is on the stack. */
int conformance_hold(void (*body)(void *), void *data);

/* Runs while *on is true and never sleeps. The new version does not run that long. */
int conformance_spin(const bool *on);

/* Not patched. They call from within the module; the second one does so as its last action. */
u64 conformance_inner_sum8(const u64 *values);
u64 conformance_inner_sum2(u64 a, u64 b);

/* Not patched, but exported: the target of the live patch's relocations. */
extern int conformance_shared;
int conformance_shared_add(int a);

#endif
