/* SPDX-License-Identifier: GPL-2.0 */
/* What the modules of this suite share. */
#ifndef REGRESSIONS_H
#define REGRESSIONS_H

#include <linux/module.h>
#include <linux/sysfs.h>

/* Such a function is called as it stands, and stands where it is written. */
#ifdef __clang__
#define OPAQUE noinline __attribute__((optnone))
#else
#define OPAQUE __attribute__((__noipa__, __no_reorder__))
#endif

/* Each read of the parameter calls, and prints the result. */
#define SHOW_RESULT(parameter, call)							\
	static int parameter##_get(char *buffer, const struct kernel_param *kp)		\
	{										\
		return sysfs_emit(buffer, "%d\n", (call));				\
	}										\
	static const struct kernel_param_ops parameter##_ops = { .get = parameter##_get }; \
	module_param_cb(parameter, &parameter##_ops, NULL, 0444)

#endif
