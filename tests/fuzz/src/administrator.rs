// SPDX-License-Identifier: GPL-2.0
//! klpctl, on a system that is made up.

use crate::parts;
use klpctl::module::Module;
use klpctl::system::{Modules, System};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tempfile::TempDir;

/// A kernel that takes no module.
struct Refusing;

impl Modules for Refusing {
    fn load_file(&self, _file: &File) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn load_bytes(&self, _module: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn unload(&self, _name: &str) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Returns the root of the system, with the directories of a live patch `a`.
fn root() -> &'static Path {
    static ROOT: OnceLock<TempDir> = OnceLock::new();
    let made = ROOT.get_or_init(|| {
        let root = TempDir::new().expect("there is a place for temporary files");
        for dir in [
            "dev",
            "proc/sys/kernel",
            "sys/kernel/debug/livepatch",
            "sys/kernel/livepatch/a",
            "var/lib/klpctl/1",
        ] {
            fs::create_dir_all(root.path().join(dir)).expect("a directory can be made there");
        }
        root
    });
    made.path()
}

/// Writes a file of the system.
fn put(file: &str, bytes: &[u8]) -> PathBuf {
    let path = root().join(file);
    fs::write(&path, bytes).expect("a file can be written there");
    path
}

/// The file of a module.
pub fn module(bytes: &[u8]) {
    let path = put("module.ko", bytes);
    if let Ok(module) = Module::read(&path) {
        let system = System::at(root(), Box::new(Refusing));
        let _ = module.check_kernel(&system);
        assert!(module.load(&system).is_err());
    }
}

/// The core's report, two attributes, the log, and the list of what is installed.
pub fn reports(bytes: &[u8]) {
    let [report, transition, enabled, log, list] = parts(bytes);
    put("sys/kernel/debug/livepatch/a", report);
    put("sys/kernel/livepatch/a/transition", transition);
    put("sys/kernel/livepatch/a/enabled", enabled);
    put("dev/kmsg", log);
    put("var/lib/klpctl/1/modules.livepatch", list);
    let system = System::at(root(), Box::new(Refusing));
    let patch = system.patch("a").expect("both attributes are there");
    for blocker in &system.progress(&patch).blockers {
        let _ = (blocker.who(), blocker.why(), blocker.remedy());
    }
    for path in system.installed("1") {
        let inside = path.parent() == Some(&root().join("var/lib/klpctl/1"));
        assert!(inside, "{}", path.display());
    }
}
