/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the conformance modules share. A function that is patched exists in two versions, which give
 * different results for the same arguments; the caller knows both results, and so tells which version
 * ran and whether it got its arguments whole.
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

/* Two registers at most, and not in all of them whole. */
struct pair {
	u64 first;
	u32 second;
	u16 third;
	u8 fourth;
};

/* Too large for registers: where it is returned, the caller passes a hidden pointer. */
struct large {
	u64 part[8];
};

/* What a sum of these values is in a version. No two versions, values or places give the same. */
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

/* How a number is followed down a recursion, whichever version each level is of. */
static __always_inline u64 step_of(int version, u64 inner, unsigned int depth)
{
	return rol64(inner ^ depth, version ? 11 : 3);
}

/* Calls itself by the pointer, which the compiler cannot make a loop of. */
typedef u64 (*recurse_t)(unsigned int depth, void *self);

/* The functions of conformance_target. Each is patched. */
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

/* Errors are negative, else the version. The user's buffer is NULL in a kthread. */
int conformance_local(void);
int conformance_exported(void);
int conformance_static_call(void);
int conformance_jump_label(void);
int conformance_alternatives(char __user *buffer);

/* Calls back while it is on the stack. */
int conformance_hold(void (*body)(void *), void *data);

/* Runs for as long as it is on, without ever sleeping. The new version does not. */
int conformance_spin(const bool *on);

/* Not patched: they call from within the module, the second as the last thing it does. */
u64 conformance_inner_sum8(const u64 *values);
u64 conformance_inner_sum2(u64 a, u64 b);

/* Not patched, exported: what relocations of the live patch go to. */
extern int conformance_shared;
int conformance_shared_add(int a);

#endif
