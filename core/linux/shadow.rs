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
    marker::PhantomData,
    mem::{
        offset_of,
        ManuallyDrop, //
    },
    ptr::NonNull, //
};
use kernel::{
    bindings,
    container_of,
    prelude::*,
    sync::{
        rcu,
        GlobalGuard, //
    },
    types::Opaque, //
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

kernel::sync::global_lock! {
    /// Guards changes of the table. Interrupts are off while it is held, since interrupt handlers
    /// may use variables too.
    // SAFETY: `livepatch_early_init` initializes the lock before any module is loaded. Only modules
    // use variables.
    pub(crate) unsafe(uninit) static KLP_SHADOW_LOCK: SpinLockIrq<()> = ();
}

/// Evidence that the lock is held.
type Locked = GlobalGuard<KLP_SHADOW_LOCK>;

/// Evidence that no variable of the table is freed as long as it exists.
trait Evidence {}

impl Evidence for Locked {}
impl Evidence for rcu::Guard {}

/// The buckets. Written under [`KLP_SHADOW_LOCK`], read under RCU.
static BUCKETS: [Bucket; 1 << BUCKET_BITS] = pin_init::zeroed();

/// A list of variables. All zeroes is an empty one.
#[derive(Zeroable)]
#[repr(transparent)]
struct Bucket(Opaque<bindings::hlist_head>);

// SAFETY: Readers use RCU, and writers hold the lock.
unsafe impl Sync for Bucket {}

impl Bucket {
    /// The bucket of an object's variables.
    fn of(object: usize) -> &'static Self {
        /// The golden ratio, as in [`include/linux/hash.h`](srctree/include/linux/hash.h).
        const GOLDEN_RATIO: u64 = 0x61C8_8646_80B5_83EB;
        let hash = (object as u64).wrapping_mul(GOLDEN_RATIO) >> (u64::BITS - BUCKET_BITS);
        // SAFETY: The shift leaves `BUCKET_BITS` bits.
        unsafe { BUCKETS.get_unchecked(hash as usize) }
    }

    /// The variables in the bucket.
    fn variables<'a>(&self, _evidence: &'a impl Evidence) -> impl Iterator<Item = Entry<'a>> {
        // The reads are volatile, as in `rcu_dereference()`: they pair with the release by which a
        // variable is added.
        //
        // SAFETY: The bucket is valid.
        let mut next = unsafe { (&raw const (*self.0.get()).first).read_volatile() };
        core::iter::from_fn(move || {
            let node = NonNull::new(next)?.as_ptr();
            // SAFETY: The evidence keeps the node's variable from being freed.
            next = unsafe { (&raw const (*node).next).read_volatile() };
            // SAFETY: Every node of the list is in a variable.
            let variable = unsafe { container_of!(node, Variable, node) };
            // INVARIANT: The evidence keeps the variable from being freed during `'a`.
            NonNull::new(variable).map(|variable| Entry(variable, PhantomData))
        })
    }
}

/// A reference to a variable.
///
/// # Invariants
///
/// The pointer is to a variable that is not freed during `'a`. Its key does not change.
struct Entry<'a>(NonNull<Variable>, PhantomData<&'a Variable>);

impl Entry<'_> {
    fn object(&self) -> *mut c_void {
        // SAFETY: By the type invariants, the variable is valid.
        unsafe { (*self.0.as_ptr()).object }
    }

    fn id(&self) -> c_ulong {
        // SAFETY: By the type invariants, the variable is valid.
        unsafe { (*self.0.as_ptr()).id }
    }

    fn is(&self, key: Key) -> bool {
        self.object() as usize == key.object && self.id() == key.id
    }

    fn data(&self) -> NonNull<c_void> {
        // SAFETY: By the type invariants, the variable is valid. Its data is in its allocation.
        unsafe { self.0.byte_add(offset_of!(Variable, data)) }.cast()
    }

    /// Takes the variable out of the table and frees it after an RCU grace period.
    ///
    /// # Safety
    ///
    /// The variable is in the table. `destructor` is null or may be called for its data.
    unsafe fn free(self, _locked: &Locked, destructor: Destructor) {
        let variable = self.0.as_ptr();
        // SAFETY: The lock is held, and the variable is in the table.
        unsafe { bindings::hlist_del_rcu(&raw mut (*variable).node) };
        if let Some(destructor) = destructor {
            // SAFETY: The destructor may be called for the variable's data.
            unsafe { destructor(self.object(), self.data().as_ptr()) };
        }
        // SAFETY: The variable is no longer in the table, so no one else has it freed.
        unsafe { bindings::call_rcu(&raw mut (*variable).rcu, Some(free_memory)) };
    }
}

/// Frees the memory of a variable, as an RCU callback.
///
/// # Safety
///
/// `head` is in a variable that was taken out of the table at least a grace period ago.
unsafe extern "C" fn free_memory(head: *mut bindings::callback_head) {
    // SAFETY: `head` is in a variable.
    let variable = unsafe { container_of!(head, Variable, rcu) };
    // SAFETY: The variable came from `kmalloc()`. After the grace period no reader uses it.
    unsafe { bindings::kfree(variable.cast()) };
}

/// A request through the C ABI: the data's size, and how to allocate and construct it.
///
/// # Invariants
///
/// `constructor` is null or may be called for data of this size with `argument`.
struct Call {
    size: usize,
    flags: bindings::gfp_t,
    constructor: Constructor,
    argument: *mut c_void,
}

/// A variable that is not in the table. It is freed unless it is added.
///
/// # Invariants
///
/// The pointer is to a variable from `kmalloc()`, to which nothing else refers.
struct Unused(NonNull<Variable>);

impl Unused {
    fn entry(&self) -> Entry<'_> {
        // INVARIANT: `self` owns the variable, so it is not freed while `self` is borrowed.
        Entry(self.0, PhantomData)
    }
}

impl Drop for Unused {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the variable is from `kmalloc()` and not used.
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
        let value = Variable {
            node: pin_init::zeroed(),
            rcu: pin_init::zeroed(),
            object: key.object as *mut c_void,
            id: key.id,
            data: [],
        };
        // SAFETY: The memory was just allocated and is large enough for a variable.
        unsafe { variable.write(value) };
        // INVARIANT: The variable was just allocated.
        Some(Unused(variable))
    }

    fn construct(&self, _locked: &Locked, variable: &mut Unused) -> Result<(), c_int> {
        let Some(constructor) = self.constructor else {
            return Ok(());
        };
        let entry = variable.entry();
        // SAFETY: By the type invariants, the constructor may be called for this data.
        match unsafe { constructor(entry.object(), entry.data().as_ptr(), self.argument) } {
            0 => Ok(()),
            error => Err(error),
        }
    }

    fn add(&self, _locked: &Locked, variable: Unused) -> NonNull<c_void> {
        // The table owns the variable from here on.
        let variable = ManuallyDrop::new(variable);
        let entry = variable.entry();
        let bucket = Bucket::of(entry.object() as usize).0.get();
        // SAFETY: The lock is held, and the variable is complete and in no list.
        unsafe { bindings::hlist_add_head_rcu(&raw mut (*entry.0.as_ptr()).node, bucket) };
        entry.data()
    }

    fn lock<R>(&self, job: impl FnOnce(&Locked) -> R) -> R {
        job(&KLP_SHADOW_LOCK.lock())
    }
}

fn get(key: Key) -> Option<NonNull<c_void>> {
    let guard = rcu::read_lock();
    let entry = Bucket::of(key.object)
        .variables(&guard)
        .find(|entry| entry.is(key));
    entry.map(|entry| entry.data())
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
    // INVARIANT: `constructor` is null or may be called for data of this size with `argument`.
    let call = Call {
        size,
        flags,
        constructor,
        argument,
    };
    match call.get_or_allocate(object, id) {
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
    // INVARIANT: `constructor` is null or may be called for data of this size with `argument`.
    let call = Call {
        size,
        flags,
        constructor,
        argument,
    };
    match call.get_or_allocate(object, id) {
        Outcome::New(data) | Outcome::Existing(data) => data.as_ptr(),
        Outcome::NoMemory | Outcome::NotConstructed(_) => core::ptr::null_mut(),
    }
}

impl Call {
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
    let locked = KLP_SHADOW_LOCK.lock();
    let entry = Bucket::of(key.object)
        .variables(&locked)
        .find(|entry| entry.is(key));
    if let Some(entry) = entry {
        // SAFETY: The variable was found in the table under the lock. The destructor may be called
        // for its data.
        unsafe { entry.free(&locked, destructor) };
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
    let locked = KLP_SHADOW_LOCK.lock();
    for bucket in &BUCKETS {
        // The iterator has moved on to the next variable before `free` gets one.
        for entry in bucket.variables(&locked) {
            if entry.id() == id {
                // SAFETY: The variable was found in the table under the lock. The destructor may be
                // called for its data.
                unsafe { entry.free(&locked, destructor) };
            }
        }
    }
}
