// SPDX-License-Identifier: GPL-2.0
// Two files of one object have a callback of the same kind.
// files: vmlinux vmlinux
// refused: before Wishes
#include "kernel.h"
#ifdef PATCHED
static int before(void *object) { return consume(FILE); }
void *callback __section(".kpatch.callbacks.pre_patch") = before;
#endif
