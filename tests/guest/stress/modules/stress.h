/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The patched functions. The last bits of a result tell the version that ran. All other bits depend on
 * every argument, so an argument that is lost on the way to a version shows too.
 */
#ifndef STRESS_H
#define STRESS_H

#include <linux/types.h>

/* Versions. 0 is the original, and the last one never runs. */
#define VERSIONS	8
#define VERSION_BITS	((u64)VERSIONS - 1)

/* Has more arguments than any architecture has registers for them. */
u64 stress_f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j);
u64 stress_g(u64 a, u32 b, u64 c);
/* Sleeps for "ms" milliseconds. */
u64 stress_hold(unsigned int ms);
/* The sleep of both versions of stress_hold(). */
void stress_sleep(unsigned int ms);

/* A function of the module that comes and goes. */
u64 visitor_f(u64 a, u64 b);
u64 visitor_g(u32 a, u64 b, u64 c);

/* Registers what the kernel has to know about the functions. */
int functions_init(void);

static __always_inline u64 mix(u64 sum, u64 a)
{
	return (sum ^ a) * 0x9e3779b97f4a7c15 + 1;
}

static __always_inline u64 mix_f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j)
{
	return mix(mix(mix(mix(mix(mix(mix(mix(mix(mix(1, a), b), c), d), e), f), g), h), i), j);
}

static __always_inline u64 mix_g(u64 a, u32 b, u64 c)
{
	return mix(mix(mix(2, a), b), c);
}

static __always_inline u64 mix_hold(unsigned int ms)
{
	return mix(3, ms);
}

static __always_inline u64 mix_visitor_f(u64 a, u64 b)
{
	return mix(mix(5, a), b);
}

static __always_inline u64 mix_visitor_g(u32 a, u64 b, u64 c)
{
	return mix(mix(mix(6, a), b), c);
}

static __always_inline u64 answer(unsigned int version, u64 mixed)
{
	return (mixed & ~VERSION_BITS) | version;
}

#endif
