// SPDX-License-Identifier: GPL-2.0
// A case is added to a switch, which is a table of jumps.
// changed: f
// external: consume
#include "kernel.h"
int f(unsigned int n)
{
	switch (n) {
	case 0: return consume(3) + 1;
	case 1: return consume(9) * 3;
	case 2: return consume(27) - 5;
	case 3: return consume(81) ^ 7;
	case 4: return consume(5) + 12;
	case 5: return consume(15) * 11;
#ifdef PATCHED
	case 6: return consume(45) - 13;
#endif
	}
	return consume(135);
}
int g(unsigned int n)
{
	switch (n) {
	case 0: return consume(2) + 1;
	case 1: return consume(4) * 3;
	case 2: return consume(6) - 5;
	case 3: return consume(8) ^ 7;
	case 4: return consume(1) + 12;
	case 5: return consume(3) * 11;
	}
	return consume(135);
}
