// SPDX-License-Identifier: GPL-2.0
/*
 * The part of the bridge that has to be C, since Rust has no counterpart of the macros that are used here.
 */

#include <linux/export.h>
#include <linux/init.h>
#include <linux/livepatch.h>
#include <linux/moduleloader.h>
#include <linux/percpu.h>

/* The same symbols, for the same modules, as the C core's. */
EXPORT_SYMBOL_GPL(klp_enable_patch);
EXPORT_SYMBOL_GPL(klp_find_section_by_name);
EXPORT_SYMBOL_GPL(klp_get_prev_state);
EXPORT_SYMBOL_GPL(klp_get_state);
EXPORT_SYMBOL_GPL(klp_shadow_alloc);
EXPORT_SYMBOL_GPL(klp_shadow_free);
EXPORT_SYMBOL_GPL(klp_shadow_free_all);
EXPORT_SYMBOL_GPL(klp_shadow_get);
EXPORT_SYMBOL_GPL(klp_shadow_get_or_alloc);

/*
 * In livepatch.rs. The module loader calls the core, and modules use shadow variables, before the core's own
 * initcall has run: the locks and lists for that have to be ready before any module can load.
 */
int livepatch_early_init(void);
early_initcall(livepatch_early_init);

/* Return addresses of the task that this CPU looks at. They are too many for the stack. */
static DEFINE_PER_CPU(unsigned long[100], livepatch_entries);

/* This CPU's buffer and its length in words. The caller has preemption off for as long as it uses it. */
unsigned long *livepatch_stack_buffer(unsigned int *length);
unsigned long *livepatch_stack_buffer(unsigned int *length)
{
	*length = ARRAY_SIZE(livepatch_entries);
	return *this_cpu_ptr(&livepatch_entries);
}

/* Architectures that never have to undo a relocation do not provide this. */
void __weak clear_relocate_add(Elf_Shdr *sechdrs, const char *strtab, unsigned int symindex,
			       unsigned int relsec, struct module *me)
{
}
