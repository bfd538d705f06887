// SPDX-License-Identifier: GPL-2.0
/*
 * Slow memory, like that of a file on a slow disk. The first task to touch its mapping of /proc/neighbours
 * sleeps until the parameter "wake" is set. The file's ioctl() of the type 'n' does the following, by
 * number:
 *
 *	0 calls neighbours_place(),
 *	1 calls neighbours_bystander(), which returns at once,
 *	2 calls neighbours_bystander(), which sleeps until "wake" is set,
 *
 * Each passes the ioctl() argument as the place, and returns the result. A BPF program may be attached in
 * front of both functions and sleep there.
 */
#include <linux/btf.h>
#include <linux/btf_ids.h>
#include <linux/ioctl.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/wait.h>

#include "neighbours.h"

static DECLARE_WAIT_QUEUE_HEAD(queue);

static bool asleep;
module_param(asleep, bool, 0444);
MODULE_PARM_DESC(asleep, "whether somebody sleeps until it is woken");

static bool wake;

static int set_wake(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	wake_up_all(&queue);
	return ret;
}

static const struct kernel_param_ops wake_ops = {
	.set = set_wake,
	.get = param_get_bool,
};
module_param_cb(wake, &wake_ops, &wake, 0644);
MODULE_PARM_DESC(wake, "whether nobody is to sleep");

static void sleep_until_woken(void)
{
	WRITE_ONCE(asleep, true);
	wait_event_idle(queue, READ_ONCE(wake));
	WRITE_ONCE(asleep, false);
}

static void return_at_once(void)
{
}

static vm_fault_t fault(struct vm_fault *vmf)
{
	sleep_until_woken();
	vmf->page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return vmf->page ? 0 : VM_FAULT_OOM;
}

static const struct vm_operations_struct vm_ops = { .fault = fault };

static int map(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &vm_ops;
	return 0;
}

static long call(struct file *file, unsigned int command, unsigned long place)
{
	switch (command) {
	case _IO('n', 0):
		return neighbours_place(place);
	case _IO('n', 1):
		return neighbours_bystander(place, return_at_once);
	case _IO('n', 2):
		return neighbours_bystander(place, sleep_until_woken);
	default:
		return -ENOTTY;
	}
}

static const struct proc_ops proc_ops = {
	.proc_mmap = map,
	.proc_ioctl = call,
};

#ifdef CONFIG_BPF_SYSCALL
/* The functions to which a program that may sleep can be attached. */
BTF_SET8_START(sleepable)
BTF_ID_FLAGS(func, neighbours_place, KF_SLEEPABLE)
BTF_ID_FLAGS(func, neighbours_bystander, KF_SLEEPABLE)
BTF_SET8_END(sleepable)

static const struct btf_kfunc_id_set sleepable_set = {
	.owner = THIS_MODULE,
	.set = &sleepable,
};

static int allow_programs(void)
{
	return register_btf_fmodret_id_set(&sleepable_set);
}
#else
static int allow_programs(void)
{
	return 0;
}
#endif

int sleepy_init(void)
{
	int ret = allow_programs();

	if (ret)
		return ret;
	return proc_create("neighbours", 0600, NULL, &proc_ops) ? 0 : -ENOMEM;
}

void sleepy_exit(void)
{
	remove_proc_entry("neighbours", NULL);
}
