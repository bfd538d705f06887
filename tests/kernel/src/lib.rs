// SPDX-License-Identifier: GPL-2.0

//! Host stand-in for the `kernel` crate: the part that `livepatch_core` uses, built on `std`.
//!
//! Names and signatures match `rust/kernel/` in the kernel tree, so the same source builds against
//! either crate. [`log`], [`warnings`] and [`alloc::fail_after`] let a test look inside.

// The kernel crate's macros name it `$crate`. The macros here name it `kernel`.
extern crate self as kernel;

pub mod alloc;
pub mod error;
pub mod prelude;
pub mod sync;

pub use macros;

/// Formatting, by the standard library.
pub mod fmt {
    pub use std::fmt::*;
}

pub mod print {
    //! Printing: messages go to a log of the calling thread.

    use std::cell::{Cell, RefCell};
    pub use std::sync::Once as OnceLite;

    thread_local! {
        static LOG: RefCell<Vec<(Level, String)>> = const { RefCell::new(Vec::new()) };
        static WARNINGS: Cell<usize> = const { Cell::new(0) };
    }

    /// A message's level.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Level {
        /// `KERN_ERR`
        Err,
        /// `KERN_WARNING`
        Warning,
        /// `KERN_NOTICE`
        Notice,
        /// `KERN_INFO`
        Info,
        /// `KERN_DEBUG`
        Debug,
    }

    /// Appends to the log.
    pub fn print(level: Level, arguments: std::fmt::Arguments<'_>) {
        LOG.with_borrow_mut(|log| log.push((level, arguments.to_string())));
    }

    /// Takes all messages since the last call, with their newlines.
    pub fn take() -> Vec<(Level, String)> {
        LOG.take()
    }

    /// Counts a warning (`WARN_ON()`).
    pub fn warn() {
        WARNINGS.set(WARNINGS.get() + 1);
    }

    /// Returns the number of warnings since the last call.
    pub fn take_warnings() -> usize {
        WARNINGS.take()
    }
}

/// Returns the messages since the last call, see [`print::take`].
pub fn log() -> Vec<String> {
    print::take().into_iter().map(|(_, text)| text).collect()
}

/// Returns the number of warnings since the last call.
pub fn warnings() -> usize {
    print::take_warnings()
}

/// Prints an error.
#[macro_export]
macro_rules! pr_err {
    ($($argument:tt)*) => {
        $crate::print::print($crate::print::Level::Err, format_args!($($argument)*))
    };
}

/// Prints a warning.
#[macro_export]
macro_rules! pr_warn {
    ($($argument:tt)*) => {
        $crate::print::print($crate::print::Level::Warning, format_args!($($argument)*))
    };
}

/// Prints a notice.
#[macro_export]
macro_rules! pr_notice {
    ($($argument:tt)*) => {
        $crate::print::print($crate::print::Level::Notice, format_args!($($argument)*))
    };
}

/// Warns if the condition holds, and evaluates to it.
#[macro_export]
macro_rules! warn_on {
    ($condition:expr) => {{
        let condition = $condition;
        if condition {
            $crate::print::warn();
        }
        condition
    }};
}

/// Runs the statements the first time only.
#[macro_export]
macro_rules! do_once_lite {
    ($($statement:tt)*) => {{
        static ONCE: $crate::print::OnceLite = $crate::print::OnceLite::new();
        ONCE.call_once(|| {
            $($statement)*
        });
    }};
}
