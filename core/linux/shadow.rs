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

/// The table has 2 to the 12th buckets, as in C.
const BUCKET_BITS: u32 = 12;

/// A shadow variable. Its data follows. Debuggers know the layout up to there.
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
    // SAFETY: An array of zeroed list heads is an array of empty lists.
    crate::Shared::new(unsafe { MaybeUninit::zeroed().assume_init() })
};

/// Guards changes of the table. Interrupts are off while it is held, since interrupt handlers may
/// use variables too.
static LOCK: crate::Shared<MaybeUninit<bindings::spinlock_t>> =
    crate::Shared::new(MaybeUninit::uninit());

/// Initializes the lock of the table, for [`crate::livepatch_early_init`].
///
/// # Safety
///
/// This is the only call, and nothing has used the lock yet.
pub(crate) unsafe fn init() {
    // SAFETY: This is the only call, and nothing has used the lock yet.
    unsafe {
        bindings::__spin_lock_init(
            LOCK.get().cast(),
            c"klp_shadow_lock".as_char_ptr(),
            kernel::static_lock_class!().as_ptr(),
        );
    }
}

/// Evidence that [`LOCK`] is held. Dropping it releases the lock. It holds the interrupt flags.
struct Locked(c_ulong);

impl Locked {
    fn new() -> Self {
        // SAFETY: `init` initialized the lock before any module was loaded. Only modules get here.
        Self(unsafe { bindings::spin_lock_irqsave(LOCK.get().cast()) })
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // SAFETY: `new` took the lock and saved these flags.
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
/// The caller is in an RCU read-side critical section, or holds the lock, for as long as it uses
/// the iterator and the variables from it. `bucket` is one of [`BUCKETS`].
unsafe fn variables(bucket: *mut bindings::hlist_head) -> impl Iterator<Item = NonNull<Variable>> {
    // SAFETY: The bucket is one of `BUCKETS`. The read is volatile, as in `rcu_dereference()`: it
    // pairs with the release by which a variable is added.
    let mut next = unsafe { (&raw const (*bucket).first).read_volatile() };
    core::iter::from_fn(move || {
        let node = NonNull::new(next)?.as_ptr();
        // SAFETY: Every node of the list is in a variable, which RCU or the lock keeps from being
        // freed.
        unsafe {
            next = (&raw const (*node).next).read_volatile();
            NonNull::new(container_of!(node, Variable, node))
        }
    })
}

fn is(variable: NonNull<Variable>, key: Key) -> bool {
    let variable = variable.as_ptr();
    // SAFETY: The variable is valid. These fields do not change once it is in the table.
    unsafe { (*variable).object as usize == key.object && (*variable).id == key.id }
}

fn data(variable: NonNull<Variable>) -> NonNull<c_void> {
    // SAFETY: The data follows the variable in the same allocation.
    unsafe { NonNull::new_unchecked((&raw mut (*variable.as_ptr()).data).cast()) }
}

/// A request through the C ABI: the data's size, and how to allocate and construct it.
struct Call {
    size: usize,
    flags: bindings::gfp_t,
    constructor: Constructor,
    argument: *mut c_void,
}

/// A variable that is not in the table. It is freed unless it is added.
struct Unused(NonNull<Variable>);

impl Drop for Unused {
    fn drop(&mut self) {
        // SAFETY: `allocate` allocated the variable, and nothing else refers to it.
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
        // SAFETY: `__kmalloc_noprof()` accepts any size and flags.
        let memory = unsafe { bindings::__kmalloc_noprof(size, self.flags | bindings::__GFP_ZERO) };
        let variable = NonNull::new(memory.cast::<Variable>())?;
        // SAFETY: The memory was just allocated and is large enough for a variable.
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
        // SAFETY: The C ABI requires a constructor that may be called for this data and argument.
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
        // The table owns the variable from here on.
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
    // SAFETY: `_guard` keeps an RCU read-side critical section open while the iterator is used.
    unsafe { variables(bucket(key.object)) }
        .find(|&variable| is(variable, key))
        .map(data)
}

/// Takes a variable out of the table and frees it after an RCU grace period.
///
/// # Safety
///
/// The lock is held, and the variable is in the table. `destructor` is null or may be called for
/// the variable's data.
unsafe fn free(variable: NonNull<Variable>, destructor: Destructor) {
    // SAFETY: The lock is held, and the variable is in the table. The destructor may be called for
    // its data.
    unsafe {
        bindings::hlist_del_rcu(&raw mut (*variable.as_ptr()).node);
        if let Some(destructor) = destructor {
            destructor((*variable.as_ptr()).object, data(variable).as_ptr());
        }
        bindings::call_rcu(&raw mut (*variable.as_ptr()).rcu, Some(free_memory));
    }
}

/// Frees the memory of a variable, as an RCU callback.
///
/// # Safety
///
/// `head` is in a variable that was taken out of the table at least a grace period ago.
unsafe extern "C" fn free_memory(head: *mut bindings::callback_head) {
    // SAFETY: `head` is in a variable from `kmalloc()`. After the grace period no reader uses it.
    unsafe { bindings::kfree(container_of!(head, Variable, rcu).cast()) };
}

fn key(object: *mut c_void, id: c_ulong) -> Key {
    Key {
        object: object as usize,
        id,
    }
}

/// Returns a shadow variable's data, or null if there is no such variable.
///
/// # Safety
///
/// There are no requirements. The function is `unsafe` only to match the C ABI.
#[export]
pub(crate) unsafe extern "C" fn klp_shadow_get(object: *mut c_void, id: c_ulong) -> *mut c_void {
    get(key(object, id)).map_or(core::ptr::null_mut(), NonNull::as_ptr)
}

/// Adds a shadow variable and returns its data.
///
/// Returns null if there is no memory or the constructor failed. Warns and returns null if the
/// variable exists already.
///
/// # Safety
///
/// `constructor` is null or may be called for data of this size with `argument`.
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
            // SAFETY: The format takes a pointer and a long, which follow it.
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

/// Finds a shadow variable, or adds it, and returns its data.
///
/// Returns null if there is no memory or the constructor failed.
///
/// # Safety
///
/// `constructor` is null or may be called for data of this size with `argument`.
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
            // `_printk()` prints pointers as the C core does: hashed, without a prefix.
            //
            // SAFETY: The format takes a pointer, a long and an integer, which follow it.
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
/// `destructor` is null or may be called for the variable's data. Nothing uses the data any more.
#[export]
pub(crate) unsafe extern "C" fn klp_shadow_free(
    object: *mut c_void,
    id: c_ulong,
    destructor: Destructor,
) {
    let key = key(object, id);
    let _guard = Locked::new();
    // SAFETY: `_guard` holds the lock until this returns.
    let variable = unsafe { variables(bucket(key.object)) }.find(|&variable| is(variable, key));
    if let Some(variable) = variable {
        // SAFETY: The lock is held, and the variable was found in the table under it. The
        // destructor may be called for its data.
        unsafe { free(variable, destructor) };
    }
}

/// Frees all shadow variables with the identifier `id`.
///
/// # Safety
///
/// `destructor` is null or may be called for the data of each of them. Nothing uses that data any
/// more.
#[export]
pub(crate) unsafe extern "C" fn klp_shadow_free_all(id: c_ulong, destructor: Destructor) {
    let _guard = Locked::new();
    for index in 0..1usize << BUCKET_BITS {
        let bucket = BUCKETS
            .get()
            .cast::<bindings::hlist_head>()
            .wrapping_add(index);
        // SAFETY: The lock is held, and the destructor may be called for each variable's data. The
        // iterator has moved on to the next variable before `free` gets one.
        unsafe {
            for variable in variables(bucket) {
                if (*variable.as_ptr()).id == id {
                    free(variable, destructor);
                }
            }
        }
    }
}
