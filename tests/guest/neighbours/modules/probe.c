// SPDX-License-Identifier: GPL-2.0
/*
 * Two kprobes, one without and one with a post handler. Writing a function's name to the parameter of a
 * kprobe registers the kprobe on that function. The write returns the error of register_kprobe(). Writing
 * an empty line unregisters the kprobe. A third kprobe delays its function, so that others meet the kernel
 * there.
 */
#include <linux/atomic.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/string.h>

struct probe {
	struct kprobe kprobe;
	char symbol[KSYM_NAME_LEN];
	atomic_t hits;
	atomic_t post_hits;
};

static struct probe plain, post, slow;

/* Longer than an emulated CPU waits for its turn. */
#define SLOW_MS 250

static int pre_handler(struct kprobe *kprobe, struct pt_regs *regs)
{
	struct probe *probe = container_of(kprobe, struct probe, kprobe);

	atomic_inc(&probe->hits);
	if (probe == &slow)
		mdelay(SLOW_MS);
	return 0;
}

static void post_handler(struct kprobe *kprobe, struct pt_regs *regs, unsigned long flags)
{
	atomic_inc(&container_of(kprobe, struct probe, kprobe)->post_hits);
}

/* Parameters are written one at a time, so no lock is needed. */
static int set_symbol(const char *val, const struct kernel_param *kp)
{
	struct probe *probe = kp->arg;
	int ret;

	if (probe->symbol[0]) {
		unregister_kprobe(&probe->kprobe);
		probe->symbol[0] = 0;
	}
	if (val[0] == '\n')
		return 0;
	if (strscpy(probe->symbol, val) < 0)
		return -E2BIG;
	strim(probe->symbol);
	/* Some fields belong to the kernel and are left over from the last registration. */
	memset(&probe->kprobe, 0, sizeof(probe->kprobe));
	probe->kprobe.symbol_name = probe->symbol;
	probe->kprobe.pre_handler = pre_handler;
	if (probe == &post)
		probe->kprobe.post_handler = post_handler;
	ret = register_kprobe(&probe->kprobe);
	if (ret)
		probe->symbol[0] = 0;
	return ret;
}

static int get_hits(char *buffer, const struct kernel_param *kp)
{
	struct probe *probe = kp->arg;

	return sysfs_emit(buffer, "%d %d\n", atomic_read(&probe->hits), atomic_read(&probe->post_hits));
}

static const struct kernel_param_ops probe_ops = {
	.set = set_symbol,
	.get = get_hits,
};

module_param_cb(plain, &probe_ops, &plain, 0644);
MODULE_PARM_DESC(plain, "where the kprobe without a post handler is; reads how often it was hit, and 0");
module_param_cb(post, &probe_ops, &post, 0644);
MODULE_PARM_DESC(post, "where the one with it is; reads how often its pre and its post handler ran");
module_param_cb(slow, &probe_ops, &slow, 0644);
MODULE_PARM_DESC(slow, "where the one is that delays; reads how often it was hit, and 0");

static int __init probe_init(void)
{
	return 0;
}
module_init(probe_init);

static void __exit probe_exit(void)
{
	if (plain.symbol[0])
		unregister_kprobe(&plain.kprobe);
	if (post.symbol[0])
		unregister_kprobe(&post.kprobe);
	if (slow.symbol[0])
		unregister_kprobe(&slow.kprobe);
}
module_exit(probe_exit);

MODULE_DESCRIPTION("Kprobes, for the neighbours suite");
MODULE_LICENSE("GPL");
