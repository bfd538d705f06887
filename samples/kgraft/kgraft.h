/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lets a module that was written for kGraft build and work on the livepatch core. It is included in
 * place of linux/kgraft.h, in one file of the module, which also says MODULE_INFO(livepatch, "Y").
 */
#ifndef _KGRAFT_H
#define _KGRAFT_H

#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/string.h>

/**
 * struct kgr_patch_fun - a function to replace
 * @name: the name of the old function
 * @objname: the module that it is in, or NULL for the kernel
 * @new_fun: the new function
 * @abort_if_missing: ignored: a function that is missing is always an error
 * @sympos: which function of this name, or 0 if there is only one
 */
struct kgr_patch_fun {
	const char *name;
	const char *objname;
	void *new_fun;
	bool abort_if_missing;
	unsigned long sympos;
};

#define KGR_PATCH(_name, _new)			{ .name = #_name, .new_fun = _new }
#define KGR_PATCH_OBJ(_name, _new, _object)	\
	{ .name = #_name, .new_fun = _new, .objname = _object }
#define KGR_PATCH_END				{ }

/**
 * struct kgr_patch - a live patch
 * @name: ignored: the live patch has the name of its module
 * @owner: THIS_MODULE
 * @replace_all: whether it replaces all live patches before it
 * @klp: what the livepatch core knows of it
 * @patches: the functions, with %KGR_PATCH_END at the end
 */
struct kgr_patch {
	const char *name;
	struct module *owner;
	bool replace_all;
	struct klp_patch *klp;
	struct kgr_patch_fun patches[];
};

static inline bool kgr_same_object(const struct kgr_patch_fun *a, const struct kgr_patch_fun *b)
{
	if (!a->objname || !b->objname)
		return a->objname == b->objname;
	return !strcmp(a->objname, b->objname);
}

/* Whether an entry before this one is of the same object. */
static inline bool kgr_is_known_object(const struct kgr_patch *patch,
				       const struct kgr_patch_fun *fun)
{
	const struct kgr_patch_fun *other;

	for (other = patch->patches; other < fun; other++)
		if (kgr_same_object(other, fun))
			return true;
	return false;
}

static inline void kgr_free(struct kgr_patch *patch)
{
	struct klp_object *obj;

	if (!patch->klp)
		return;
	if (patch->klp->objs)
		klp_for_each_object_static(patch->klp, obj)
			kfree(obj->funcs);
	kfree(patch->klp->objs);
	kfree(patch->klp);
	patch->klp = NULL;
}

/* Makes the tables: as many objects as the list has, each with its functions in their order. */
static inline int kgr_translate(struct kgr_patch *patch)
{
	struct kgr_patch_fun *fun, *own;
	struct klp_object *obj;
	struct klp_func *func;
	size_t count = 0;

	for (fun = patch->patches; fun->name; fun++)
		count++;
	patch->klp = kzalloc(sizeof(*patch->klp), GFP_KERNEL);
	if (!patch->klp)
		return -ENOMEM;
	patch->klp->mod = patch->owner;
	patch->klp->replace = patch->replace_all;
	patch->klp->objs = kcalloc(count + 1, sizeof(*obj), GFP_KERNEL);
	if (!patch->klp->objs)
		return -ENOMEM;
	obj = patch->klp->objs;
	for (fun = patch->patches; fun->name; fun++) {
		if (kgr_is_known_object(patch, fun))
			continue;
		func = kcalloc(count + 1, sizeof(*func), GFP_KERNEL);
		if (!func)
			return -ENOMEM;
		obj->name = fun->objname;
		obj->funcs = func;
		for (own = fun; own->name; own++) {
			if (!kgr_same_object(fun, own))
				continue;
			func->old_name = own->name;
			func->new_func = own->new_fun;
			func->old_sympos = own->sympos;
			func++;
		}
		obj++;
	}
	return 0;
}

/**
 * kgr_patch_kernel() - Enables a live patch
 * @patch: the live patch
 *
 * The init function of the module calls this.
 *
 * Return: 0, or the negative errno of klp_enable_patch(). Then nothing is patched.
 */
static inline int kgr_patch_kernel(struct kgr_patch *patch)
{
	int ret = kgr_translate(patch);

	if (!ret)
		ret = klp_enable_patch(patch->klp);
	if (ret)
		kgr_free(patch);
	return ret;
}

/**
 * kgr_patch_remove() - Ends what kgr_patch_kernel() began
 * @patch: the live patch
 *
 * The exit function of the module calls this. By then the live patch was disabled, by way of
 * /sys/kernel/livepatch, and no task uses it: the module can't be unloaded before.
 */
static inline void kgr_patch_remove(struct kgr_patch *patch)
{
	kgr_free(patch);
}

#endif /* _KGRAFT_H */
