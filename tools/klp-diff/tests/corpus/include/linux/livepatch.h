/* SPDX-License-Identifier: GPL-2.0 */
/* As much of the kernel's header as the author's macros use. */
#ifndef LINUX_LIVEPATCH_H
#define LINUX_LIVEPATCH_H

typedef unsigned int gfp_t;
struct klp_object;
struct klp_state {
	unsigned long id;
	unsigned int version;
	void *data;
};

typedef int (*klp_shadow_ctor_t)(void *object, void *shadow, void *data);
typedef void (*klp_shadow_dtor_t)(void *object, void *shadow);
void *klp_shadow_get(void *object, unsigned long id);
void *klp_shadow_get_or_alloc(void *object, unsigned long id, unsigned long size, gfp_t flags,
			      klp_shadow_ctor_t constructor, void *data);
void klp_shadow_free(void *object, unsigned long id, klp_shadow_dtor_t destructor);
void klp_shadow_free_all(unsigned long id, klp_shadow_dtor_t destructor);

#endif
