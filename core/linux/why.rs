// SPDX-License-Identifier: GPL-2.0

//! The files in `/sys/kernel/debug/livepatch`, one for each patch: what its transition waits for.
//!
//! `livepatch_core::transition` writes the contents. A file exists as long as the patch's directory
//! in sysfs. A patch without its file works all the same.
//!
//! # Locks
//!
//! A reader of a file takes the core's lock, and the removal of a file waits for its readers. So a
//! file is never removed with the core's lock held. A file is added with that lock held, since the
//! patch's directory is. [`FILES`] is taken inside of it. Readers do not take [`FILES`].
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h).

use crate::{
    descriptors::PatchId,
    livepatch_core::symbol::Name,
    Linux,
    KLP_MUTEX, //
};
use kernel::{
    debugfs::{
        Dir,
        File,
        Writer, //
    },
    fmt,
    prelude::*,
    sync::SetOnce, //
};

/// `/sys/kernel/debug/livepatch`.
static DIRECTORY: SetOnce<Dir> = SetOnce::new();

kernel::sync::global_lock! {
    /// The files, each with its patch.
    // SAFETY: `init` initializes the lock before any patch can be enabled. Only patches have files.
    unsafe(uninit) static FILES: Mutex<KVec<(PatchId, Pin<KBox<File<Why>>>)>> = KVec::new();
}

/// Makes the directory.
///
/// # Safety
///
/// This is the only call, and no patch has been enabled yet.
pub(crate) unsafe fn init() {
    // SAFETY: This is the only call, and nothing has used the lock yet.
    unsafe { FILES.init() };
    DIRECTORY.populate(Dir::new(c"livepatch"));
}

/// What the file of a patch is about.
struct Why {
    patch: PatchId,
    /// The patch's name. The file outlives the patch in the core.
    name: Name,
}

impl Writer for Why {
    fn write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = KLP_MUTEX.lock();
        let report = core.why(&Linux, self.patch, &self.name);
        f.write_fmt(fmt!("{}", report))
    }
}

/// Makes the file of a patch. The caller holds the core's lock.
///
/// The patch does not need the file: if it can't be made, there is none.
pub(crate) fn add(patch: PatchId, name: &Name) {
    if let Err(error) = try_add(patch, name) {
        pr_warn!(
            "no file in debugfs for patch '{}' ({})\n",
            name,
            error.to_errno()
        );
    }
}

fn try_add(patch: PatchId, name: &Name) -> Result {
    let directory = DIRECTORY.as_ref().ok_or(ENODEV)?;
    let file_name = CStr::from_bytes_with_nul(name.as_bytes_with_nul()).map_err(|_| EINVAL)?;
    let why = Why {
        patch,
        name: name.duplicate()?,
    };
    let mut files = FILES.lock();
    // A file that exists can't be removed here, with the core's lock held. So it must not fail to
    // get into the list.
    files.reserve(1, GFP_KERNEL)?;
    let file = KBox::pin_init(directory.read_only_file(file_name, why), GFP_KERNEL)?;
    if let Err(full) = files.push_within_capacity((patch, file)) {
        // Room was reserved above. The file stays for ever.
        warn_on_once!(true);
        core::mem::forget(full);
    }
    Ok(())
}

/// Removes the file of a patch, if there is one, and waits for its readers.
///
/// The caller does not hold the core's lock: readers may wait for it.
pub(crate) fn remove(patch: PatchId) {
    let mut files = FILES.lock();
    let index = files.iter().position(|(own, _)| *own == patch);
    let file = index.and_then(|index| files.remove(index).ok());
    // The readers need not be waited for with the list locked.
    drop(files);
    drop(file);
}
