// SPDX-License-Identifier: GPL-2.0
//! The patch engine, and what klp-diff reads besides.

use crate::{administrator, parts};
use klp_diff::{finish::finish, Diff, Environment};
use klp_patch::comment::only_comments_differ;
use klp_patch::outline::{changed, outline};
use klp_patch::record;

/// The size of the original object in four bytes, the original, and the patched object.
pub fn pair(bytes: &[u8]) {
    let Some((size, objects)) = bytes.split_first_chunk() else {
        return;
    };
    let size = u32::from_le_bytes(*size) as usize;
    let (original, patched) = objects.split_at(size.min(objects.len()));
    let environment = Environment::default();
    let Ok(diff) = Diff::new(original, patched, &environment) else {
        return;
    };
    if let Ok(written) = diff.write(&environment) {
        finish(&written).expect("a module that was written is readable");
    }
}

/// A module.
pub fn module(bytes: &[u8]) {
    drop(finish(bytes));
    administrator::module(bytes);
}

/// Two sources. The first is taken as Kbuild's record of an object too.
pub fn sources(bytes: &[u8]) {
    let [one, other] = parts(bytes);
    assert_eq!(
        only_comments_differ(one, other),
        only_comments_differ(other, one)
    );
    let text = String::from_utf8_lossy(one);
    let (before, after) = (outline(&text), outline(&String::from_utf8_lossy(other)));
    assert!(changed(&before, &before, true).is_empty());
    let _ = changed(&before, &after, true);
    if let Some((command, source)) = record::parts(&text) {
        let _ = (command, record::normal(source));
    }
}
