// SPDX-License-Identifier: GPL-2.0
/* The checks that only make calls. */
#include <linux/module.h>

#include "driver.h"

/* All bits are used, and no two values have a part in common. */
static const u64 values[8] = {
	0x8123456789abcdef, 0xfedcba9876543210, 0x00ff00ff55aa33cc, 0xdeadbeefcafebabe,
	0x7fffffffffffffff, 0xa5a5a5a55a5a5a5a, 0x0000000100000000, 0xffffffff00000001,
};

/* Calls by name, and by a pointer that the compiler cannot see through. */
#define SEE_SUM(told, count, ...)							\
do {											\
	typeof(&conformance_sum##count) volatile pointer = conformance_sum##count;	\
	u64 original = weigh(ORIGINAL, values, count);					\
	u64 patched = weigh(PATCHED, values, count);					\
											\
	see(told, "sum" #count, conformance_sum##count(__VA_ARGS__), original, patched);\
	see(told, "sum" #count " by a pointer", pointer(__VA_ARGS__), original, patched);\
} while (0)

static void integer_arguments(struct told *told, char __user *buffer)
{
	const u64 *v = values;

	SEE_SUM(told, 0);
	SEE_SUM(told, 1, v[0]);
	SEE_SUM(told, 2, v[0], v[1]);
	SEE_SUM(told, 3, v[0], v[1], v[2]);
	SEE_SUM(told, 4, v[0], v[1], v[2], v[3]);
	SEE_SUM(told, 5, v[0], v[1], v[2], v[3], v[4]);
	SEE_SUM(told, 6, v[0], v[1], v[2], v[3], v[4], v[5]);
	SEE_SUM(told, 7, v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
	SEE_SUM(told, 8, v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
}

static void struct_by_value(struct told *told, char __user *buffer)
{
	struct pair p = { values[0], (u32)values[1], (u16)values[2], (u8)values[3] };
	u64 a = values[3];
	struct pair made = conformance_make_pair(a);
	struct large l;

	memcpy(l.part, values, sizeof(l.part));
	see(told, "a struct in registers", conformance_pair(p),
	    weigh_pair(ORIGINAL, p), weigh_pair(PATCHED, p));
	see(told, "a struct returned in registers", made.first,
	    weigh(ORIGINAL, &a, 1), weigh(PATCHED, &a, 1));
	see_version(told, "its last part", made.fourth);
	if (made.second != (u32)a || made.third != (u16)(a >> 32))
		see(told, "its other parts", made.second, (u32)a, (u32)a);
	see(told, "a large struct", conformance_large(l, a),
	    weigh(ORIGINAL, values, 8) ^ a, weigh(PATCHED, values, 8) ^ a);
}

static void struct_by_pointer(struct told *told, char __user *buffer)
{
	struct large made = conformance_make_large(values[4], values[5]);
	struct large original, patched;
	int i;

	fill_large(&original, ORIGINAL, values[4], values[5]);
	fill_large(&patched, PATCHED, values[4], values[5]);
	for (i = 0; i < ARRAY_SIZE(made.part); i++)
		see(told, "a part of a large struct", made.part[i], original.part[i], patched.part[i]);
}

static void variadic(struct told *told, char __user *buffer)
{
	const u64 *v = values;
	/* The arguments as the function reads them. Every other one is an int, and some are negative. */
	const u64 taken[12] = { v[0], -1, v[1], 2, v[2], -3, v[3], 4, v[4], (u64)(long)INT_MIN, v[5], 6 };

	see(told, "no arguments", conformance_variadic(0),
	    weigh(ORIGINAL, taken, 0), weigh(PATCHED, taken, 0));
	see(told, "three arguments", conformance_variadic(3, v[0], -1, v[1]),
	    weigh(ORIGINAL, taken, 3), weigh(PATCHED, taken, 3));
	see(told, "twelve arguments",
	    conformance_variadic(12, v[0], -1, v[1], 2, v[2], -3, v[3], 4, v[4], INT_MIN, v[5], 6),
	    weigh(ORIGINAL, taken, 12), weigh(PATCHED, taken, 12));
}

static void module_function(struct told *told, char __user *buffer)
{
	const u64 *v = values;

	see(told, "a call from within", conformance_inner_sum8(v),
	    ~weigh(ORIGINAL, v, 8), ~weigh(PATCHED, v, 8));
	see(told, "a call from another module",
	    conformance_sum8(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]),
	    weigh(ORIGINAL, v, 8), weigh(PATCHED, v, 8));
}

static void sibling_call(struct told *told, char __user *buffer)
{
	u64 v[] = { values[1] + 1, values[0] };
	u64 w[] = { values[3], values[2] };

	see(told, "a function that ends in a call", conformance_sibling(values[0], values[1]),
	    weigh(ORIGINAL, v, 2), weigh(PATCHED, v, 2));
	see(told, "a function that is called at another's end",
	    conformance_inner_sum2(values[2], values[3]), weigh(ORIGINAL, w, 2), weigh(PATCHED, w, 2));
}

static u64 recursed(int version, unsigned int depth)
{
	u64 result = version;
	unsigned int i;

	for (i = 1; i <= depth; i++)
		result = step_of(version, result, i);
	return result;
}

static void recursion(struct told *told, char __user *buffer)
{
	see(told, "30 levels", conformance_recurse(30, conformance_recurse), recursed(ORIGINAL, 30), recursed(PATCHED, 30));
}

static void local(struct told *told, char __user *buffer)
{
	see_version(told, "a function with relocations to local symbols", conformance_local());
}

static void exported(struct told *told, char __user *buffer)
{
	see_version(told, "a function with relocations to exported symbols", conformance_exported());
}

static void static_calls(struct told *told, char __user *buffer)
{
	see_version(told, "a function with static calls", conformance_static_call());
}

static void jump_labels(struct told *told, char __user *buffer)
{
	see_version(told, "a function with static keys", conformance_jump_label());
}

static void alternatives(struct told *told, char __user *buffer)
{
	see_version(told, "a function with alternatives", conformance_alternatives(buffer));
}

static void nothing(void *data)
{
}

/* Calls the function that others sleep in. */
static void sleeping_function(struct told *told, char __user *buffer)
{
	see_version(told, "a function that calls back", conformance_hold(nothing, NULL));
}

void check_calls(struct told *told, char __user *buffer)
{
	integer_arguments(told, buffer);
	struct_by_value(told, buffer);
	struct_by_pointer(told, buffer);
	variadic(told, buffer);
}

const struct check checks[] = {
	{ "integer-arguments", integer_arguments },
	{ "struct-by-value", struct_by_value },
	{ "struct-by-pointer", struct_by_pointer },
	{ "variadic", variadic },
	{ "module-function", module_function },
	{ "sibling-call", sibling_call },
	{ "recursion", recursion },
	{ "relocations-local", local },
	{ "relocations-exported", exported },
	{ "static-calls", static_calls },
	{ "jump-labels", jump_labels },
	{ "alternatives", alternatives },
	{ "sleeping-function", sleeping_function },
	{ }
};
