// SPDX-License-Identifier: GPL-2.0
/* The original version of what is patched. Apart from its callers, whose compiler is not to know it. */
#include <linux/delay.h>
#include <linux/export.h>

#include "stress.h"

noinline u64 stress_f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j)
{
	return answer(0, mix_f(a, b, c, d, e, f, g, h, i, j));
}

noinline u64 stress_g(u64 a, u32 b, u64 c)
{
	return answer(0, mix_g(a, b, c));
}

void stress_sleep(unsigned int ms)
{
	msleep(ms);
}
EXPORT_SYMBOL_GPL(stress_sleep);

noinline u64 stress_hold(unsigned int ms)
{
	stress_sleep(ms);
	return answer(0, mix_hold(ms));
}
