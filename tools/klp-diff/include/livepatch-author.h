/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the author of a live patch can say inside the patch.
 *
 * ======================================  ================================================
 * KLP_PRE_PATCH_CALLBACK(function)        Calls it before the object is patched.
 * KLP_POST_PATCH_CALLBACK(function)       Calls it after that.
 * KLP_PRE_UNPATCH_CALLBACK(function)      Calls it before the object is unpatched.
 * KLP_POST_UNPATCH_CALLBACK(function)     Calls it after that.
 * KLP_SHADOW(name, type, id)              Typed functions for one kind of shadow variable.
 * KLP_STATE(id, version)                  The patch changes this system state.
 * KLP_REPLACE(bool)                       Whether the patch replaces all others.
 * KLP_IGNORE_FUNCTION(function)           The function stays as it is.
 * KLP_IGNORE_SECTION(name)                What is in the section stays as it is.
 * ======================================  ================================================
 *
 * The callbacks are those of <linux/livepatch_helpers.h>, where the tree has it. Each kernel object
 * can have one callback of each kind.
 */
#ifndef LIVEPATCH_AUTHOR_H
#define LIVEPATCH_AUTHOR_H

#if __has_include(<linux/livepatch_helpers.h>)
#include <linux/livepatch_helpers.h>
#else
#include <linux/livepatch.h>

#ifdef MODULE
#define KLP_OBJNAME __KBUILD_MODNAME
#else
#define KLP_OBJNAME vmlinux
#endif

#define KLP_NAME_(kind, object)	__klp_##kind##_callback_##object
#define KLP_NAME(kind, object)	KLP_NAME_(kind, object)
#define KLP_CALLBACK(kind, result, function)					\
	result (*KLP_NAME(kind, KLP_OBJNAME))(struct klp_object *)		\
		__attribute__((used, section(".discard.klp_callback_ptrs"))) = function

#define KLP_PRE_PATCH_CALLBACK(function)	KLP_CALLBACK(pre_patch, int, function)
#define KLP_POST_PATCH_CALLBACK(function)	KLP_CALLBACK(post_patch, void, function)
#define KLP_PRE_UNPATCH_CALLBACK(function)	KLP_CALLBACK(pre_unpatch, void, function)
#define KLP_POST_UNPATCH_CALLBACK(function)	KLP_CALLBACK(post_unpatch, void, function)
#endif

/* A variable that only the patch engine reads. */
#define KLP_SAYS(section_name)	__attribute__((used, section(section_name)))

#define KLP_STATE(number, revision)						\
	static struct klp_state klp_state_##number				\
		KLP_SAYS(".discard.klp_states") = {				\
		.id = (number), .version = (revision),				\
	}

#define KLP_REPLACE(value)							\
	static int klp_replace KLP_SAYS(".discard.klp_replace") = !!(value)

#define KLP_IGNORE_FUNCTION(function)						\
	static void *klp_ignore_##function					\
		KLP_SAYS(".kpatch.ignore.functions") = function

#define KLP_IGNORE_NAME_(what, line)	klp_ignore_##what##_##line
#define KLP_IGNORE_NAME(what, line)	KLP_IGNORE_NAME_(what, line)
#define KLP_IGNORE_SECTION(name)						\
	static const char KLP_IGNORE_NAME(section, __LINE__)[]			\
		KLP_SAYS(".kpatch.ignore.names") = name;			\
	static const void *KLP_IGNORE_NAME(pointer, __LINE__)			\
		KLP_SAYS(".kpatch.ignore.sections") =				\
			KLP_IGNORE_NAME(section, __LINE__)

/*
 * KLP_SHADOW(refs, struct refs, 7) declares the functions refs_get(object), refs_get_or_alloc(object,
 * gfp), which clears a new variable, refs_free(object), and refs_free_all(). The id is the author's
 * own, and the same in all patches that use the variable.
 */
#define KLP_SHADOW(name, type, number)						\
	static inline type *name##_get(void *object)				\
	{									\
		return klp_shadow_get(object, number);				\
	}									\
	static inline type *name##_get_or_alloc(void *object, gfp_t flags)	\
	{									\
		return klp_shadow_get_or_alloc(object, number, sizeof(type),	\
					       flags, 0, 0);		\
	}									\
	static inline void name##_free(void *object)				\
	{									\
		klp_shadow_free(object, number, 0);				\
	}									\
	static inline void name##_free_all(void)				\
	{									\
		klp_shadow_free_all(number, 0);					\
	}									\
	struct klp_shadow_##name##_is_declared

#endif
