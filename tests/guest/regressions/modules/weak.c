// SPDX-License-Identifier: GPL-2.0
/*
 * Functions that are followed by overridden defaults. A default has lost its symbol but is still traced.
 * By the symbol table, the function before it seems to continue and to have more than one patch site.
 */
#include <linux/compiler.h>

#include "regressions.h"
#include "weak.h"

#ifndef __noendbr
#define __noendbr
#endif

#define DEFAULT(name)					\
OPAQUE int regressions_weak_##name(void)		\
{							\
	return hidden(-1);				\
}

/* Called only directly, so the function may lack the mark of an entry for indirect calls. */
static OPAQUE __noendbr int regressions_plain(void)
{
	return hidden(1);
}
SIXTEEN(DEFAULT, a)

static OPAQUE int regressions_local(void)
{
	return hidden(1);
}
SIXTEEN(DEFAULT, b)

OPAQUE int regressions_global(void);
OPAQUE int regressions_global(void)
{
	return hidden(1);
}
SIXTEEN(DEFAULT, c)

OPAQUE int regressions_last(void);
OPAQUE int regressions_last(void)
{
	return hidden(0);
}

SHOW_RESULT(plain, regressions_plain());
SHOW_RESULT(local, regressions_local());
SHOW_RESULT(global, regressions_global());

static int __init weak_init(void)
{
#define ADD(name) + regressions_weak_##name()
	return FOR_EACH_OVERRIDDEN(ADD) + regressions_last() == 48 ? 0 : -EINVAL;
}
module_init(weak_init);

static void __exit weak_exit(void)
{
}
module_exit(weak_exit);

MODULE_DESCRIPTION("Functions that seem to have several patch sites, for the suite regressions");
MODULE_LICENSE("GPL");
