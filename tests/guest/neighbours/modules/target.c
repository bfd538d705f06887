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

/* A BPF program may look at the place first, and so sleep before this runs. */
noinline int neighbours_place(unsigned long place)
{
	barrier();
	return ORIGINAL;
}

/* The same, of one that no patch changes. */
noinline int neighbours_bystander(unsigned long place, void (*body)(void))
{
	body();
	barrier();
	return ORIGINAL;
}
