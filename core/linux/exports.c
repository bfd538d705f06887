// SPDX-License-Identifier: GPL-2.0
/*
 * Exports of the Rust livepatch core: the same symbols, for the same modules, as the C core's.
 * Rust has no EXPORT_SYMBOL_GPL() of its own yet.
 */

#include <linux/export.h>
#include <linux/livepatch.h>

EXPORT_SYMBOL_GPL(klp_enable_patch);
EXPORT_SYMBOL_GPL(klp_find_section_by_name);
EXPORT_SYMBOL_GPL(klp_get_prev_state);
EXPORT_SYMBOL_GPL(klp_get_state);
EXPORT_SYMBOL_GPL(klp_shadow_alloc);
EXPORT_SYMBOL_GPL(klp_shadow_free);
EXPORT_SYMBOL_GPL(klp_shadow_free_all);
EXPORT_SYMBOL_GPL(klp_shadow_get);
EXPORT_SYMBOL_GPL(klp_shadow_get_or_alloc);
