// SPDX-License-Identifier: GPL-2.0

//! Kernel errors.

use std::ffi::c_int;
use std::num::NonZeroI32;

/// An errno, stored as a negative number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(NonZeroI32);

/// A result with a kernel error.
pub type Result<T = (), E = Error> = std::result::Result<T, E>;

impl Error {
    /// Converts a negative errno. Any other number becomes `EINVAL`.
    pub fn from_errno(errno: c_int) -> Self {
        match NonZeroI32::new(errno) {
            Some(errno) if (-4095..0).contains(&errno.get()) => Self(errno),
            _ => code::EINVAL,
        }
    }

    /// Returns the negative errno.
    pub fn to_errno(self) -> c_int {
        self.0.get()
    }
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "errno {}", self.0)
    }
}

impl From<crate::alloc::AllocError> for Error {
    fn from(_: crate::alloc::AllocError) -> Self {
        code::ENOMEM
    }
}

/// Errno constants with Linux numbering.
pub mod code {
    use super::Error;
    use std::num::NonZeroI32;

    macro_rules! codes {
        ($($name:ident = $value:literal),* $(,)?) => {$(
            #[doc = concat!("errno ", stringify!($value))]
            pub const $name: Error = Error(match NonZeroI32::new(-$value) {
                Some(errno) => errno,
                None => panic!("errno 0"),
            });
        )*};
    }

    codes! {
        ENOENT = 2,
        EAGAIN = 11,
        ENOMEM = 12,
        EBUSY = 16,
        EEXIST = 17,
        ENODEV = 19,
        EINVAL = 22,
    }
}
