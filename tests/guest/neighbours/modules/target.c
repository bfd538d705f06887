// SPDX-License-Identifier: GPL-2.0
/* The original versions of the functions that are patched. */
#include <linux/compiler.h>

#include "neighbours.h"

/* The function that neighbours and the patch share. */
noinline int neighbours_function(void)
{
	barrier();
	return ORIGINAL;
}

/* Stalls transitions while a task is inside. It has no other use. */
noinline int neighbours_hold(void (*body)(void))
{
	body();
	/* Keeps the call above from becoming a tail call. */
	barrier();
	return ORIGINAL;
}

/* A BPF program may look at the place first, and may sleep before this runs. */
noinline int neighbours_place(unsigned long place)
{
	barrier();
	return ORIGINAL;
}

/* A BPF program may look at the place first here too. No patch changes this function. */
noinline int neighbours_bystander(unsigned long place, void (*body)(void))
{
	body();
	barrier();
	return ORIGINAL;
}
