// SPDX-License-Identifier: GPL-2.0
// A static local goes, and another function gets one of its name.
// refused: count Ambiguous
// only: gcc
#include "kernel.h"
int f(int n)
{
#ifndef PATCHED
	static int count;
	count += n;
	return consume(count);
#else
	return consume(n);
#endif
}
int g(int n)
{
#ifdef PATCHED
	static int count;
	count += n;
	return consume(count);
#else
	return consume(n);
#endif
}
