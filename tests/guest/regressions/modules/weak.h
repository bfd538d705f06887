/* SPDX-License-Identifier: GPL-2.0 */
/* Functions with a default that another file overrides. The code of the default stays, without a symbol. */
#ifndef WEAK
#define WEAK __weak
#endif

/* Enough functions behind each one that a search for any patch site there rarely meets the function's own. */
#define SIXTEEN(do, x) \
	do(x##0) do(x##1) do(x##2) do(x##3) do(x##4) do(x##5) do(x##6) do(x##7) \
	do(x##8) do(x##9) do(x##a) do(x##b) do(x##c) do(x##d) do(x##e) do(x##f)
#define FOR_EACH_OVERRIDDEN(do) SIXTEEN(do, a) SIXTEEN(do, b) SIXTEEN(do, c)

#define DECLARE(name) int WEAK regressions_weak_##name(void);
FOR_EACH_OVERRIDDEN(DECLARE)
#undef DECLARE
