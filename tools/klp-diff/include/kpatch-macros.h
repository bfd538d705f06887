/* SPDX-License-Identifier: GPL-2.0 */
/* The names that patches for kpatch use, where they mean the same. */
#ifndef LIVEPATCH_KPATCH_MACROS_H
#define LIVEPATCH_KPATCH_MACROS_H

#include "livepatch-author.h"

typedef struct klp_object patch_object;

#define KPATCH_PRE_PATCH_CALLBACK(function)	KLP_PRE_PATCH_CALLBACK(function)
#define KPATCH_POST_PATCH_CALLBACK(function)	KLP_POST_PATCH_CALLBACK(function)
#define KPATCH_PRE_UNPATCH_CALLBACK(function)	KLP_PRE_UNPATCH_CALLBACK(function)
#define KPATCH_POST_UNPATCH_CALLBACK(function)	KLP_POST_UNPATCH_CALLBACK(function)
#define KPATCH_IGNORE_FUNCTION(function)	KLP_IGNORE_FUNCTION(function)
#define KPATCH_IGNORE_SECTION(name)		KLP_IGNORE_SECTION(name)
#define KPATCH_STATIC_CALL(name)		KLP_STATIC_CALL(name)

#define KPATCH_SYSCALL_DEFINE1(name, ...)	KLP_SYSCALL_DEFINE1(name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE2(name, ...)	KLP_SYSCALL_DEFINE2(name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE3(name, ...)	KLP_SYSCALL_DEFINE3(name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE4(name, ...)	KLP_SYSCALL_DEFINE4(name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE5(name, ...)	KLP_SYSCALL_DEFINE5(name, __VA_ARGS__)
#define KPATCH_SYSCALL_DEFINE6(name, ...)	KLP_SYSCALL_DEFINE6(name, __VA_ARGS__)

#endif
