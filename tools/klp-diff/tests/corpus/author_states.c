// SPDX-License-Identifier: GPL-2.0
// States, and a patch that does not replace others.
// changed: f
// external: consume klp_init_reads_wishes
// sections: .init.klp_states .init.klp_replace
#include "kernel.h"
#ifdef PATCHED
#include "livepatch-author.h"
KLP_STATE(7, 2);
KLP_STATE(8, 1);
KLP_REPLACE(0);
#endif
int f(int n)
{
#ifdef PATCHED
	return consume(n) + 1;
#else
	return consume(n);
#endif
}
