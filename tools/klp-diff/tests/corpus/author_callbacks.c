// SPDX-License-Identifier: GPL-2.0
// The four callbacks of the author's header.
// changed: f
// new: after before finally first
// external: consume
#include "kernel.h"
#ifdef PATCHED
#include "livepatch-author.h"
static int first(struct klp_object *object) { return consume(1); }
static void after(struct klp_object *object) { consume(2); }
static void before(struct klp_object *object) { consume(3); }
static void finally(struct klp_object *object) { consume(4); }
KLP_PRE_PATCH_CALLBACK(first);
KLP_POST_PATCH_CALLBACK(after);
KLP_PRE_UNPATCH_CALLBACK(before);
KLP_POST_UNPATCH_CALLBACK(finally);
#endif
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
