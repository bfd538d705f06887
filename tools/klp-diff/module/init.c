// SPDX-License-Identifier: GPL-2.0
/*
 * Enables the live patch that the patch engine describes in tables. The tables are gone after the
 * module's initialisation, so that livepatch gets structures of its own.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/livepatch.h>
#include <linux/module.h>
#include <linux/slab.h>

/* The engine refers to this if there are tables of states or about replacing. */
const int klp_init_reads_wishes __used;

/* Without a word of the author, a live patch replaces all others, as with the tree's own tools. */
static struct klp_patch patch = { .mod = THIS_MODULE, .replace = true };

static void *__init table(const char *name, size_t entry, size_t *count)
{
	size_t size;
	void *start = klp_find_section_by_name(THIS_MODULE, name, &size);

	*count = size / entry;
	return start;
}

static int __init read_states(void)
{
	size_t count;
	const struct klp_state *states = table(".init.klp_states", sizeof(*states), &count);

	if (!count)
		return 0;
	/* An empty state ends the list. */
	patch.states = kcalloc(count + 1, sizeof(*states), GFP_KERNEL);
	if (!patch.states)
		return -ENOMEM;
	memcpy(patch.states, states, count * sizeof(*states));
	return 0;
}

static struct klp_func *__init read_funcs(const struct klp_object_ext *from)
{
	/* An empty function ends the list. */
	struct klp_func *funcs = kcalloc(from->nr_funcs + 1, sizeof(*funcs), GFP_KERNEL);

	for (unsigned int i = 0; funcs && i < from->nr_funcs; i++) {
		funcs[i].old_name = from->funcs[i].old_name;
		funcs[i].old_sympos = from->funcs[i].sympos;
		funcs[i].new_func = from->funcs[i].new_func;
	}
	return funcs;
}

static int __init read_objects(void)
{
	size_t count;
	const struct klp_object_ext *from = table(".init.klp_objects", sizeof(*from), &count);

	if (!count)
		return -ENODATA;
	/* An object without functions ends the list. */
	patch.objs = kcalloc(count + 1, sizeof(*patch.objs), GFP_KERNEL);
	if (!patch.objs)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		patch.objs[i].name = from[i].name;
		patch.objs[i].callbacks = from[i].callbacks;
		patch.objs[i].funcs = read_funcs(&from[i]);
		if (!patch.objs[i].funcs)
			return -ENOMEM;
	}
	return 0;
}

static void release(void)
{
	for (struct klp_object *object = patch.objs; object && object->funcs; object++)
		kfree(object->funcs);
	kfree(patch.objs);
	kfree(patch.states);
}

static int __init enable(void)
{
	size_t said;
	const unsigned int *replace = table(".init.klp_replace", sizeof(*replace), &said);
	int error = read_states();

	if (said)
		patch.replace = *replace;
	error = error ?: read_objects();
	error = error ?: klp_enable_patch(&patch);
	if (error) {
		pr_err("the live patch can't be enabled: %pe\n", ERR_PTR(error));
		release();
	}
	return error;
}

/* Livepatch keeps the module as long as the live patch is in use. */
static void __exit leave(void)
{
	release();
}

module_init(enable);
module_exit(leave);
MODULE_DESCRIPTION("Live patch");
MODULE_LICENSE("GPL");
