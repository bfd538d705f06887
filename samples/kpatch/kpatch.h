/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Lets a module that was written for kpatch's own core build and work on the livepatch core. It is
 * included in place of kpatch.h, in one file of the module. That file also says
 * MODULE_INFO(livepatch, "Y").
 *
 * A function can go through a gate, see KPATCH_GATE(). All gates of a module are switched at one
 * instant, with all CPUs stopped, and only while nobody is inside. That is kpatch's own rule.
 */
#ifndef _KPATCH_H
#define _KPATCH_H

#include <linux/cleanup.h>
#include <linux/cpumask.h>
#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/list.h>
#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/percpu.h>
#include <linux/slab.h>
#include <linux/static_call.h>
#include <linux/stop_machine.h>
#include <linux/unaligned.h>

/**
 * struct kpatch_func - a function to replace
 * @new_addr: the address of the new function, or of its gate
 * @new_size: ignored
 * @old_addr: ignored: the old function is found by its name
 * @old_size: ignored
 * @sympos: which function of this name, or 0 if there is only one
 * @name: the name of the old function
 * @list: in the list of its object
 * @force: ignored
 * @gate: what KPATCH_GATE() has defined, or NULL
 */
struct kpatch_func {
	unsigned long new_addr;
	unsigned long new_size;
	unsigned long old_addr;
	unsigned long old_size;
	unsigned long sympos;
	const char *name;
	struct list_head list;
	int force;
	const struct kpatch_gate *gate;
};

/**
 * struct kpatch_object - the functions of the kernel, or of one module
 * @list: in the list of its patch
 * @name: the name of the module, or NULL for the kernel
 * @funcs: the functions
 * @dynrelas: has to be empty: such relocations are the kernel's now, in .klp.rela sections
 * @pre_patch_callback: called before the object is patched. An error keeps it from being so
 * @post_patch_callback: called when no task uses the old functions any longer
 * @pre_unpatch_callback: called before the object goes back
 * @post_unpatch_callback: called when no task uses the new functions any longer
 */
struct kpatch_object {
	struct list_head list;
	const char *name;
	struct list_head funcs;
	struct list_head dynrelas;
	int (*pre_patch_callback)(struct kpatch_object *object);
	void (*post_patch_callback)(struct kpatch_object *object);
	void (*pre_unpatch_callback)(struct kpatch_object *object);
	void (*post_unpatch_callback)(struct kpatch_object *object);
};

/**
 * struct kpatch_module - a live patch
 * @mod: THIS_MODULE
 * @objects: what it changes
 * @enabled: whether it was registered
 * @klp: what the livepatch core knows of it
 */
struct kpatch_module {
	struct module *mod;
	struct list_head objects;
	bool enabled;
	struct klp_patch *klp;
};

/* What the livepatch core knows of an object. Its callbacks get only @klp. */
struct kpatch_translated {
	struct klp_object *klp;
	struct kpatch_object *object;
};

/* One for each object of the patch, in the order of its list. */
static struct kpatch_translated *kpatch_translated;
static unsigned int kpatch_objects;

/* --- gates ------------------------------------------------------------------------------------ */

/**
 * struct kpatch_gate - a way to either version of a function
 * @set_old: says where the old function goes on behind its patch site
 */
struct kpatch_gate {
	void (*set_old)(void *code);
};

/* Whether the gates lead to the new functions. It changes only while all CPUs are stopped. */
static bool kpatch_in_effect;

/* Whether every task goes through the gates. Before that, some call the old functions directly. */
static bool kpatch_through_gates;

/*
 * How many tasks and interrupts have gone in on each CPU, less those that have come out there. Who
 * migrates in between makes one count higher and another one lower, so only the sum tells.
 */
static DEFINE_PER_CPU(long, kpatch_inside);

static __always_inline bool kpatch_enter(void)
{
	/* A task of a stopped CPU is counted, or it is before this and will see the new value. */
	this_cpu_inc(kpatch_inside);
	return READ_ONCE(kpatch_in_effect);
}

static __always_inline void kpatch_leave(const bool *unused)
{
	this_cpu_dec(kpatch_inside);
}

/**
 * KPATCH_GATE() - Defines a gate
 * @type: what the function returns
 * @old: the name of the old function
 * @new: the new function
 * @params: the parameters, with their types, in parentheses
 * @args: the parameters' names, in parentheses
 *
 * KPATCH_GATE_ADDR(old) is for &kpatch_func.new_addr, KPATCH_GATE_OF(old) for &kpatch_func.gate.
 */
#define KPATCH_GATE(type, old, new, params, args)					\
	extern type kpatch_type_##old params;						\
	DEFINE_STATIC_CALL_NULL(kpatch_old_##old, kpatch_type_##old);			\
	static void kpatch_set_##old(void *code)					\
	{										\
		static_call_update(kpatch_old_##old, (typeof(&kpatch_type_##old))code);	\
	}										\
	static const struct kpatch_gate kpatch_gate_##old = {				\
		.set_old = kpatch_set_##old,						\
	};										\
	static noinline __nocfi type kpatch_through_##old params			\
	{										\
		bool in_effect __cleanup(kpatch_leave) = kpatch_enter();		\
											\
		if (in_effect)								\
			return new args;						\
		return static_call(kpatch_old_##old) args;				\
	}

#define KPATCH_GATE_ADDR(old)	((unsigned long)kpatch_through_##old)
#define KPATCH_GATE_OF(old)	(&kpatch_gate_##old)

/* Returns where a function goes on behind its patch site, or NULL if that is not known. */
static inline void *kpatch_body(void *function)
{
	u8 *code = function;

#if defined(CONFIG_X86_64) && defined(CONFIG_HAVE_FENTRY)
	/* Behind ENDBR, if there is one: a call, a jump, or a nop of five bytes. */
	if (code[0] != 0xe8 && code[0] != 0xe9 && get_unaligned_le32(code) != 0x00441f0f)
		code += 4;
	return code + MCOUNT_INSN_SIZE;
#elif defined(CONFIG_ARM64) && !defined(CONFIG_ARM64_BTI_KERNEL)
	/* One instruction that saves the link register, and a call. */
	return code + 2 * MCOUNT_INSN_SIZE;
#elif defined(CONFIG_S390)
	return code + MCOUNT_INSN_SIZE;
#else
	/* BTI lets code be entered at landing pads only, and powerpc takes the kernel's TOC pointer. */
	return NULL;
#endif
}

static int kpatch_switch_stopped(void *arg)
{
	bool to = *(bool *)arg;
	long inside = 0;
	int cpu;

	if (to && !READ_ONCE(kpatch_through_gates))
		return -EBUSY;
	for_each_possible_cpu(cpu)
		inside += per_cpu(kpatch_inside, cpu);
	if (inside)
		return -EBUSY;
	WRITE_ONCE(kpatch_in_effect, to);
	return 0;
}

/* Switches all gates at once. Returns -EBUSY if anybody is inside one, or passes them by. */
static inline int kpatch_switch(bool to)
{
	return stop_machine(kpatch_switch_stopped, &to, NULL);
}

/* The longest that a switch is tried for, in milliseconds. */
#define KPATCH_PATIENCE	1000

/* Switches the gates soon. Who only passes through is out again in a moment. */
static inline int kpatch_switch_soon(bool to)
{
	int left, ret;

	for (left = KPATCH_PATIENCE; (ret = kpatch_switch(to)) && left; left--)
		msleep(1);
	return ret;
}

static int kpatch_in_effect_set(const char *val, const struct kernel_param *kp)
{
	bool to;
	int ret = kstrtobool(val, &to);

	return ret ?: kpatch_switch_soon(to);
}

static const struct kernel_param_ops kpatch_in_effect_ops = {
	.set = kpatch_in_effect_set,
	.get = param_get_bool,
};

/**
 * KPATCH_PARAMETER() - Gives a module with gates the parameter "in_effect"
 *
 * It says whether the gates lead to the new functions. Writing to it switches them, or fails with
 * EBUSY if anybody is inside, or in the middle of a transition.
 */
#define KPATCH_PARAMETER()								\
	module_param_cb(in_effect, &kpatch_in_effect_ops, &kpatch_in_effect, 0600);	\
	MODULE_PARM_DESC(in_effect, "Whether the new functions are in use, if they have gates")

/* --- translation ------------------------------------------------------------------------------ */

static inline struct kpatch_object *kpatch_object_of(struct klp_object *klp)
{
	unsigned int i;

	for (i = 0; i < kpatch_objects; i++)
		if (kpatch_translated[i].klp == klp)
			return kpatch_translated[i].object;
	return NULL;
}

static inline bool kpatch_has_gates(void)
{
	struct kpatch_func *func;
	unsigned int i;

	for (i = 0; i < kpatch_objects; i++)
		list_for_each_entry(func, &kpatch_translated[i].object->funcs, list)
			if (func->gate)
				return true;
	return false;
}

static int kpatch_pre_patch(struct klp_object *klp)
{
	struct kpatch_object *object = kpatch_object_of(klp);
	struct klp_func *old = klp->funcs;
	struct kpatch_func *func;
	void *body;

	list_for_each_entry(func, &object->funcs, list) {
		body = func->gate ? kpatch_body(old->old_func) : NULL;
		if (func->gate && !body) {
			pr_err("%s: gates are not possible on this kernel\n", func->name);
			return -EOPNOTSUPP;
		}
		if (body)
			func->gate->set_old(body);
		old++;
	}
	return object->pre_patch_callback ? object->pre_patch_callback(object) : 0;
}

static void kpatch_post_patch(struct klp_object *klp)
{
	struct kpatch_object *object = kpatch_object_of(klp);

	/* The first object tells. Others, and modules that come later, leave the gates as they are. */
	if (kpatch_has_gates() && !kpatch_through_gates) {
		WRITE_ONCE(kpatch_through_gates, true);
		if (kpatch_switch_soon(true))
			pr_err("refused: a task is inside; 1 in the parameter in_effect tries again\n");
	}
	if (object->post_patch_callback)
		object->post_patch_callback(object);
}

static void kpatch_pre_unpatch(struct klp_object *klp)
{
	struct kpatch_object *object = kpatch_object_of(klp);
	/* A module that goes, goes back alone. The patch stays as it is. */
	bool alone = klp->mod && klp->mod->state != MODULE_STATE_LIVE;

	if (kpatch_has_gates() && !alone) {
		WRITE_ONCE(kpatch_through_gates, false);
		if (kpatch_in_effect && kpatch_switch_soon(false))
			pr_warn("a task is inside, so both versions are in use for a while\n");
	}
	if (object->pre_unpatch_callback)
		object->pre_unpatch_callback(object);
}

static void kpatch_post_unpatch(struct klp_object *klp)
{
	struct kpatch_object *object = kpatch_object_of(klp);

	if (object->post_unpatch_callback)
		object->post_unpatch_callback(object);
}

static inline void kpatch_free(struct kpatch_module *kpmod)
{
	struct klp_object *klp;

	if (kpmod->klp && kpmod->klp->objs) {
		for (klp = kpmod->klp->objs; klp->funcs; klp++)
			kfree(klp->funcs);
		kfree(kpmod->klp->objs);
	}
	kfree(kpmod->klp);
	kfree(kpatch_translated);
	kpmod->klp = NULL;
	kpatch_translated = NULL;
	kpatch_objects = 0;
}

static inline int kpatch_translate_object(struct kpatch_object *object, struct klp_object *klp)
{
	struct kpatch_func *func;
	struct klp_func *new;

	if (object->dynrelas.next && !list_empty(&object->dynrelas))
		return -EOPNOTSUPP;
	klp->name = object->name;
	klp->funcs = kcalloc(list_count_nodes(&object->funcs) + 1, sizeof(*klp->funcs), GFP_KERNEL);
	if (!klp->funcs)
		return -ENOMEM;
	klp->callbacks.pre_patch = kpatch_pre_patch;
	klp->callbacks.post_patch = kpatch_post_patch;
	klp->callbacks.pre_unpatch = kpatch_pre_unpatch;
	klp->callbacks.post_unpatch = kpatch_post_unpatch;
	new = klp->funcs;
	list_for_each_entry(func, &object->funcs, list) {
		new->old_name = func->name;
		new->new_func = (void *)func->new_addr;
		new->old_sympos = func->sympos;
		new++;
	}
	return 0;
}

static inline int kpatch_translate(struct kpatch_module *kpmod, bool replace)
{
	size_t count = list_count_nodes(&kpmod->objects);
	struct kpatch_object *object;
	struct klp_object *klp;
	int ret;

	kpmod->klp = kzalloc(sizeof(*kpmod->klp), GFP_KERNEL);
	kpatch_translated = kcalloc(count, sizeof(*kpatch_translated), GFP_KERNEL);
	if (!kpmod->klp || !kpatch_translated)
		return -ENOMEM;
	kpmod->klp->mod = kpmod->mod;
	kpmod->klp->replace = replace;
	kpmod->klp->objs = kcalloc(count + 1, sizeof(*klp), GFP_KERNEL);
	if (!kpmod->klp->objs)
		return -ENOMEM;
	klp = kpmod->klp->objs;
	list_for_each_entry(object, &kpmod->objects, list) {
		ret = kpatch_translate_object(object, klp);
		if (ret)
			return ret;
		kpatch_translated[kpatch_objects].klp = klp++;
		kpatch_translated[kpatch_objects++].object = object;
	}
	return 0;
}

/**
 * kpatch_register() - Enables a live patch
 * @kpmod: the live patch
 * @replace: whether it replaces all live patches before it
 *
 * The init function of the module calls this. Without gates, each task changes to the new functions
 * when it is in none of the old ones. With gates, all change at one instant after that.
 *
 * Return: 0, or a negative errno. Then nothing is patched.
 */
static inline int kpatch_register(struct kpatch_module *kpmod, bool replace)
{
	int ret = kpatch_translate(kpmod, replace);

	if (!ret)
		ret = klp_enable_patch(kpmod->klp);
	if (ret)
		kpatch_free(kpmod);
	kpmod->enabled = !ret;
	return ret;
}

/**
 * kpatch_unregister() - Ends what kpatch_register() began
 * @kpmod: the live patch
 *
 * The exit function of the module calls this. By then the live patch was disabled, by way of
 * /sys/kernel/livepatch, and no task uses it: the module can't be unloaded before.
 *
 * Return: 0.
 */
static inline int kpatch_unregister(struct kpatch_module *kpmod)
{
	kpatch_free(kpmod);
	kpmod->enabled = false;
	return 0;
}

#endif /* _KPATCH_H */
