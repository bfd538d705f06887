// SPDX-License-Identifier: GPL-2.0
/*
 * A driver of a changer of disks, with a bug that a driver of the kernel had for long: whoever asks
 * about a slot can name a negative one, and is told what is in memory before the slots.
 *
 *	echo 2 > /sys/module/livepatch_changer/parameters/ask	whether slot 2 has changed
 *	cat /sys/module/livepatch_changer/parameters/answer
 */
#include <linux/module.h>
#include <linux/sysfs.h>

#define SLOTS	6

/* What the live patch has to know, too. */
struct changer {
	int capacity;
	int key;
	int changed[SLOTS];
};

static struct changer changer = {
	.capacity = SLOTS,
	/* Nobody's business. */
	.key = 4711,
	.changed = { 0, 0, 1, 0, 0, 1 },
};

static int answer;
module_param(answer, int, 0400);
MODULE_PARM_DESC(answer, "The answer to the last question");

noinline int changer_media_changed(const struct changer *changer, unsigned long slot);
noinline int changer_media_changed(const struct changer *changer, unsigned long slot)
{
	/* This is the bug: the slot has to be compared as it was given, without a sign. */
	if ((int)slot >= changer->capacity)
		return -EINVAL;
	return changer->changed[(int)slot];
}

static int ask_set(const char *val, const struct kernel_param *unused)
{
	long slot;
	int ret;

	ret = kstrtol(val, 0, &slot);
	if (ret)
		return ret;
	ret = changer_media_changed(&changer, slot);
	if (ret < 0)
		return ret;
	answer = ret;
	return 0;
}

static const struct kernel_param_ops ask_ops = { .set = ask_set };
module_param_cb(ask, &ask_ops, NULL, 0200);
MODULE_PARM_DESC(ask, "The slot to ask about");

MODULE_DESCRIPTION("Sample: a driver with a bug");
MODULE_LICENSE("GPL");
