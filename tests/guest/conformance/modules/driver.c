// SPDX-License-Identifier: GPL-2.0
/*
 * Calls the patched functions. A file in /proc/conformance runs one check in the task that reads it. It
 * reports the version of the functions that ran, "original" or "patched", or what is wrong. The file of
 * the same name in /proc/conformance/held makes a kthread run the check. That kthread is inside a changing
 * function, so no transition has moved it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/completion.h>
#include <linux/cpumask.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/proc_fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "driver.h"

static const char *const version_names[] = { "original", "patched" };

void see(struct told *told, const char *what, u64 got, u64 original, u64 patched)
{
	int version = got == original ? ORIGINAL : got == patched ? PATCHED : WRONG;

	if (version == WRONG)
		scnprintf(told->why, sizeof(told->why), "%s: %#llx, where %#llx is original, %#llx patched",
			  what, got, original, patched);
	else if (told->version == UNSEEN)
		told->version = version;
	else if (told->version != version && !told->why[0])
		scnprintf(told->why, sizeof(told->why), "%s: %s, after others were not",
			  what, version_names[version]);
	if (told->why[0])
		told->version = WRONG;
}

void see_version(struct told *told, const char *what, int version)
{
	see(told, what, version, ORIGINAL, PATCHED);
}

/* --- a user's task that sleeps in a function ------------------------------------------------------- */

static DECLARE_WAIT_QUEUE_HEAD(queue);

static int set_and_wake(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	wake_up_all(&queue);
	return ret;
}

static const struct kernel_param_ops waking_ops = {
	.set = set_and_wake,
	.get = param_get_bool,
};

static bool sleep = true;
module_param_cb(sleep, &waking_ops, &sleep, 0644);
MODULE_PARM_DESC(sleep, "whether readers of /proc/conformance/sleep sleep");

static int asleep;
module_param(asleep, int, 0444);
MODULE_PARM_DESC(asleep, "how many do");

static void sleep_body(void *data)
{
	asleep++;
	wait_event_idle(queue, !sleep);
	asleep--;
}

static void check_sleep(struct told *told, char __user *buffer)
{
	see_version(told, "hold", conformance_hold(sleep_body, NULL));
}

static const struct check sleep_check = { "sleep", check_sleep };

/* --- a kthread that sleeps in a function, and runs checks meanwhile -------------------------------- */

static bool hold;
module_param_cb(hold, &waking_ops, &hold, 0644);
MODULE_PARM_DESC(hold, "whether the kthread is to be inside conformance_hold()");

static bool held;
module_param(held, bool, 0444);
MODULE_PARM_DESC(held, "whether it is");

static struct task_struct *holder;
static DEFINE_MUTEX(request_lock);
static const struct check *request;
static struct told reply;
static DECLARE_COMPLETION(replied);

static void hold_body(void *data)
{
	held = true;
	for (;;) {
		const struct check *check;

		wait_event_idle(queue, READ_ONCE(request) || !hold);
		check = READ_ONCE(request);
		if (!check)
			break;
		check->run(&reply, NULL);
		WRITE_ONCE(request, NULL);
		complete(&replied);
	}
	held = false;
}

static int hold_thread(void *data)
{
	while (!kthread_should_stop()) {
		wait_event_idle(queue, hold || kthread_should_stop());
		if (hold)
			conformance_hold(hold_body, NULL);
	}
	return 0;
}

static int run_held(const struct check *check, struct told *told)
{
	int ret = -EAGAIN;

	mutex_lock(&request_lock);
	if (held) {
		reply = *told;
		reinit_completion(&replied);
		WRITE_ONCE(request, check);
		wake_up_all(&queue);
		wait_for_completion(&replied);
		*told = reply;
		ret = 0;
	}
	mutex_unlock(&request_lock);
	return ret;
}

/* --- files ----------------------------------------------------------------------------------------- */

static ssize_t answer(const struct told *told, char __user *buffer, size_t size, loff_t *pos)
{
	char text[sizeof(told->why) + 16];
	const char *what = told->why;

	if (told->version == UNSEEN)
		what = "nothing ran";
	else if (told->version != WRONG)
		what = version_names[told->version];
	return simple_read_from_buffer(buffer, size, pos, text,
				       scnprintf(text, sizeof(text), "%s\n", what));
}

static ssize_t check_read(struct file *file, char __user *buffer, size_t size, loff_t *pos)
{
	const struct check *check = pde_data(file_inode(file));
	struct told told = { .version = UNSEEN };

	if (*pos)
		return 0;
	check->run(&told, size >= sizeof(u64) ? buffer : NULL);
	return answer(&told, buffer, size, pos);
}

static const struct proc_ops check_ops = {
	.proc_read = check_read,
	.proc_lseek = default_llseek,
};

static ssize_t held_read(struct file *file, char __user *buffer, size_t size, loff_t *pos)
{
	struct told told = { .version = UNSEEN };
	int ret;

	if (*pos)
		return 0;
	ret = run_held(pde_data(file_inode(file)), &told);
	return ret ?: answer(&told, buffer, size, pos);
}

static const struct proc_ops held_ops = {
	.proc_read = held_read,
	.proc_lseek = default_llseek,
};

/*
 * Memory whose pages come from a fault handler that calls the patched functions. A program that touches
 * the memory cannot see this interruption. Each page starts with the version that ran.
 */
static vm_fault_t page_fault(struct vm_fault *vmf)
{
	struct told told = { .version = UNSEEN };
	struct page *page = alloc_page(GFP_KERNEL | __GFP_ZERO);

	if (!page)
		return VM_FAULT_OOM;
	check_calls(&told, NULL);
	*(int *)page_address(page) = told.version;
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct page_vm_ops = {
	.fault = page_fault,
};

static int page_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &page_vm_ops;
	return 0;
}

static const struct proc_ops page_ops = {
	.proc_mmap = page_mmap,
	.proc_lseek = default_llseek,
};

static int __init make_files(struct proc_dir_entry *dir)
{
	struct proc_dir_entry *inner = proc_mkdir("held", dir);
	const struct check *check;

	if (!inner)
		return -ENOMEM;
	for (check = checks; check->name; check++)
		if (!proc_create_data(check->name, 0444, dir, &check_ops, (void *)check) ||
		    !proc_create_data(check->name, 0444, inner, &held_ops, (void *)check))
			return -ENOMEM;
	if (!proc_create_data(sleep_check.name, 0444, dir, &check_ops, (void *)&sleep_check) ||
	    !proc_create_data(spin_check.name, 0444, dir, &check_ops, (void *)&spin_check) ||
	    !proc_create("page", 0444, dir, &page_ops))
		return -ENOMEM;
	return 0;
}

static int __init driver_init(void)
{
	struct proc_dir_entry *dir = proc_mkdir("conformance", NULL);
	int ret = dir ? make_files(dir) : -ENOMEM;

	if (ret)
		goto files;
	holder = kthread_run(hold_thread, NULL, "conformance/hold");
	ret = PTR_ERR_OR_ZERO(holder);
	if (ret)
		goto files;
	ret = spin_start();
	if (!ret)
		return 0;
	kthread_stop(holder);
files:
	remove_proc_subtree("conformance", NULL);
	return ret;
}
module_init(driver_init);

static void __exit driver_exit(void)
{
	remove_proc_subtree("conformance", NULL);
	spin_stop();
	hold = false;
	kthread_stop(holder);
}
module_exit(driver_exit);

MODULE_DESCRIPTION("Caller of what is patched, for the conformance suite");
MODULE_LICENSE("GPL");
