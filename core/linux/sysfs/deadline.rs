// SPDX-License-Identifier: GPL-2.0

//! The attribute `deadline` of a patch.

use super::{
    Attribute,
    Patch,
    Show,
    Store, //
};
use crate::{
    livepatch_core::transition::Deadline,
    module_parameters,
    Linux,
    KLP_MUTEX, //
};
use kernel::{
    fmt,
    prelude::*,
    str::CStr, //
};

pub(super) static DEADLINE: Attribute<Patch> =
    Attribute::read_write::<DeadlineOfTransitions>(c"deadline");

/// `deadline`: how long a transition of the patch may take.
enum DeadlineOfTransitions {}

impl Show<Patch> for DeadlineOfTransitions {
    fn show(patch: &Patch) -> Result<impl fmt::Display> {
        Ok(KLP_MUTEX.lock().deadline(patch.id()))
    }
}

impl Store<Patch> for DeadlineOfTransitions {
    fn store(patch: &Patch, input: &CStr) -> Result {
        let deadline = Deadline::parse(input.to_bytes())?;
        KLP_MUTEX.lock().set_deadline(&Linux, patch.id(), deadline)
    }
}

/// The deadline that a patch starts with.
pub(crate) fn default_deadline() -> Deadline {
    Deadline::from_seconds(module_parameters::deadline.value())
}
