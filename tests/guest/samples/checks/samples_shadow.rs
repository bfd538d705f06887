// SPDX-License-Identifier: GPL-2.0

//! Shadow variables: what fails leaves nothing behind, and each value is dropped once, when nobody
//! uses it any longer. The live patch is refused if something is wrong.

use kernel::{
    livepatch::{
        Callbacks,
        Object,
        Shadow, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

/// How many values there are.
static VALUES: Atomic<i32> = Atomic::new(0);

struct Value(u32);

impl Value {
    fn new(number: u32) -> Self {
        VALUES.add(1, Relaxed);
        Self(number)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        VALUES.add(-1, Relaxed);
    }
}

struct Thing(#[allow(dead_code)] u8);

// SAFETY: Nobody else uses this ID. The values are gone when the check is over.
const SHADOW: Shadow<Thing, Value> = unsafe { Shadow::new(0x6368656b) };

/// Says what is wrong, if it is.
fn check(what: &str, holds: bool) -> Result {
    if holds {
        pr_info!("ok {what}\n");
        return Ok(());
    }
    pr_err!("not ok {what}\n");
    Err(EIO)
}

fn values() -> i32 {
    VALUES.load(Relaxed)
}

fn run() -> Result {
    let (one, two) = (Thing(1), Thing(2));

    let failed = SHADOW.get_or_alloc(&one, Err(EDOM), GFP_KERNEL);
    check("the error of a constructor", failed.err() == Some(EDOM))?;
    check(
        "it leaves nothing",
        SHADOW.get(&one).is_none() && values() == 0,
    )?;

    let first = SHADOW.get_or_alloc(&one, Value::new(1), GFP_KERNEL)?;
    let again = SHADOW.get_or_alloc(&one, Value::new(2), GFP_KERNEL)?;
    check("an object has one value", (first.0, again.0) == (1, 1))?;
    check("the other one is dropped", values() == 1)?;
    check("other objects have none", SHADOW.get(&two).is_none())?;

    SHADOW.free(&one);
    check("what was freed is not found", SHADOW.get(&one).is_none())?;
    check("a reference keeps it", first.0 == 1 && values() == 1)?;
    let next = SHADOW.get_or_alloc(&one, Value::new(3), GFP_KERNEL)?;
    check("the object can get a new one", next.0 == 3 && values() == 2)?;
    drop(first);
    check("another reference keeps it", values() == 2)?;
    drop(again);
    check("the last one drops it", values() == 1)?;

    SHADOW.get_or_alloc(&two, Value::new(4), GFP_KERNEL)?;
    check("the table keeps what nobody uses", values() == 2)?;
    SHADOW.free_all();
    let gone = SHADOW.get(&one).is_none() && SHADOW.get(&two).is_none();
    check("all are freed", gone)?;
    check("but for one that is in use", next.0 == 3 && values() == 1)?;
    drop(next);
    SHADOW.free(&one);
    check("nothing is left", values() == 0)
}

struct Check;

#[vtable]
impl Callbacks for Check {
    fn pre_patch(_object: &Object<'_>) -> Result {
        let result = run();
        SHADOW.free_all();
        result
    }
}

kernel::module_livepatch! {
    patch: {
        objects: {
            vmlinux: {
                callbacks: Check,
            },
        },
    },
    name: "samples_shadow",
    description: "Check of shadow variables for the suite samples",
    license: "GPL",
}
