// SPDX-License-Identifier: GPL-2.0
/*
 * The original version of the patched function in the module that comes and goes. Its callers are in
 * another file, as in functions.c.
 */
#include "stress.h"

noinline u64 visitor_f(u64 a, u64 b)
{
	return answer(0, mix_visitor_f(a, b));
}

noinline u64 visitor_g(u32 a, u64 b, u64 c)
{
	return answer(0, mix_visitor_g(a, b, c));
}
