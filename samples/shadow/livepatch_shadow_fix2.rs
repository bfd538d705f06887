// SPDX-License-Identifier: GPL-2.0

//! Takes over from `livepatch_shadow_fix1.rs`, and counts how often each item was looked at.
//!
//! The labels that the first fix has attached stay attached, and are freed by this one.

use kernel::{
    bindings,
    livepatch::{
        Callbacks,
        Object,
        Shadow, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
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

/// How often an item was looked at. Items that are older than this live patch get one too.
// SAFETY: Nobody else uses this ID. A number refers to nothing.
const LOOKS: Shadow<Item, Atomic<u32>> = unsafe { Shadow::new(0x1abe2) };

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

/// Replaces `item_look()`.
extern "C" fn look(item: &Item) {
    if let Ok(looks) = LOOKS.get_or_alloc(item, Atomic::new(0), GFP_KERNEL) {
        looks.add(1, Relaxed);
    }
}

/// Replaces `item_free()`.
extern "C" fn free(item: KBox<Item>) {
    let label = LABEL.get(&*item).map_or(0, |label| label.len());
    let looks = LOOKS.get(&*item).map_or(0, |looks| looks.load(Relaxed));
    pr_info!(
        "item {}: label of {} bytes, looked at {} times\n",
        item.number,
        label,
        looks
    );
    LABEL.free(&*item);
    LOOKS.free(&*item);
}

/// Items that are there when the live patch is taken back keep nothing of it. A live patch that
/// replaces this one takes over instead, and this is not called.
struct Cleanup;

#[vtable]
impl Callbacks for Cleanup {
    fn post_unpatch(_object: &Object<'_>) {
        LABEL.free_all();
        LOOKS.free_all();
    }
}

kernel::module_livepatch! {
    patch: {
        replace: true,
        objects: {
            livepatch_leaky: {
                callbacks: Cleanup,
                // SAFETY: The function returns null, or memory of kmalloc() that the caller owns.
                unsafe fn item_make(c_int) -> Option<KBox<Item>> => make,
                // SAFETY: The function gets an item that nobody changes meanwhile.
                unsafe fn item_look(&Item) => look,
                // SAFETY: The function gets memory of kmalloc() and owns it.
                unsafe fn item_free(KBox<Item>) => free,
            },
        },
    },
    name: "livepatch_shadow_fix2",
    authors: ["The Rust livepatch core's authors"],
    description: "Sample: a second fix that goes on with shadow variables of the first",
    license: "GPL",
}
