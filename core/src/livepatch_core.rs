//! Livepatch core.
