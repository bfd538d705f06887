// SPDX-License-Identifier: GPL-2.0
/* The original version of what is patched in the module that comes and goes. Apart, as in functions.c. */
#include "stress.h"

noinline u64 visitor_f(u64 a, u64 b)
{
	return answer(0, mix_visitor_f(a, b));
}

noinline u64 visitor_g(u32 a, u64 b, u64 c)
{
	return answer(0, mix_visitor_g(a, b, c));
}
