// SPDX-License-Identifier: GPL-2.0

//! Fixes the leak of `livepatch_leaky.c`: each new item keeps its label as a shadow variable.

use kernel::{
    bindings,
    livepatch::{
        Callbacks,
        Object,
        Shadow, //
    },
    prelude::*, //
};

/// `struct item`, as the module has it.
#[repr(C)]
struct Item {
    list: bindings::list_head,
    number: c_int,
}

const LABEL_SIZE: usize = 64 << 10;

/// The label of an item.
// SAFETY: Only the two fixes use this ID, and both for a vector of bytes. Bytes refer to nothing.
const LABEL: Shadow<Item, KVec<u8>> = unsafe { Shadow::new(0x1abe1) };

/// Makes an item that keeps its label. After an error there is neither of them.
fn new_item(number: c_int) -> Result<KBox<Item>> {
    let list = bindings::list_head::default();
    let item = KBox::new(Item { list, number }, GFP_KERNEL)?;
    let label = KVec::from_elem(b'x', LABEL_SIZE, GFP_KERNEL)?;
    LABEL.get_or_alloc(&*item, label, GFP_KERNEL)?;
    Ok(item)
}

/// Replaces `item_make()`.
extern "C" fn make(number: c_int) -> Option<KBox<Item>> {
    new_item(number).ok()
}

/// Replaces `item_free()`. An item that is older than this live patch has no label to free.
extern "C" fn free(item: KBox<Item>) {
    LABEL.free(&*item);
}

/// Items that are there when the live patch is taken back keep nothing of it. A live patch that
/// replaces this one takes over instead, and this is not called.
struct Cleanup;

#[vtable]
impl Callbacks for Cleanup {
    fn post_unpatch(_object: &Object<'_>) {
        LABEL.free_all();
    }
}

kernel::module_livepatch! {
    patch: {
        objects: {
            livepatch_leaky: {
                callbacks: Cleanup,
                // SAFETY: The function returns null, or memory of kmalloc() that the caller owns.
                unsafe fn item_make(c_int) -> Option<KBox<Item>> => make,
                // SAFETY: The function gets memory of kmalloc() and owns it.
                unsafe fn item_free(KBox<Item>) => free,
            },
        },
    },
    name: "livepatch_shadow_fix1",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a leak fixed with shadow variables",
    license: "GPL",
}
