// SPDX-License-Identifier: GPL-2.0
/*
 * A live patch that is built from its parameters: the functions of each object, whether it replaces other
 * patches, whether it has callbacks, and which callback fails.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/seq_file.h>
#include <linux/string.h>
#include <linux/wait.h>

static char *vmlinux;
module_param(vmlinux, charp, 0444);
MODULE_PARM_DESC(vmlinux, "functions of the kernel: cmdline; or - for none of them");

static char *target;
module_param(target, charp, 0444);
MODULE_PARM_DESC(target, "functions of parity_target: alpha, beta, gamma, hold; or -");

static char *other;
module_param(other, charp, 0444);
MODULE_PARM_DESC(other, "functions of parity_other");

static bool replace;
module_param(replace, bool, 0444);
MODULE_PARM_DESC(replace, "whether the patch replaces all others");

static bool callbacks;
module_param(callbacks, bool, 0444);
MODULE_PARM_DESC(callbacks, "whether the objects have callbacks, which say so when they are called");

static char *pre_fail = "";
module_param(pre_fail, charp, 0644);
MODULE_PARM_DESC(pre_fail, "object whose pre_patch callback fails");

static int pre_error = -ENODEV;
module_param(pre_error, int, 0644);
MODULE_PARM_DESC(pre_error, "what that callback returns");

static bool stay;
module_param(stay, bool, 0444);
MODULE_PARM_DESC(stay, "whether the new version of parity_hold() holds its tasks too");

static int held;
module_param(held, int, 0444);
MODULE_PARM_DESC(held, "how many tasks are inside it");

static DECLARE_WAIT_QUEUE_HEAD(queue);
static bool release;

static int set_release(const char *val, const struct kernel_param *kp)
{
	int ret = param_set_bool(val, kp);

	wake_up_all(&queue);
	return ret;
}

static const struct kernel_param_ops release_ops = {
	.set = set_release,
	.get = param_get_bool,
};
module_param_cb(release, &release_ops, &release, 0644);
MODULE_PARM_DESC(release, "whether it lets them go");

static int new_cmdline(struct seq_file *m, void *v)
{
	seq_puts(m, "cmdline: " KBUILD_MODNAME "\n");
	return 0;
}

#define REPLACEMENT(name)						\
static int new_##name(struct seq_file *m)				\
{									\
	seq_puts(m, #name ": " KBUILD_MODNAME "\n");			\
	return 0;							\
}

REPLACEMENT(alpha)
REPLACEMENT(beta)
REPLACEMENT(gamma)

static int new_hold(struct seq_file *m)
{
	if (stay) {
		held++;
		wait_event_idle(queue, release);
		held--;
	}
	seq_puts(m, "hold: " KBUILD_MODNAME "\n");
	return 0;
}

static const struct {
	const char *name;
	const char *symbol;
	void *func;
} versions[] = {
	{ "cmdline", "cmdline_proc_show", new_cmdline },
	{ "alpha", "parity_alpha", new_alpha },
	{ "beta", "parity_beta", new_beta },
	{ "gamma", "parity_gamma", new_gamma },
	{ "hold", "parity_hold", new_hold },
	/* A function that no object has. */
	{ "missing", "parity_missing", new_gamma },
};

static const char *object_name(struct klp_object *obj)
{
	return obj->name ?: "vmlinux";
}

/* Returns an object's state as the core mirrors it: the object has a module exactly while that is loaded. */
static const char *object_state(struct klp_object *obj)
{
	if (!obj->name)
		return obj->mod ? "a module" : "no module";
	if (!obj->mod)
		return "not loaded";
	switch (obj->mod->state) {
	case MODULE_STATE_LIVE:
		return "live";
	case MODULE_STATE_COMING:
		return "coming";
	case MODULE_STATE_GOING:
		return "going";
	default:
		return "unformed";
	}
}

static void tell(const char *what, struct klp_object *obj)
{
	pr_info("%s: %s, %s\n", what, object_name(obj), object_state(obj));
}

static int pre_patch(struct klp_object *obj)
{
	tell(__func__, obj);
	return strcmp(pre_fail, object_name(obj)) ? 0 : pre_error;
}

static void post_patch(struct klp_object *obj)
{
	tell(__func__, obj);
}

static void pre_unpatch(struct klp_object *obj)
{
	tell(__func__, obj);
}

static void post_unpatch(struct klp_object *obj)
{
	tell(__func__, obj);
}

#define OBJECTS 3
static struct klp_func funcs[OBJECTS][ARRAY_SIZE(versions) + 1];
static struct klp_object objs[OBJECTS + 1];
static struct klp_patch patch = {
	.mod = THIS_MODULE,
	.objs = objs,
};

static int fill(struct klp_object *obj, struct klp_func *func, const char *name, const char *list)
{
	char words[64], *rest = words, *word;
	int i;

	obj->name = name;
	obj->funcs = func;
	if (callbacks) {
		obj->callbacks.pre_patch = pre_patch;
		obj->callbacks.post_patch = post_patch;
		obj->callbacks.pre_unpatch = pre_unpatch;
		obj->callbacks.post_unpatch = post_unpatch;
	}
	strscpy(words, list);
	while ((word = strsep(&rest, ",")) != NULL) {
		if (!strcmp(word, "-"))
			continue;
		for (i = 0; i < ARRAY_SIZE(versions); i++)
			if (!strcmp(word, versions[i].name))
				break;
		if (i == ARRAY_SIZE(versions))
			return -EDOM;
		func->old_name = versions[i].symbol;
		func->new_func = versions[i].func;
		func++;
	}
	return 0;
}

static int __init patch_init(void)
{
	const char *names[OBJECTS] = { NULL, "parity_target", "parity_other" };
	const char *lists[OBJECTS] = { vmlinux, target, other };
	struct klp_object *obj = objs;
	int i, ret;

	patch.replace = replace;
	for (i = 0; i < OBJECTS; i++) {
		if (!lists[i])
			continue;
		ret = fill(obj++, funcs[i], names[i], lists[i]);
		if (ret)
			return ret;
	}
	return klp_enable_patch(&patch);
}
module_init(patch_init);

static void __exit patch_exit(void)
{
}
module_exit(patch_exit);

MODULE_DESCRIPTION("Live patch made to order, for the parity scenarios");
MODULE_LICENSE("GPL");
MODULE_INFO(livepatch, "Y");
