/* SPDX-License-Identifier: GPL-2.0 */
/* What the modules of this suite share. */
#ifndef REGRESSIONS_H
#define REGRESSIONS_H

#include <linux/compiler.h>
#include <linux/module.h>
#include <linux/sysfs.h>

/* Such a function stands where it is written, as clang has all functions. */
#ifdef __clang__
#define OPAQUE noinline
#else
#define OPAQUE __attribute__((__noipa__, __no_reorder__))
#endif

/* A number that no compiler knows: else it would not ask the function that returns it. */
static __always_inline int hidden(int number)
{
	OPTIMIZER_HIDE_VAR(number);
	return number;
}

/* Each read of the parameter calls, and prints the result. */
#define SHOW_RESULT(parameter, call)							\
	static int parameter##_get(char *buffer, const struct kernel_param *kp)		\
	{										\
		return sysfs_emit(buffer, "%d\n", (call));				\
	}										\
	static const struct kernel_param_ops parameter##_ops = { .get = parameter##_get }; \
	module_param_cb(parameter, &parameter##_ops, NULL, 0444)

#endif
