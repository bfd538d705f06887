// SPDX-License-Identifier: GPL-2.0

//! What [`module_livepatch!`](crate::module_livepatch!) makes: the tables for the livepatch core,
//! and the module. Only the macro uses this.

use crate::{
    bindings,
    error::{
        from_result,
        to_result, //
    },
    livepatch::{
        Callbacks,
        Object, //
    },
    prelude::*,
    str::{
        as_char_ptr_in_const_context,
        CStr, //
    },
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use core::{
    cell::UnsafeCell,
    marker::PhantomData, //
};

pub use pin_init::zeroed;

/// A live patch.
///
/// # Safety
///
/// - `taken` always returns the same flag, which belongs to this patch alone.
/// - `patch` always returns the address of the same patch. It lives as long as the module, belongs
///   to it, and nothing else refers to it.
/// - Its lists of objects, functions and states end with an entry that is all zeroes. Each new
///   function can stand in for the old one.
pub unsafe trait Livepatch {
    /// Set once the patch was given to the livepatch core.
    fn taken() -> &'static Atomic<bool>;

    /// Returns the patch.
    fn patch() -> *mut bindings::klp_patch;

    /// Drops the data of all states.
    ///
    /// # Safety
    ///
    /// The patch is not enabled, and cannot be any longer.
    unsafe fn release();
}

/// A live patch that was enabled.
///
/// # Invariants
///
/// There is one of this type at most, and it goes only when its module is unloaded, or was not
/// loaded.
pub struct Enabled<P: Livepatch>(PhantomData<P>);

impl<P: Livepatch> Enabled<P> {
    /// Enables the patch.
    ///
    /// Only the first call does. Others fail with `EBUSY`, as code of the module may make them.
    ///
    /// # Safety
    ///
    /// The first caller is the init function of the patch's module. It drops the value only after
    /// an error, or when the module is unloaded.
    #[inline]
    pub unsafe fn new() -> Result<Self> {
        if P::taken().xchg(true, Relaxed) {
            return Err(EBUSY);
        }
        // INVARIANT: `taken` was false, so there is no other one. It is dropped here after an error
        // of the livepatch core, when the module will not be loaded.
        let enabled = Self(PhantomData);
        // SAFETY: `Livepatch` promises a patch that is complete. The module is being loaded.
        to_result(unsafe { bindings::klp_enable_patch(P::patch()) })?;
        Ok(enabled)
    }
}

impl<P: Livepatch> Drop for Enabled<P> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: By the type invariants, the module is being unloaded, or was not loaded. The
        // livepatch core has given the patch up before.
        unsafe { P::release() };
    }
}

/// Calls one of the callbacks.
///
/// # Safety
///
/// The livepatch core is calling, with an object of the patch `P`.
#[inline]
unsafe fn with_object<P: Livepatch, R>(
    raw: *mut bindings::klp_object,
    call: impl FnOnce(&Object<'_>) -> R,
) -> R {
    // SAFETY: The livepatch core holds its lock when it calls. The caller promises the rest.
    call(&unsafe { Object::new(raw, P::patch()) })
}

/// # Safety
///
/// As for [`with_object`].
unsafe extern "C" fn pre_patch<P: Livepatch, C: Callbacks>(
    raw: *mut bindings::klp_object,
) -> c_int {
    // SAFETY: The livepatch core is calling, with an object of the patch.
    from_result(|| unsafe { with_object::<P, _>(raw, C::pre_patch) }.map(|()| 0))
}

/// # Safety
///
/// As for [`with_object`].
unsafe extern "C" fn post_patch<P: Livepatch, C: Callbacks>(raw: *mut bindings::klp_object) {
    // SAFETY: The livepatch core is calling, with an object of the patch.
    unsafe { with_object::<P, _>(raw, C::post_patch) }
}

/// # Safety
///
/// As for [`with_object`].
unsafe extern "C" fn pre_unpatch<P: Livepatch, C: Callbacks>(raw: *mut bindings::klp_object) {
    // SAFETY: The livepatch core is calling, with an object of the patch.
    unsafe { with_object::<P, _>(raw, C::pre_unpatch) }
}

/// # Safety
///
/// As for [`with_object`].
unsafe extern "C" fn post_unpatch<P: Livepatch, C: Callbacks>(raw: *mut bindings::klp_object) {
    // SAFETY: The livepatch core is calling, with an object of the patch.
    unsafe { with_object::<P, _>(raw, C::post_unpatch) }
}

/// What the livepatch core reads and writes: a static of the module.
#[repr(transparent)]
pub struct Table<T>(UnsafeCell<T>);

// SAFETY: A `Table` hands out nothing but its address.
unsafe impl<T> Sync for Table<T> {}

impl<T> Table<T> {
    #[inline]
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    #[inline]
    pub const fn get(&self) -> *mut T {
        self.0.get()
    }
}

/// Returns an entry of a list of functions.
#[inline]
pub const fn func(
    old_name: &'static CStr,
    new_func: *mut c_void,
    old_sympos: c_ulong,
) -> bindings::klp_func {
    bindings::klp_func {
        old_name: as_char_ptr_in_const_context(old_name),
        new_func,
        old_sympos,
        ..zeroed()
    }
}

/// Returns what the livepatch core calls for an object of the patch `P`.
#[inline]
pub const fn callbacks<P: Livepatch, C: Callbacks>() -> bindings::klp_callbacks {
    let mut callbacks: bindings::klp_callbacks = zeroed();
    if C::HAS_PRE_PATCH {
        callbacks.pre_patch = Some(pre_patch::<P, C>);
    }
    if C::HAS_POST_PATCH {
        callbacks.post_patch = Some(post_patch::<P, C>);
    }
    if C::HAS_PRE_UNPATCH {
        callbacks.pre_unpatch = Some(pre_unpatch::<P, C>);
    }
    if C::HAS_POST_UNPATCH {
        callbacks.post_unpatch = Some(post_unpatch::<P, C>);
    }
    callbacks
}

/// Returns an entry of a list of objects. `name` is [`None`] for the kernel itself.
#[inline]
pub const fn object<const N: usize>(
    name: Option<&'static CStr>,
    funcs: &'static Table<[bindings::klp_func; N]>,
    callbacks: bindings::klp_callbacks,
) -> bindings::klp_object {
    bindings::klp_object {
        name: match name {
            Some(name) => as_char_ptr_in_const_context(name),
            None => core::ptr::null(),
        },
        funcs: funcs.get().cast(),
        callbacks,
        ..zeroed()
    }
}

/// Returns a patch.
#[inline]
pub const fn patch<const O: usize, const S: usize>(
    module: ThisModule,
    objects: &'static Table<[bindings::klp_object; O]>,
    states: &'static Table<[bindings::klp_state; S]>,
    replace: bool,
) -> bindings::klp_patch {
    bindings::klp_patch {
        mod_: module.as_ptr(),
        objs: objects.get().cast(),
        states: states.get().cast(),
        replace,
        ..zeroed()
    }
}

/// Declares a module that is a live patch.
///
/// `patch` says what is replaced, by object: `vmlinux` is the kernel itself, and any other name is
/// that of a module, which need not be loaded. The other fields are those of [`module!`], without
/// `type`. The patch is enabled when the module is loaded. If that fails, loading the module fails.
///
/// ```text
/// kernel::module_livepatch! {
///     patch: {
///         replace: true,                 optional: replaces all live patches before it
///         states: [A_STATE],             optional: constants of the type State
///         objects: {
///             vmlinux: {
///                 callbacks: AType,      optional: a type that implements Callbacks
///                 // SAFETY: ...
///                 #[sympos = 2]          optional: which of several functions of this name
///                 unsafe fn old_name(AnArgument, AnotherArgument) -> AResult => replacement,
///             },
///             a_module: {},
///         },
///     },
///     name: "a_name",
///     license: "GPL",
/// }
/// ```
///
/// A replacement is a function with the C ABI: `extern "C" fn`. Its types may say more than those
/// of C do. Where C passes a pointer that is valid during the call, the replacement can have a
/// reference to a type with the same layout, such as [`&SeqFile`](crate::seq_file::SeqFile) for a
/// `struct seq_file *`.
///
/// If the kernel's bindings have a function with the old name, a prototype that differs from it
/// does not compile. [`PassedAs`] says which types are the same. Most functions that are worth a
/// live patch are static, and the bindings don't have them.
///
/// # Safety
///
/// Each entry is `unsafe`, since the compiler can't see who calls the old function. It promises
/// that
///
/// - the old function has this prototype, with types of the same size and kind;
/// - what callers pass is valid for the types in the entry. A reference is valid during the call,
///   and nobody changes what it refers to in a way that its type does not allow;
/// - the replacement does for the callers what the old function promises them, for all that the
///   safety of the kernel depends on. If it is an `unsafe` function, its callers are as it demands;
/// - the compiler has neither inlined the old function nor changed its prototype. There are no
///   names with dots for this reason.
///
/// # Examples
///
/// ```ignore
/// use kernel::{
///     prelude::*,
///     seq_file::SeqFile,
///     seq_print, //
/// };
///
/// extern "C" fn show(file: &SeqFile, _data: *mut c_void) -> c_int {
///     seq_print!(file, "this has been live patched\n");
///     0
/// }
///
/// kernel::module_livepatch! {
///     patch: {
///         objects: {
///             vmlinux: {
///                 // SAFETY: This is what the function's caller, seq_file, demands of it.
///                 unsafe fn cmdline_proc_show(&SeqFile, *mut c_void) -> c_int => show,
///             },
///         },
///     },
///     name: "hello",
///     license: "GPL",
/// }
/// ```
///
/// [`module!`]: crate::prelude::module!
#[macro_export]
macro_rules! module_livepatch {
    (
        patch: {
            $(replace: $replace:literal,)?
            $(states: [$($state:path),* $(,)?],)?
            objects: {
                $($object:ident: {
                    $(callbacks: $callbacks:ty,)?
                    $(
                        $(#[sympos = $sympos:literal])?
                        unsafe fn $old:ident($($arg:ty),* $(,)?) $(-> $ret:ty)? => $new:path
                    ),* $(,)?
                }),+ $(,)?
            } $(,)?
        },
        $($info:tt)*
    ) => {
        #[cfg(not(MODULE))]
        compile_error!("a live patch has to be a module");

        #[link_section = ".modinfo"]
        #[used(compiler)]
        static __LIVEPATCH_MODINFO: [u8; 12] = *b"livepatch=Y\0";

        static __LIVEPATCH: $crate::livepatch::module::Table<$crate::bindings::klp_patch> = {
            use $crate::livepatch::module::{self, Table};

            // Each list ends with an entry that is all zeroes.
            const OBJECTS: usize = [$(stringify!($object)),+].len() + 1;
            static OBJECTS_: Table<[$crate::bindings::klp_object; OBJECTS]> = Table::new([
                $({
                    const FUNCS: usize = <[&str]>::len(&[$(stringify!($old)),*]) + 1;
                    static FUNCS_: Table<[$crate::bindings::klp_func; FUNCS]> = Table::new([
                        $(module::func(
                            $crate::c_str!(::core::stringify!($old)),
                            $crate::module_livepatch!(@new $old($($arg),*) $(-> $ret)? => $new),
                            0 $(+ $sympos)?,
                        ),)*
                        module::zeroed(),
                    ]);
                    module::object(
                        $crate::module_livepatch!(@name $object),
                        &FUNCS_,
                        $crate::module_livepatch!(@callbacks $($callbacks)?),
                    )
                },)+
                module::zeroed(),
            ]);

            const STATES: usize = <[&str]>::len(&[$($(stringify!($state)),*)?]) + 1;
            static STATES_: Table<[$crate::bindings::klp_state; STATES]> = Table::new([
                $($($state.entry(),)*)?
                module::zeroed(),
            ]);

            Table::new(module::patch(
                <LivepatchModule as $crate::ModuleMetadata>::THIS_MODULE,
                &OBJECTS_,
                &STATES_,
                false $(| $replace)?,
            ))
        };

        struct LivepatchTables;

        // SAFETY: The patch is a static of this module, as are its lists. Each of them has an end.
        // Nothing else refers to them. Each `unsafe fn` in the list promises the rest.
        unsafe impl $crate::livepatch::module::Livepatch for LivepatchTables {
            fn taken() -> &'static $crate::sync::atomic::Atomic<bool> {
                static TAKEN: $crate::sync::atomic::Atomic<bool> =
                    $crate::sync::atomic::Atomic::new(false);
                &TAKEN
            }

            fn patch() -> *mut $crate::bindings::klp_patch {
                __LIVEPATCH.get()
            }

            unsafe fn release() {
                // SAFETY: The caller promises that the patch is not in use.
                $($(unsafe { $state.release::<Self>() };)*)?
            }
        }

        struct LivepatchModule {
            _enabled: $crate::livepatch::module::Enabled<LivepatchTables>,
        }

        impl $crate::Module for LivepatchModule {
            fn init(_module: &'static $crate::ThisModule) -> $crate::error::Result<Self> {
                // SAFETY: This is the init function of the module. What it returns is kept until
                // the module is unloaded.
                let _enabled = unsafe { $crate::livepatch::module::Enabled::new() }?;
                Ok(Self { _enabled })
            }
        }

        $crate::prelude::module! {
            type: LivepatchModule,
            $($info)*
        }
    };

    (@name vmlinux) => { None };
    (@name $module:ident) => { Some($crate::c_str!(::core::stringify!($module))) };

    (@callbacks) => { $crate::livepatch::module::zeroed() };
    (@callbacks $callbacks:ty) => {
        $crate::livepatch::module::callbacks::<LivepatchTables, $callbacks>()
    };

    // The replacement as an untyped pointer.
    (@new $old:ident($($arg:ty),*) $(-> $ret:ty)? => $new:path) => {{
        const __LIVEPATCH_NEW: unsafe extern "C" fn($($arg),*) $(-> $ret)? = $new;
        {
            // What the bindings have hides this. If they have nothing, the prototype is compared
            // with itself.
            #[allow(non_upper_case_globals, dead_code)]
            const $old: unsafe extern "C" fn($($arg),*) $(-> $ret)? = __LIVEPATCH_NEW;
            const _: () = {
                #[allow(unused_imports)]
                use $crate::bindings::*;
                let old: unsafe extern "C" fn($($crate::module_livepatch!(@any $arg)),*) -> _ =
                    $old;
                $crate::livepatch::Old(old)
                    .has::<($($arg,)*), $crate::module_livepatch!(@ret $($ret)?)>();
            };
        }
        __LIVEPATCH_NEW as *mut $crate::ffi::c_void
    }};

    (@ret) => { () };
    (@ret $ret:ty) => { $ret };
    (@any $arg:ty) => { _ };
}
