// SPDX-License-Identifier: GPL-2.0

//! The names that kernel code imports by default.

pub use crate::alloc::{flags::*, AllocError, KBox, KVec};
pub use crate::error::{code::*, Error, Result};
pub use crate::macros::kunit_tests;
pub use crate::{pr_err, pr_notice, pr_warn};
pub use std::ffi::{c_int, c_void, CStr};
pub use std::format_args as fmt;
pub use std::mem::{align_of, size_of};
