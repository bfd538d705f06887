// SPDX-License-Identifier: GPL-2.0
//! Provides Debian's build of a program, in the cache, from a suite that the machine does not run.
//!
//! The program may be built for a newer C library than the machine's. It then brings that library
//! along, and that library's own loader starts it.

use crate::tools::apt::{self, Download};
use crate::tools::context::Context;
use crate::tools::need::reaches;
use anyhow::{ensure, Result};
use std::fs;
use std::os::unix::fs::{symlink, PermissionsExt};
use std::path::Path;
use xshell::{cmd, Shell};

/// The libraries that such programs are linked with.
const LIBRARIES: &[&str] = &["libc6", "libgcc-s1", "libstdc++6"];

/// A script that starts the program of its own name, wherever the cache is.
const START: &str = "#!/bin/sh
root=$(dirname \"$(readlink -f \"$0\")\")/..
for loader in \"$root\"/usr/lib/*/ld-linux-*.so.*; do
\texec \"$loader\" --library-path \"$(dirname \"$loader\")\" \"$root/usr/bin/$(basename \"$0\")\" \"$@\"
done
";

/// Unpacks packages into the new directory `dest`, where `bin/<program>` then starts their program.
/// Fails if it does not start.
pub fn install(cx: &Context, program: &str, packages: &[Download], dest: &Path) -> Result<()> {
    let title = format!("Unpack Debian's {program}");
    apt::unpack(cx, &title, packages, dest, |partial| {
        let start = partial.join("bin").join(program);
        fs::create_dir_all(partial.join("bin"))?;
        symlink(Path::new("../usr/bin").join(program), &start)?;
        // The machine's libraries are the better ones if they are new enough: what the program
        // loads later is linked with them too.
        if starts(&start) {
            return Ok(());
        }
        let needs: Vec<String> = packages
            .iter()
            .map(|package| package.needs(cx))
            .collect::<Result<_>>()?;
        for name in LIBRARIES {
            let incoming = cx.cache.join("incoming");
            let fits = |version: &str| needs.iter().all(|needs| is_enough(version, name, needs));
            let library = apt::download(cx, name, fits, &incoming)?;
            library.unpack(cx, &title, partial)?;
            fs::remove_file(&library.deb)?;
        }
        fs::remove_file(&start)?;
        fs::write(&start, START)?;
        fs::set_permissions(&start, fs::Permissions::from_mode(0o755))?;
        ensure!(starts(&start), "Debian's {program} does not start here");
        Ok(())
    })
}

/// Whether a version of a library is as new as `needs`, a package's list of what it needs, asks for.
fn is_enough(version: &str, library: &str, needs: &str) -> bool {
    let asked = needs.split([',', '|']).filter_map(|need| {
        let (name, least) = need.trim().split_once(" (>= ")?;
        (name == library).then(|| least.trim_end_matches(')'))
    });
    let mut asked = asked.map(|least| least.split_once(':').map_or(least, |(_, least)| least));
    asked.all(|least| reaches(version, least))
}

/// Whether the program starts.
pub fn starts(program: &Path) -> bool {
    let Ok(sh) = Shell::new() else {
        return false;
    };
    let help = cmd!(sh, "{program} --help").quiet().ignore_stderr();
    help.ignore_stdout().run().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_as_new_as_the_program_asks_for() {
        let needs = "libc6 (>= 2.42), libgmp10 (>= 2:6.3.0+dfsg), libfdt1";
        assert!(is_enough("2.42-5", "libc6", needs));
        assert!(!is_enough("2.41-12+deb13u5", "libc6", needs));
        assert!(is_enough("6.3.0", "libgmp10", needs));
        assert!(!is_enough("6.2.1", "libgmp10", needs));
        assert!(is_enough("1", "libfdt1", needs) && is_enough("1", "other", needs));
    }

    #[test]
    fn the_script_starts_the_program_of_its_name_with_its_own_loader() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let executable = |name: &str, text: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        // This loader prints what it is to load, and fails without the library path.
        let loader = "#!/bin/sh\n[ \"$1\" = --library-path ] && shift 2 && echo \"$@\"\n";
        executable("usr/lib/some-linux-gnu/ld-linux-some.so.2", loader);
        let start = executable("bin/program", START);
        assert!(starts(&start));
        let sh = Shell::new().unwrap();
        let said = cmd!(sh, "{start} a 'b c'").quiet().read().unwrap();
        assert!(said.ends_with("/../usr/bin/program a b c"), "{said}");
        assert!(!starts(&root.join("usr/bin/program")));
    }
}
