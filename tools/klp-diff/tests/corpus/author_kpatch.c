// SPDX-License-Identifier: GPL-2.0
// A patch that was written for kpatch.
// changed: f
// new: first
// external: consume
#include "kernel.h"
int ignored(int n);
#ifdef PATCHED
#include "kpatch-macros.h"
static int first(patch_object *object) { return consume(1); }
KPATCH_PRE_PATCH_CALLBACK(first);
KPATCH_IGNORE_FUNCTION(ignored);
KPATCH_IGNORE_SECTION(".data.table");
#endif
#ifdef PATCHED
#define STEP 2
#else
#define STEP 1
#endif
int table __section(".data.table") = STEP;
int ignored(int n) { return consume(n) + STEP; }
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
