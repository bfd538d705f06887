// SPDX-License-Identifier: GPL-2.0

//! Kernel objects: directories in sysfs, and the attributes in them.
//!
//! A structure has a directory if a `struct kobject` is embedded in it. A [`Type`] is what all
//! directories of one structure have in common. An [`Attribute`] belongs to one structure too: its
//! functions get a reference to that structure, and a [`Type`] of another one can't contain it.
//!
//! C headers: [`include/linux/kobject.h`](srctree/include/linux/kobject.h),
//! [`include/linux/sysfs.h`](srctree/include/linux/sysfs.h).

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings,
    fmt,
    prelude::*,
    str::as_char_ptr_in_const_context,
    types::Opaque, //
};

/// A structure with a kobject in it.
///
/// # Safety
///
/// There is a `struct kobject` at [`Self::OFFSET`] bytes.
pub(crate) unsafe trait HasKobject: Sized + Sync {
    /// The offset of the kobject in the structure.
    const OFFSET: usize;

    /// Gives up the structure. C counterpart: `kobj_type::release`.
    ///
    /// # Safety
    ///
    /// `this` is valid, and the last reference to its kobject is gone.
    unsafe fn release(this: *mut Self);

    /// The kobject of a structure.
    fn kobject(this: *mut Self) -> *mut bindings::kobject {
        this.wrapping_byte_add(Self::OFFSET).cast()
    }

    /// The structure of a kobject. It is valid if the kobject is embedded in one.
    fn container_of(kobj: *mut bindings::kobject) -> *mut Self {
        kobj.wrapping_byte_sub(Self::OFFSET).cast()
    }
}

/// An attribute of `T` that can be read.
pub(crate) trait Show<T> {
    /// Returns the value. A newline is printed after it.
    fn show(this: &T) -> Result<impl fmt::Display>;
}

/// An attribute of `T` that can be written.
pub(crate) trait Store<T> {
    /// Carries out a write of `input`.
    fn store(this: &T, input: &CStr) -> Result;
}

/// An attribute of the directories of `T`.
///
/// # Invariants
///
/// The attribute's functions are null, or take a kobject that is embedded in a `T`.
#[repr(transparent)]
pub(crate) struct Attribute<T>(Opaque<bindings::kobj_attribute>, PhantomData<T>);

// SAFETY: Rust code does not access the attribute after it was made.
unsafe impl<T> Sync for Attribute<T> {}

impl<T: HasKobject> Attribute<T> {
    /// Makes an attribute for reading. C counterpart: `__ATTR_RO()`.
    pub(crate) const fn read_only<A: Show<T>>(name: &'static CStr) -> Self {
        Self::new(name, 0o444, Some(show::<T, A>), None)
    }

    /// Makes an attribute for reading and writing. C counterpart: `__ATTR_RW()`.
    pub(crate) const fn read_write<A: Show<T> + Store<T>>(name: &'static CStr) -> Self {
        Self::new(name, 0o644, Some(show::<T, A>), Some(store::<T, A>))
    }

    /// Makes an attribute for writing. C counterpart: `__ATTR_WO()`.
    pub(crate) const fn write_only<A: Store<T>>(name: &'static CStr) -> Self {
        Self::new(name, 0o200, None, Some(store::<T, A>))
    }

    const fn new(
        name: &'static CStr,
        mode: u16,
        show: Option<
            unsafe extern "C" fn(
                *mut bindings::kobject,
                *mut bindings::kobj_attribute,
                *mut c_char,
            ) -> isize,
        >,
        store: Option<
            unsafe extern "C" fn(
                *mut bindings::kobject,
                *mut bindings::kobj_attribute,
                *const c_char,
                usize,
            ) -> isize,
        >,
    ) -> Self {
        let mut attribute: bindings::kobj_attribute = pin_init::zeroed();
        attribute.attr.name = as_char_ptr_in_const_context(name);
        attribute.attr.mode = mode;
        attribute.__bindgen_anon_1.show = show;
        attribute.__bindgen_anon_2.store = store;
        // INVARIANT: The callers pass `show` and `store` of this module for `T`.
        Self(Opaque::new(attribute), PhantomData)
    }
}

/// Reads an attribute.
///
/// # Safety
///
/// `kobj` is embedded in a `T`. It and `buffer` come from sysfs, which keeps both during the call.
unsafe extern "C" fn show<T: HasKobject, A: Show<T>>(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *mut c_char,
) -> isize {
    // SAFETY: `kobj` is embedded in a `T`, which sysfs keeps during the call.
    let this = unsafe { &*T::container_of(kobj) };
    match A::show(this) {
        // SAFETY: `buffer` comes from sysfs.
        Ok(value) => unsafe { emit(buffer, fmt!("{}\n", value)) },
        Err(error) => error.to_errno() as isize,
    }
}

/// Prints to a buffer of sysfs, and returns the number of bytes.
///
/// # Safety
///
/// `buffer` comes from sysfs.
unsafe fn emit(buffer: *mut c_char, text: fmt::Arguments<'_>) -> isize {
    let text = (&raw const text).cast::<c_void>();
    // SAFETY: `buffer` comes from sysfs. `%pA` takes a pointer to arguments that outlive the call.
    let length = unsafe { bindings::sysfs_emit(buffer, c"%pA".as_char_ptr(), text) };
    length as isize
}

/// Writes an attribute.
///
/// # Safety
///
/// `kobj` is embedded in a `T`. It and `buffer` come from sysfs, which keeps both during the call.
unsafe extern "C" fn store<T: HasKobject, A: Store<T>>(
    kobj: *mut bindings::kobject,
    _attribute: *mut bindings::kobj_attribute,
    buffer: *const c_char,
    count: usize,
) -> isize {
    // SAFETY: `kobj` is embedded in a `T`, which sysfs keeps during the call.
    let this = unsafe { &*T::container_of(kobj) };
    // SAFETY: Sysfs puts a NUL after what was written.
    let input = unsafe { CStr::from_char_ptr(buffer) };
    match A::store(this, input) {
        Ok(()) => count as isize,
        Err(error) => error.to_errno() as isize,
    }
}

/// Attributes of the directories of `T`, as C has them: pointers up to a null.
///
/// # Invariants
///
/// `end` is null.
#[repr(C)]
pub(crate) struct Attributes<T: 'static, const N: usize> {
    attributes: [&'static Attribute<T>; N],
    end: *const Attribute<T>,
}

// SAFETY: The list never changes, and what it refers to is `Sync`.
unsafe impl<T, const N: usize> Sync for Attributes<T, N> {}

impl<T, const N: usize> Attributes<T, N> {
    /// Makes a list.
    pub(crate) const fn new(attributes: [&'static Attribute<T>; N]) -> Self {
        // INVARIANT: `end` is null.
        Self {
            attributes,
            end: core::ptr::null(),
        }
    }
}

/// A group of attributes of the directories of `T`.
///
/// # Invariants
///
/// The group is valid, and so are its attributes, forever.
#[repr(transparent)]
pub(crate) struct Group<T>(bindings::attribute_group, PhantomData<T>);

// SAFETY: A group never changes.
unsafe impl<T> Sync for Group<T> {}

impl<T> Group<T> {
    /// Makes a group without a name: its attributes are in the directory itself.
    pub(crate) const fn new<const N: usize>(attributes: &'static Attributes<T, N>) -> Self {
        let mut group: bindings::attribute_group = pin_init::zeroed();
        group.__bindgen_anon_2.attrs_const = core::ptr::from_ref(attributes).cast();
        // INVARIANT: The list is static, and a null is at its end.
        Self(group, PhantomData)
    }
}

/// The group of attributes of all directories of `T`, as C has it: pointers up to a null.
///
/// # Invariants
///
/// `end` is null.
#[repr(C)]
pub(crate) struct Groups<T: 'static> {
    group: &'static Group<T>,
    end: *const Group<T>,
}

// SAFETY: The list never changes, and what it refers to is `Sync`.
unsafe impl<T> Sync for Groups<T> {}

impl<T> Groups<T> {
    /// Makes a list of one group. C counterpart: `ATTRIBUTE_GROUPS()`.
    pub(crate) const fn new(group: &'static Group<T>) -> Self {
        // INVARIANT: `end` is null.
        Self {
            group,
            end: core::ptr::null(),
        }
    }
}

/// What all directories of `T` have in common. C counterpart: `struct kobj_type`.
///
/// # Invariants
///
/// The groups are null or valid forever. `release` takes a kobject that is embedded in a `T`.
#[repr(transparent)]
pub(crate) struct Type<T>(bindings::kobj_type, PhantomData<T>);

// SAFETY: A type never changes.
unsafe impl<T> Sync for Type<T> {}

impl<T: HasKobject> Type<T> {
    /// Makes a type of directories with or without attributes.
    pub(crate) const fn new(groups: Option<&'static Groups<T>>) -> Self {
        let mut kobj_type: bindings::kobj_type = pin_init::zeroed();
        kobj_type.release = Some(release::<T>);
        kobj_type.sysfs_ops = &raw const bindings::kobj_sysfs_ops;
        if let Some(groups) = groups {
            kobj_type.default_groups = core::ptr::from_ref(groups).cast_mut().cast();
        }
        // INVARIANT: The list is static, and a null is at its end. `release` is for `T`.
        Self(kobj_type, PhantomData)
    }

    /// Initializes the kobject of a structure. Whatever an earlier use has left in it is gone.
    ///
    /// # Safety
    ///
    /// `this` is valid for as long as its kobject has references, and nothing uses the kobject yet.
    pub(crate) unsafe fn init(&'static self, this: *mut T) {
        let kobj = T::kobject(this);
        // SAFETY: The kobject is in a valid structure, and nothing uses it.
        unsafe { kobj.write(pin_init::zeroed()) };
        // SAFETY: The kobject is zeroed, and the type is static.
        unsafe { bindings::kobject_init(kobj, &raw const self.0) };
    }
}

/// Gives up a structure.
///
/// # Safety
///
/// `kobj` is embedded in a valid `T`, and its last reference is gone.
unsafe extern "C" fn release<T: HasKobject>(kobj: *mut bindings::kobject) {
    // SAFETY: `kobj` is embedded in a valid `T`, and its last reference is gone.
    unsafe { T::release(T::container_of(kobj)) };
}

/// A directory that consists of a kobject only. Dropping it removes it.
///
/// # Invariants
///
/// The pointer is to a valid kobject, and `self` owns a reference to it.
pub(crate) struct Directory(NonNull<bindings::kobject>);

// SAFETY: A reference to a kobject may be put on any CPU.
unsafe impl Send for Directory {}
// SAFETY: `&Directory` only gives the address of the kobject.
unsafe impl Sync for Directory {}

impl Directory {
    /// Makes a directory in `/sys/kernel`. Errors: `ENOMEM`.
    pub(crate) fn in_kernel(name: &CStr) -> Result<Self> {
        // SAFETY: The pointer is set before initcalls and does not change after that.
        let parent = unsafe { bindings::kernel_kobj };
        // SAFETY: `/sys/kernel` is never removed.
        let kobj = unsafe { bindings::kobject_create_and_add(name.as_char_ptr(), parent) };
        // INVARIANT: The kobject was made with one reference.
        NonNull::new(kobj).map(Self).ok_or(ENOMEM)
    }

    /// The kobject.
    pub(crate) fn as_ptr(&self) -> *mut bindings::kobject {
        self.0.as_ptr()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // SAFETY: By the type invariants, `self` owns a reference.
        unsafe { bindings::kobject_put(self.as_ptr()) };
    }
}
