// SPDX-License-Identifier: GPL-2.0
//! `klpctl install` and `klpctl uninstall`: which live patches are loaded at a boot.

use crate::failure::{Exit, Result};
use crate::module::Module;
use crate::output::Answer;
use crate::system::{patch_name, System};
use serde::Serialize;
use std::path::Path;

#[derive(Serialize)]
struct Installed<'a> {
    patch: &'a str,
    kernel: &'a str,
    file: &'a Path,
}

/// Runs `klpctl install`.
pub fn install(system: &System, file: &Path) -> Result<Answer> {
    let module = Module::read(file)?;
    let (name, kernel) = (&module.origin.name, &module.origin.kernel);
    if *kernel == system.release() {
        module.check_kernel(system)?;
    }
    let place = system.install(&module)?;
    let installed = Installed {
        patch: name,
        kernel,
        file: &place,
    };
    let text = format!(
        "{name}: installed for Linux {kernel}, in {}.\n\
         next: klpctl load {name} loads it now; systemctl enable klpctl loads it at each boot",
        place.display()
    );
    Ok(Answer::new(Exit::Done, text, &installed))
}

/// Runs `klpctl uninstall`.
pub fn uninstall(system: &System, name: &str, kernel: Option<&str>) -> Result<Answer> {
    let name = patch_name(name)?;
    let running = system.release();
    let kernel = kernel.unwrap_or(&running);
    let file = system.uninstall(&name, kernel)?;
    let stays = match system.is_loaded(&name) {
        true => format!("\nnext: it is loaded still; klpctl unload {name} takes it back"),
        false => String::new(),
    };
    let text = format!("{name}: no longer installed for Linux {kernel}.{stays}");
    let uninstalled = Installed {
        patch: &name,
        kernel,
        file: &file,
    };
    Ok(Answer::new(Exit::Done, text, &uninstalled))
}
