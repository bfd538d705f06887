// SPDX-License-Identifier: GPL-2.0
// Two files disagree on whether the patch replaces others.
// files: vmlinux driver
// exports: consume
// refused: .discard.klp_replace Wishes
#include "kernel.h"
#ifdef PATCHED
#include "livepatch-author.h"
#if FILE == 1
KLP_REPLACE(0);
#else
KLP_REPLACE(1);
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
