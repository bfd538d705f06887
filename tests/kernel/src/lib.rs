//! Stand-in for the kernel crate.
