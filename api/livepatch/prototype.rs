// SPDX-License-Identifier: GPL-2.0

//! Comparing the prototype of a replacement with that in the bindings.

use crate::{
    bindings,
    fs::File,
    seq_file::SeqFile,
    task::Task, //
};

/// Types that C passes as `C`.
///
/// # Safety
///
/// The type has the size of `C`, and is passed and returned in the same way.
#[diagnostic::on_unimplemented(
    message = "the old function has `{C}` where the live patch has `{Self}`",
    label = "this is not the prototype of the function in the kernel's bindings"
)]
pub unsafe trait PassedAs<C> {}

// SAFETY: The types are the same.
unsafe impl<T> PassedAs<T> for T {}

// SAFETY: A reference is passed as a pointer.
unsafe impl PassedAs<*mut bindings::seq_file> for &SeqFile {}

// SAFETY: A reference is passed as a pointer.
unsafe impl PassedAs<*mut bindings::file> for &File {}

// SAFETY: A reference is passed as a pointer.
unsafe impl PassedAs<*mut bindings::task_struct> for &Task {}

/// A function with the C ABI.
#[doc(hidden)]
pub trait Prototype {
    type Arguments;
    type Return;
}

/// Lists of arguments that C passes as `C`.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the old function has the arguments `{C}` where the live patch has `{Self}`",
    label = "this is not the prototype of the function in the kernel's bindings"
)]
pub trait Arguments<C> {}

macro_rules! functions {
    () => { functions!(@one); };
    ($first:ident: $own:ident, $($more:ident: $mine:ident,)*) => {
        functions!(@one $first: $own, $($more: $mine,)*);
        functions!($($more: $mine,)*);
    };
    (@one $($arg:ident: $own:ident,)*) => {
        impl<$($arg,)* R> Prototype for unsafe extern "C" fn($($arg),*) -> R {
            type Arguments = ($($arg,)*);
            type Return = R;
        }

        impl<$($arg, $own: PassedAs<$arg>,)*> Arguments<($($arg,)*)> for ($($own,)*) {}
    };
}

functions!(A: A1, B: B1, C: C1, D: D1, E: E1, F: F1, G: G1, H: H1, I: I1, J: J1, K: K1, L: L1,);

/// The function in the bindings, or what the live patch says of it if they have none.
#[doc(hidden)]
pub struct Old<P>(pub P);

impl<P: Prototype> Old<P> {
    /// Compiles if the function has these arguments and this result.
    #[inline]
    pub const fn has<Own, Return>(&self)
    where
        Own: Arguments<P::Arguments>,
        Return: PassedAs<P::Return>,
    {
    }
}
