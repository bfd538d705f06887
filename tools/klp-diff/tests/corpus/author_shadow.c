// SPDX-License-Identifier: GPL-2.0
// A structure gets a new member, in a shadow variable.
// changed: f
// external: consume klp_shadow_free klp_shadow_get_or_alloc
#include "kernel.h"
#ifdef PATCHED
#include "livepatch-author.h"
struct uses { int count; };
KLP_SHADOW(uses, struct uses, 7);
#endif
int f(int *object)
{
#ifdef PATCHED
	struct uses *uses = uses_get_or_alloc(object, 0);

	if (uses && ++uses->count == 3)
		uses_free(object);
#endif
	return consume(*object);
}
