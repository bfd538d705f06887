// SPDX-License-Identifier: GPL-2.0

//! The attribute `gear` of a patch.

use super::{
    Attribute,
    Patch,
    Show,
    Store, //
};
use crate::{
    ftrace::settle::can_settle,
    livepatch_core::settle::Gear,
    Linux,
    KLP_MUTEX, //
};
use kernel::{
    fmt,
    prelude::*,
    str::CStr, //
};

pub(super) static GEAR: Attribute<Patch> = Attribute::read_write::<GearOfCalls>(c"gear");

/// `gear`: how calls of the patched functions go.
enum GearOfCalls {}

impl Show<Patch> for GearOfCalls {
    fn show(patch: &Patch) -> Result<impl fmt::Display> {
        Ok(Gear::text(KLP_MUTEX.lock().gear(patch.id())))
    }
}

impl Store<Patch> for GearOfCalls {
    fn store(patch: &Patch, input: &CStr) -> Result {
        let gear = Gear::parse(input.to_bytes())?;
        if gear == Gear::Settled && !can_settle() {
            return Err(EOPNOTSUPP);
        }
        KLP_MUTEX.lock().set_gear(&Linux, patch.id(), gear)
    }
}
