// SPDX-License-Identifier: GPL-2.0
// Two files change one state, in two versions.
// files: vmlinux driver
// exports: consume
// refused: .discard.klp_states Wishes
#include "kernel.h"
#ifdef PATCHED
#include "livepatch-author.h"
#if FILE == 1
KLP_STATE(7, 1);
#else
KLP_STATE(7, 2);
#endif
#endif
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
