/* SPDX-License-Identifier: GPL-2.0 */
/* What the modules of this suite share. */
#ifndef REGRESSIONS_H
#define REGRESSIONS_H

#include <linux/module.h>
#include <linux/sysfs.h>

/* The compiler knows nothing of such a function when it compiles a call of it. */
#define OPAQUE __attribute__((__noipa__))
#ifdef __clang__
#undef OPAQUE
#define OPAQUE noinline __attribute__((optnone))
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
