/* SPDX-License-Identifier: GPL-2.0 */
/* Functions with a default that another file overrides. The code of the default stays, without a symbol. */
#ifndef WEAK
#define WEAK __weak
#endif

#define FOR_EACH_OVERRIDDEN(do) \
	do(a1) do(a2) do(a3) do(a4) do(a5) \
	do(b1) do(b2) do(b3) do(b4) do(b5) \
	do(c1) do(c2) do(c3) do(c4) do(c5)

#define DECLARE(name) int WEAK regressions_weak_##name(void);
FOR_EACH_OVERRIDDEN(DECLARE)
#undef DECLARE
