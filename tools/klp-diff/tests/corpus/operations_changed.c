// SPDX-License-Identifier: GPL-2.0
// A table of functions changes that other data points to.
// refused: operations ReachedFromData
#include "kernel.h"
struct operations { int (*run)(int); };
int one(int n) { return consume(n); }
int two(int n) { return consume(n) + 1; }
#ifdef PATCHED
static const struct operations operations = { .run = two };
#else
static const struct operations operations = { .run = one };
#endif
const struct operations *current_operations = &operations;
