// SPDX-License-Identifier: GPL-2.0
// Two callbacks of one kind in one file.
// refused: .kpatch.callbacks.pre_patch Wishes
#include "kernel.h"
#ifdef PATCHED
#include "livepatch-author.h"
static int first(struct klp_object *object) { return consume(1); }
static int second(struct klp_object *object) { return consume(2); }
KLP_PRE_PATCH_CALLBACK(first);
void *other __section(".kpatch.callbacks.pre_patch") = second;
#endif
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
