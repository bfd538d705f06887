// SPDX-License-Identifier: GPL-2.0
/* The functions that are patched, in their original versions. */
#include <linux/compiler.h>

#include "neighbours.h"

/* The one that neighbours share with the patch. */
noinline int neighbours_function(void)
{
	barrier();
	return ORIGINAL;
}

/* Its only use is that transitions stall while somebody is inside. */
noinline int neighbours_hold(void (*body)(void))
{
	body();
	/* So that the call above is none that the function ends in. */
	barrier();
	return ORIGINAL;
}
