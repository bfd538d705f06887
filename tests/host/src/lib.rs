//! Host tests of the livepatch core.
