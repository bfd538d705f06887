// SPDX-License-Identifier: GPL-2.0

//! Dynamic debug: messages that are switched on at run time, each on its own.
//!
//! The kernel crate's `pr_debug!` does not support it. [`dynamic_pr_debug!`] does: its call sites
//! are in `dynamic_debug/control` as those of C code are. Only the jump label is missing, since
//! Rust cannot emit one for this key. A call site that is off costs a load and a branch.
//!
//! C header: [`include/linux/dynamic_debug.h`](srctree/include/linux/dynamic_debug.h).

#[cfg(CONFIG_DYNAMIC_DEBUG)]
use kernel::{
    bindings,
    fmt,
    prelude::*,
    str::as_char_ptr_in_const_context,
    types::Opaque, //
};

/// A call site. It belongs in the section `__dyndbg`, which dynamic debug reads.
///
/// # Invariants
///
/// The call site's strings are valid forever and do not change.
#[cfg(CONFIG_DYNAMIC_DEBUG)]
#[repr(transparent)]
pub(crate) struct Callsite(Opaque<bindings::_ddebug>);

// SAFETY: Only the flags change. C code too reads them while dynamic debug writes them.
#[cfg(CONFIG_DYNAMIC_DEBUG)]
unsafe impl Sync for Callsite {}

#[cfg(CONFIG_DYNAMIC_DEBUG)]
impl Callsite {
    /// Makes a call site that is off.
    pub(crate) const fn new(
        module: &'static CStr,
        file: &'static CStr,
        line: u32,
        function: &'static CStr,
        format: &'static CStr,
    ) -> Self {
        let mut site: bindings::_ddebug = pin_init::zeroed();
        site.modname = as_char_ptr_in_const_context(module);
        site.filename = as_char_ptr_in_const_context(file);
        site.function = as_char_ptr_in_const_context(function);
        site.format = as_char_ptr_in_const_context(format);
        site._bitfield_1 = bindings::__BindgenBitfieldUnit::new(packed(line));
        // INVARIANT: The strings are static.
        Self(Opaque::new(site))
    }

    /// Whether the call site is on.
    pub(crate) fn is_on(&self) -> bool {
        // SAFETY: The call site is valid. Dynamic debug may change the flags at any time. A stale
        // value only means one message too many or too few, as in C.
        let flags = unsafe { (*self.0.get()).flags() };
        flags & bindings::_DPRINTK_FLAGS_PRINT != 0
    }

    /// Prints a message, with the module's name before it.
    pub(crate) fn print(&self, message: fmt::Arguments<'_>) {
        // SAFETY: The call site is valid, and its strings do not change.
        let module = unsafe { (*self.0.get()).modname };
        let message = (&raw const message).cast::<c_void>();
        // SAFETY: The call site is valid. `%s` takes a C string, and `%pA` takes a pointer to
        // arguments that outlive the call.
        unsafe {
            bindings::__dynamic_pr_debug(self.0.get(), c"%s: %pA".as_char_ptr(), module, message)
        };
    }
}

/// Packs the line, no class and no flags into one word, as `struct _ddebug` holds them.
#[cfg(CONFIG_DYNAMIC_DEBUG)]
const fn packed(line: u32) -> [u8; 4] {
    /// `_DPRINTK_CLASS_DFLT`: no class.
    const CLASS: u32 = 63;
    /// Number of bits of the line. The class follows it.
    const LINE_BITS: u32 = 18;
    const CLASS_BITS: u32 = 6;

    let line = line & ((1 << LINE_BITS) - 1);
    // Bit-fields begin at the lowest bit on little-endian machines, and at the highest on others.
    let word = if cfg!(target_endian = "little") {
        line | CLASS << LINE_BITS
    } else {
        line << (32 - LINE_BITS) | CLASS << (32 - LINE_BITS - CLASS_BITS)
    };
    word.to_ne_bytes()
}

/// Prints a message at a call site of its own, if that is on. Without dynamic debug, it prints
/// nothing.
///
/// The arguments are the names of the module and of the function, the text for the control file,
/// and the message.
macro_rules! dynamic_pr_debug {
    ($module:literal, $function:literal, $format:literal, $($message:tt)+) => {{
        #[cfg(CONFIG_DYNAMIC_DEBUG)]
        {
            #[link_section = "__dyndbg"]
            static SITE: $crate::dynamic_debug::Callsite = $crate::dynamic_debug::Callsite::new(
                $module,
                ::kernel::c_str!(::core::file!()),
                ::core::line!(),
                $function,
                $format,
            );
            if SITE.is_on() {
                SITE.print(::kernel::prelude::fmt!($($message)+));
            }
        }
        #[cfg(not(CONFIG_DYNAMIC_DEBUG))]
        if false {
            _ = ::kernel::prelude::fmt!($($message)+);
        }
    }};
}
pub(crate) use dynamic_pr_debug;
