/* SPDX-License-Identifier: GPL-2.0 */
/* Shared by the modules of this suite. */
#ifndef REGRESSIONS_H
#define REGRESSIONS_H

#include <linux/compiler.h>
#include <linux/module.h>
#include <linux/sysfs.h>

/* Keeps a function where it is written. clang does so for all functions. */
#ifdef __clang__
#define OPAQUE noinline
#else
#define OPAQUE __attribute__((__noipa__, __no_reorder__))
#endif

/* Hides a number from the compiler, which would otherwise drop the call of the function that returns it. */
static __always_inline int hidden(int number)
{
	OPTIMIZER_HIDE_VAR(number);
	return number;
}

/* Each read of the parameter makes the call and prints the result. */
#define SHOW_RESULT(parameter, call)							\
	static int parameter##_get(char *buffer, const struct kernel_param *kp)		\
	{										\
		return sysfs_emit(buffer, "%d\n", (call));				\
	}										\
	static const struct kernel_param_ops parameter##_ops = { .get = parameter##_get }; \
	module_param_cb(parameter, &parameter##_ops, NULL, 0444)

#endif
