// SPDX-License-Identifier: GPL-2.0

//! The table of shadow variables: a hash table that is read under RCU and changed under a lock.
//!
//! C counterpart: `kernel/livepatch/shadow.c`.

use crate::livepatch_core::shadow::{
    get_or_allocate,
    Key,
    Outcome,
    Store, //
};
use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    container_of,
    prelude::*,
    sync::rcu, //
};

/// Buckets, as in C: 2 to the 12th.
const BUCKET_BITS: u32 = 12;

/// A shadow variable; its data follows. The layout up to there is what debuggers know.
#[repr(C)]
struct Variable {
    node: bindings::hlist_node,
    rcu: bindings::callback_head,
    object: *mut c_void,
    id: c_ulong,
    data: [u64; 0],
}

/// The constructor and destructor of the C ABI.
type Constructor = bindings::klp_shadow_ctor_t;
type Destructor = bindings::klp_shadow_dtor_t;

/// The buckets. Written under [`LOCK`], read under RCU.
static BUCKETS: crate::Shared<[bindings::hlist_head; 1 << BUCKET_BITS]> = {
    // SAFETY: All zeroes is an empty list.
    crate::Shared::new(unsafe { MaybeUninit::zeroed().assume_init() })
};

/// Who holds this may change the table. Interrupts are off then, since variables may be used there.
static LOCK: crate::Shared<MaybeUninit<bindings::spinlock_t>> =
    crate::Shared::new(MaybeUninit::uninit());

/// What [`crate::livepatch_early_init`] has to do for shadow variables.
///
/// # Safety
///
/// Called once, before any module can use the lock.
pub(crate) unsafe fn init() {
    // SAFETY: The caller promises that nobody has used the lock.
    unsafe {
        bindings::__spin_lock_init(
            LOCK.get().cast(),
            c"klp_shadow_lock".as_char_ptr(),
            kernel::static_lock_class!().as_ptr(),
        );
    }
}

/// Evidence that [`LOCK`] is held; given back when dropped.
struct Locked(c_ulong);

impl Locked {
    fn new() -> Self {
        // SAFETY: `init` made the lock before any module was loaded, and only modules come here.
        Self(unsafe { bindings::spin_lock_irqsave(LOCK.get().cast()) })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: Pairs with `new`, whose flags these are.
        unsafe { bindings::spin_unlock_irqrestore(LOCK.get().cast(), self.0) };
    }
}

fn bucket(object: usize) -> *mut bindings::hlist_head {
    /// The golden ratio, as in [`include/linux/hash.h`](srctree/include/linux/hash.h).
    const GOLDEN_RATIO: u64 = 0x61C8_8646_80B5_83EB;
    let hash = (object as u64).wrapping_mul(GOLDEN_RATIO) >> (u64::BITS - BUCKET_BITS);
    BUCKETS
        .get()
        .cast::<bindings::hlist_head>()
        .wrapping_add(hash as usize)
}

/// The variables in a bucket.
///
/// # Safety
///
/// The caller is in an RCU read-side critical section or holds the lock for as long as it uses the
/// iterator and what comes out of it.
unsafe fn variables(bucket: *mut bindings::hlist_head) -> impl Iterator<Item = NonNull<Variable>> {
    // SAFETY: The bucket is one of ours. A volatile read, as `rcu_dereference()` does: whoever added
    // the variable released it.
    let mut next = unsafe { (&raw const (*bucket).first).read_volatile() };
    core::iter::from_fn(move || {
        let node = NonNull::new(next)?.as_ptr();
        // SAFETY: A node of the list is in a variable, which RCU or the lock keeps.
        unsafe {
            next = (&raw const (*node).next).read_volatile();
            NonNull::new(container_of!(node, Variable, node))
        }
    })
}

fn is(variable: NonNull<Variable>, key: Key) -> bool {
    let variable = variable.as_ptr();
    // SAFETY: The variable is valid; these fields do not change once it is in the table.
    unsafe { (*variable).object as usize == key.object && (*variable).id == key.id }
}

fn data(variable: NonNull<Variable>) -> NonNull<c_void> {
    // SAFETY: The data follows the variable in the same allocation.
    unsafe { NonNull::new_unchecked((&raw mut (*variable.as_ptr()).data).cast()) }
}

/// What the C ABI asks for: the data's size, and how to allocate and construct it.
struct Call {
    size: usize,
    flags: bindings::gfp_t,
    constructor: Constructor,
    argument: *mut c_void,
}

/// A variable that is not in the table; freed unless it is added.
struct Unused(NonNull<Variable>);

impl Drop for Unused {
    fn drop(&mut self) {
        // SAFETY: `allocate` made it, and nobody knows it.
        unsafe { bindings::kfree(self.0.as_ptr().cast()) };
    }
}

impl Store for Call {
    type Data = NonNull<c_void>;
    type Variable = Unused;
    type Locked = Locked;

    fn get(&self, key: Key) -> Option<NonNull<c_void>> {
        get(key)
    }

    fn allocate(&self, key: Key) -> Option<Unused> {
        let size = size_of::<Variable>().checked_add(self.size)?;
        // SAFETY: Any size and flags will do.
        let memory = unsafe { bindings::__kmalloc_noprof(size, self.flags | bindings::__GFP_ZERO) };
        let variable = NonNull::new(memory.cast::<Variable>())?;
        // SAFETY: The memory is ours and large enough.
        unsafe {
            (*variable.as_ptr()).object = key.object as *mut c_void;
            (*variable.as_ptr()).id = key.id as c_ulong;
        }
        Some(Unused(variable))
    }

    fn construct(&self, _locked: &Locked, variable: &mut Unused) -> Result<(), c_int> {
        let Some(constructor) = self.constructor else {
            return Ok(());
        };
        // SAFETY: The caller of the C ABI vouches for its constructor.
        let result = unsafe {
            constructor(
                (*variable.0.as_ptr()).object,
                data(variable.0).as_ptr(),
                self.argument,
            )
        };
        if result == 0 {
            Ok(())
        } else {
            Err(result)
        }
    }

    fn add(&self, _locked: &Locked, variable: Unused) -> NonNull<c_void> {
        let raw = variable.0;
        // The table owns it from here on.
        core::mem::forget(variable);
        // SAFETY: The lock is held, and the variable is complete and in no list.
        unsafe {
            let bucket = bucket((*raw.as_ptr()).object as usize);
            bindings::hlist_add_head_rcu(&raw mut (*raw.as_ptr()).node, bucket);
        }
        data(raw)
    }

    fn lock<R>(&self, job: impl FnOnce(&Locked) -> R) -> R {
        job(&Locked::new())
    }
}

fn get(key: Key) -> Option<NonNull<c_void>> {
    let _guard = rcu::read_lock();
    // SAFETY: In an RCU read-side critical section.
    unsafe { variables(bucket(key.object)) }
        .find(|&variable| is(variable, key))
        .map(data)
}

/// Takes a variable out of the table and frees it when nobody can be looking at it.
///
/// # Safety
///
/// The lock is held, and the variable is in the table.
unsafe fn free(variable: NonNull<Variable>, destructor: Destructor) {
    // SAFETY: As the caller promises; the caller of the C ABI vouches for its destructor.
    unsafe {
        bindings::hlist_del_rcu(&raw mut (*variable.as_ptr()).node);
        if let Some(destructor) = destructor {
            destructor((*variable.as_ptr()).object, data(variable).as_ptr());
        }
        bindings::call_rcu(&raw mut (*variable.as_ptr()).rcu, Some(free_memory));
    }
}

/// # Safety
///
/// Called by RCU with the head in a variable that is out of the table.
unsafe extern "C" fn free_memory(head: *mut bindings::callback_head) {
    // SAFETY: As the caller promises.
    unsafe { bindings::kfree(container_of!(head, Variable, rcu).cast()) };
}

fn key(object: *mut c_void, id: c_ulong) -> Key {
    Key {
        object: object as usize,
        id,
    }
}

/// Finds a shadow variable's data, null if there is none.
///
/// # Safety
///
/// None: `unsafe` because the C ABI is.
#[export]
pub(crate) unsafe extern "C" fn klp_shadow_get(object: *mut c_void, id: c_ulong) -> *mut c_void {
    get(key(object, id)).map_or(core::ptr::null_mut(), NonNull::as_ptr)
}

/// Makes a shadow variable. Null, with a warning, where it exists already; null where there is no
/// memory or the constructor failed.
///
/// # Safety
///
/// The constructor is one, for this data.
#[export]
pub(crate) unsafe extern "C" fn klp_shadow_alloc(
    object: *mut c_void,
    id: c_ulong,
    size: usize,
    flags: bindings::gfp_t,
    constructor: Constructor,
    argument: *mut c_void,
) -> *mut c_void {
    match Call::new(size, flags, constructor, argument).get_or_allocate(object, id) {
        Outcome::New(data) => data.as_ptr(),
        Outcome::Existing(_) => {
            // SAFETY: The format takes a pointer and a long.
            unsafe {
                bindings::_printk(
                    c"\x014Duplicate shadow variable <%p, %lx>\n".as_char_ptr(),
                    object,
                    id,
                );
            }
            kernel::warn_on!(true);
            core::ptr::null_mut()
        }
        Outcome::NoMemory | Outcome::NotConstructed(_) => core::ptr::null_mut(),
    }
}

/// Finds or makes a shadow variable. Null where there is no memory or the constructor failed.
///
/// # Safety
///
/// As for [`klp_shadow_alloc`].
#[export]
pub(crate) unsafe extern "C" fn klp_shadow_get_or_alloc(
    object: *mut c_void,
    id: c_ulong,
    size: usize,
    flags: bindings::gfp_t,
    constructor: Constructor,
    argument: *mut c_void,
) -> *mut c_void {
    match Call::new(size, flags, constructor, argument).get_or_allocate(object, id) {
        Outcome::New(data) | Outcome::Existing(data) => data.as_ptr(),
        Outcome::NoMemory | Outcome::NotConstructed(_) => core::ptr::null_mut(),
    }
}

impl Call {
    fn new(
        size: usize,
        flags: bindings::gfp_t,
        constructor: Constructor,
        argument: *mut c_void,
    ) -> Self {
        Self {
            size,
            flags,
            constructor,
            argument,
        }
    }

    fn get_or_allocate(&self, object: *mut c_void, id: c_ulong) -> Outcome<NonNull<c_void>> {
        let outcome = get_or_allocate(self, key(object, id));
        if let Outcome::NotConstructed(error) = outcome {
            // Pointers are printed as C prints them: hashed, without a prefix.
            //
            // SAFETY: The format takes a pointer, a long and an integer.
            unsafe {
                bindings::_printk(
                    c"\x013livepatch: Failed to construct shadow variable <%p, %lx> (%d)\n"
                        .as_char_ptr(),
                    object,
                    id,
                    error,
                );
            }
        }
        outcome
    }
}

/// Frees a shadow variable, if there is one.
///
/// # Safety
///
/// The destructor is one, for this data, and nobody uses the data any more.
#[export]
pub(crate) unsafe extern "C" fn klp_shadow_free(
    object: *mut c_void,
    id: c_ulong,
    destructor: Destructor,
) {
    let key = key(object, id);
    let _guard = Locked::new();
    // SAFETY: The lock is held.
    let variable = unsafe { variables(bucket(key.object)) }.find(|&variable| is(variable, key));
    if let Some(variable) = variable {
        // SAFETY: The lock is held, and the variable was in the table.
        unsafe { free(variable, destructor) };
    }
}

/// Frees all shadow variables with an identifier.
///
/// # Safety
///
/// As for [`klp_shadow_free`].
#[export]
pub(crate) unsafe extern "C" fn klp_shadow_free_all(id: c_ulong, destructor: Destructor) {
    let _guard = Locked::new();
    for index in 0..1usize << BUCKET_BITS {
        let bucket = BUCKETS
            .get()
            .cast::<bindings::hlist_head>()
            .wrapping_add(index);
        // SAFETY: The lock is held. The iterator has gone on to the next before one is freed, and
        // memory goes away no earlier than RCU lets it.
        unsafe {
            for variable in variables(bucket) {
                if (*variable.as_ptr()).id == id {
                    free(variable, destructor);
                }
            }
        }
    }
}
