// SPDX-License-Identifier: GPL-2.0
//! The module that is made: its name and its file, and what is printed of it.

use crate::base::Base;
use crate::Module;
use anyhow::{bail, ensure, Context as _, Result};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How the name of a module's file ends.
const END: &str = "ko";

/// Returns the file for the module of a patch or a directory of patches, here.
pub fn default(patch: &Path) -> PathBuf {
    let named = patch.canonicalize().unwrap_or_else(|_| patch.to_owned());
    let name = match named.is_dir() {
        true => named.file_name(),
        false => named.file_stem(),
    };
    let mut file = name.unwrap_or_default().to_owned();
    file.push(".");
    file.push(END);
    PathBuf::from(file)
}

/// Returns the name of the module in a file.
pub fn name(out: &Path) -> Result<String> {
    ensure!(
        out.extension().is_some_and(|extension| extension == END),
        "--out {}: the name of a module ends in .{END}",
        out.display()
    );
    let name = out
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    // `MODULE_NAME_LEN` of the kernel, without the NUL.
    if name.is_empty() || name.len() > 55 || !name.chars().all(fits) {
        bail!(
            "`{name}` can't be the name of a module: letters, digits, `-` and `_` can, 55 of them\n\
             next: name the module with --out NAME.ko, or rename the patch"
        );
    }
    Ok(name)
}

/// Writes the module. The file is complete or as it was.
pub fn write(out: &Path, bytes: &[u8]) -> Result<()> {
    let dir = match out.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let cannot = || {
        format!(
            "cannot write {}; next: name another place with --out",
            out.display()
        )
    };
    let mut file = tempfile::NamedTempFile::new_in(dir).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    file.as_file()
        .set_permissions(fs::Permissions::from_mode(0o644))
        .with_context(cannot)?;
    file.persist(out).with_context(cannot)?;
    Ok(())
}

/// Writes the module, and prints what is in it, which kernel it is for and how long it took.
pub fn finish(out: &Path, module: &Module, base: &Base, start: Instant) -> Result<()> {
    write(out, &module.bytes)?;
    describe(module);
    println!(
        "{}: for Linux {}, made in {:.1} s",
        out.display(),
        base.release()?,
        start.elapsed().as_secs_f32()
    );
    Ok(())
}

/// Prints which functions a module has.
pub fn describe(module: &Module) {
    for (object, functions) in &module.functions {
        println!("  functions for {object}: {}", functions.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_after_its_patch_or_directory() {
        let dir = tempfile::tempdir().unwrap();
        let fixes = dir.path().join("2026.1");
        fs::create_dir(&fixes).unwrap();
        assert_eq!(default(&fixes), Path::new("2026.1.ko"));
        assert_eq!(default(Path::new("a/fix.patch")), Path::new("fix.ko"));
    }

    #[test]
    fn a_module_has_a_name_that_the_kernel_takes() {
        assert_eq!(name(Path::new("/a b/fix-1_x.ko")).unwrap(), "fix-1_x");
        for bad in [
            "fix.o",
            ".ko",
            "a b.ko",
            "a.b.ko",
            &format!("{}.ko", "a".repeat(56)),
        ] {
            assert!(name(Path::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_module_is_written_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a.ko");
        write(&out, b"one").unwrap();
        write(&out, b"two").unwrap();
        assert_eq!(fs::read(&out).unwrap(), b"two");
        assert!(write(&dir.path().join("none/a.ko"), b"").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
