/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The functions whose versions differ in nothing but the version. VERSION is that version, FUNCTION()
 * forms the name of a function there, and LINKAGE decides whether other files can call it by that name.
 */
LINKAGE noinline u64 FUNCTION(sum0)(void)
{
	return weigh(VERSION, NULL, 0);
}

#define SUM(count, values, ...)						\
LINKAGE noinline u64 FUNCTION(sum##count)(__VA_ARGS__)		\
{									\
	return weigh(VERSION, (const u64[]) values, count);		\
}

#define VALUES(...) { __VA_ARGS__ }

SUM(1, VALUES(a), u64 a)
SUM(2, VALUES(a, b), u64 a, u64 b)
SUM(3, VALUES(a, b, c), u64 a, u64 b, u64 c)
SUM(4, VALUES(a, b, c, d), u64 a, u64 b, u64 c, u64 d)
SUM(5, VALUES(a, b, c, d, e), u64 a, u64 b, u64 c, u64 d, u64 e)
SUM(6, VALUES(a, b, c, d, e, f), u64 a, u64 b, u64 c, u64 d, u64 e, u64 f)
SUM(7, VALUES(a, b, c, d, e, f, g), u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g)
SUM(8, VALUES(a, b, c, d, e, f, g, h),
    u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h)

LINKAGE noinline u64 FUNCTION(pair)(struct pair p)
{
	return weigh_pair(VERSION, p);
}

LINKAGE noinline struct pair FUNCTION(make_pair)(u64 a)
{
	return (struct pair) {
		.first = weigh(VERSION, &a, 1), .second = a, .third = a >> 32, .fourth = VERSION,
	};
}

LINKAGE noinline u64 FUNCTION(large)(struct large l, u64 a)
{
	return weigh(VERSION, l.part, ARRAY_SIZE(l.part)) ^ a;
}

LINKAGE noinline struct large FUNCTION(make_large)(u64 a, u64 b)
{
	struct large l;

	fill_large(&l, VERSION, a, b);
	return l;
}

LINKAGE noinline u64 FUNCTION(variadic)(int count, ...)
{
	u64 values[12] = { };
	va_list list;
	int i;

	va_start(list, count);
	for (i = 0; i < min(count, 12); i++)
		/* Every other argument is an int. */
		values[i] = i % 2 ? (u64)va_arg(list, int) : va_arg(list, u64);
	va_end(list);
	return weigh(VERSION, values, count);
}

static noinline __used u64 FUNCTION(sibling_tail)(u64 b, u64 a)
{
	return weigh(VERSION, (const u64[]) { b, a }, 2);
}

/* Ends in a jump, if the compiler makes sibling calls at all. */
LINKAGE noinline u64 FUNCTION(sibling)(u64 a, u64 b)
{
	return FUNCTION(sibling_tail)(b + 1, a);
}
