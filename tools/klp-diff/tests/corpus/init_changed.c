// SPDX-License-Identifier: GPL-2.0
// Initialisation is over.
// refused: start Initialisation
#include "kernel.h"
#ifdef PATCHED
int __init start(void) { return consume(2); }
#else
int __init start(void) { return consume(1); }
#endif
