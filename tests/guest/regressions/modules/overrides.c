// SPDX-License-Identifier: GPL-2.0
/* The definitions that override the defaults. */
#define WEAK
#include "weak.h"

#define OVERRIDE(name)				\
int regressions_weak_##name(void)		\
{						\
	return 1;				\
}
FOR_EACH_OVERRIDDEN(OVERRIDE)
