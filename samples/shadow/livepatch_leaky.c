// SPDX-License-Identifier: GPL-2.0
/*
 * A module that leaks memory. Each item gets a label of 64 KiB, and nobody frees it:
 *
 *	echo 10 > /sys/module/livepatch_leaky/parameters/make	makes ten items
 *	echo 1 > /sys/module/livepatch_leaky/parameters/look	looks at each item
 *	echo 1 > /sys/module/livepatch_leaky/parameters/clear	frees all items
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/slab.h>

#define LABEL_SIZE (64 << 10)

struct item {
	struct list_head list;
	int number;
};

static LIST_HEAD(items);
static DEFINE_MUTEX(items_lock);
static int last;

noinline struct item *item_make(int number);
noinline struct item *item_make(int number)
{
	struct item *item = kzalloc(sizeof(*item), GFP_KERNEL);
	char *label;

	if (!item)
		return NULL;
	/* This is the bug: the item should keep the label. */
	label = kmalloc(LABEL_SIZE, GFP_KERNEL);
	if (!label) {
		kfree(item);
		return NULL;
	}
	snprintf(label, LABEL_SIZE, "item %d", number);
	item->number = number;
	return item;
}

noinline void item_look(struct item *item);
noinline void item_look(struct item *item)
{
	pr_debug("item %d\n", item->number);
}

noinline void item_free(struct item *item);
noinline void item_free(struct item *item)
{
	kfree(item);
}

static int make_set(const char *val, const struct kernel_param *kp)
{
	struct item *item;
	int count, ret;

	ret = kstrtoint(val, 0, &count);
	if (ret)
		return ret;
	guard(mutex)(&items_lock);
	while (count-- > 0) {
		item = item_make(++last);
		if (!item)
			return -ENOMEM;
		list_add_tail(&item->list, &items);
	}
	return 0;
}

static const struct kernel_param_ops make_ops = { .set = make_set };
module_param_cb(make, &make_ops, NULL, 0200);
MODULE_PARM_DESC(make, "How many items to make");

static int look_set(const char *val, const struct kernel_param *kp)
{
	struct item *item;

	guard(mutex)(&items_lock);
	list_for_each_entry(item, &items, list)
		item_look(item);
	return 0;
}

static const struct kernel_param_ops look_ops = { .set = look_set };
module_param_cb(look, &look_ops, NULL, 0200);
MODULE_PARM_DESC(look, "Looks at all items");

static void clear(void)
{
	struct item *item, *next;

	guard(mutex)(&items_lock);
	list_for_each_entry_safe(item, next, &items, list) {
		list_del(&item->list);
		item_free(item);
	}
}

static int clear_set(const char *val, const struct kernel_param *kp)
{
	clear();
	return 0;
}

static const struct kernel_param_ops clear_ops = { .set = clear_set };
module_param_cb(clear, &clear_ops, NULL, 0200);
MODULE_PARM_DESC(clear, "Frees all items");

static int __init leaky_init(void)
{
	return 0;
}
module_init(leaky_init);

static void __exit leaky_exit(void)
{
	clear();
}
module_exit(leaky_exit);

MODULE_DESCRIPTION("Sample: a module that leaks memory");
MODULE_LICENSE("GPL");
