// SPDX-License-Identifier: GPL-2.0
//! `klpctl info`: where a live patch comes from.

use crate::failure::{Exit, Result};
use crate::module::{Module, Origin};
use crate::output::Answer;
use crate::system::installed::is_path;
use crate::system::{patch_name, System};
use std::fmt::Write;
use std::path::PathBuf;

/// Runs the command.
pub fn run(system: &System, patch: &str) -> Result<Answer> {
    let path = match is_path(patch) {
        true => PathBuf::from(patch),
        false => system.find_installed(&patch_name(patch)?, &system.release())?,
    };
    let module = Module::read(&path)?;
    let origin = &module.origin;
    let mut text = format!("{}\n{}", origin.name, lines(origin, "  "));
    let fits = match module.check_kernel(system) {
        Ok(()) => "yes".into(),
        Err(failure) => failure.cause,
    };
    let _ = writeln!(text, "  for this kernel: {fits}");
    Ok(Answer::new(Exit::Done, text, origin))
}

/// Returns what a module says of itself, one field in each line.
pub fn lines(origin: &Origin, indent: &str) -> String {
    let mut text = String::new();
    let cves = (!origin.cves.is_empty()).then(|| origin.cves.join(", "));
    for (name, value) in [
        ("closes", cves.as_ref()),
        ("kernel", Some(&origin.kernel)),
        ("kernel's build ID", origin.kernel_build_id.as_ref()),
        ("built by", origin.builder.as_ref()),
        ("from the patch", origin.patch_sha256.as_ref()),
        ("description", origin.description.as_ref()),
        ("version", origin.version.as_ref()),
        ("build ID", origin.build_id.as_ref()),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{indent}{name}: {value}");
        }
    }
    text
}
