// SPDX-License-Identifier: GPL-2.0
/*
 * The original version of the patched functions. Their callers are in other files, so that the compiler
 * does not know them.
 */
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/delay.h>
#include <linux/export.h>
#include <linux/module.h>

#include "stress.h"

noinline u64 stress_f(u64 a, u64 b, u64 c, u64 d, u64 e, u64 f, u64 g, u64 h, u64 i, u64 j)
{
	return answer(0, mix_f(a, b, c, d, e, f, g, h, i, j));
}
EXPORT_SYMBOL_GPL(stress_f);

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

#ifdef CONFIG_DEBUG_INFO_BTF_MODULES
/* The functions whose results BPF programs may modify. Ours do not, but they run in between. */
BTF_KFUNCS_START(modifiable)
BTF_ID_FLAGS(func, stress_f)
BTF_ID_FLAGS(func, stress_g)
BTF_KFUNCS_END(modifiable)

static const struct btf_kfunc_id_set modifiable_set = {
	.owner = THIS_MODULE,
	.set = &modifiable,
};

int __init functions_init(void)
{
	return register_btf_fmodret_id_set(&modifiable_set);
}
#else
int __init functions_init(void)
{
	return 0;
}
#endif
