// SPDX-License-Identifier: GPL-2.0
// Two files add a function of one name: the linker would not take it.
// files: vmlinux vmlinux
// refused: added DefinedTwice
#include "kernel.h"
#ifdef PATCHED
int added(int n) { return consume(n) + FILE; }
#endif
