// SPDX-License-Identifier: GPL-2.0
//! Objects that rustc makes: which of them can be compiled again, and how.

use crate::base::has;
use crate::record::Record;
use anyhow::{Context as _, Result};
use std::path::Path;

/// The option without which ftrace does not know functions in Rust.
const OPTION: &str = "CONFIG_RUST_FUNCTION_TRACER=y";

/// Returns what keeps an object from being patched in a kernel of this configuration, with what to do.
/// Objects that rustc does not make are none of its business.
pub fn objection(record: &Record, config: &str) -> Option<&'static str> {
    if !is_rust(&record.source) {
        return None;
    }
    if !has(config, OPTION) {
        return Some(
            "is Rust, whose functions have no patch site in this kernel; change the C code around it, or \
             build kernels with CONFIG_RUST_FUNCTION_TRACER from now on",
        );
    }
    if has(config, "CONFIG_RUST_INLINE_HELPERS=y") {
        return Some(
            "is Rust, and this kernel has RUST_INLINE_HELPERS: such objects are made by several programs \
             in a row, which this tool can't repeat; change the C code around it",
        );
    }
    if record.source.starts_with("rust") {
        return Some(
            "is of a crate that others are compiled with: its generic and inline functions are in their \
             code too; change what uses it",
        );
    }
    None
}

/// Whether a source is for rustc.
pub fn is_rust(source: &Path) -> bool {
    source.extension().is_some_and(|end| end == "rs")
}

/// Returns the command that makes an object again at `output`, with a section for each function, and the
/// list of what it reads beside it. `word` maps what it names of the tree.
pub fn command(record: &str, output: &str, word: impl Fn(&str) -> String) -> Result<String> {
    let (dir, _) = output
        .rsplit_once('/')
        .context("an object is in a directory")?;
    // Kbuild exports it.
    let mut words = vec!["RUSTC_BOOTSTRAP=1".to_owned()];
    let mut is_out_dir = false;
    for recorded in record.split(' ') {
        if std::mem::replace(&mut is_out_dir, recorded == "--out-dir") {
            words.push(dir.to_owned());
        } else if recorded.starts_with("--emit=dep-info=") {
            words.push(format!("--emit=dep-info={output}.d"));
        } else if recorded.starts_with("--emit=obj=") {
            words.push(format!("--emit=obj={output}"));
        } else if recorded == "-Zfunction-sections=n" {
            words.push("-Zfunction-sections=y".to_owned());
        } else {
            words.push(word(recorded));
        }
    }
    Ok(words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Place;

    fn record(source: &str) -> Record {
        Record {
            object: Path::new(source).with_extension("o"),
            source: source.into(),
            command: String::new(),
            place: Place::Kernel,
        }
    }

    #[test]
    fn what_cannot_be_compiled_again_is_named_with_a_remedy() {
        let traced = "CONFIG_A=y\nCONFIG_RUST_FUNCTION_TRACER=y\n";
        let inlined = format!("{traced}CONFIG_RUST_INLINE_HELPERS=y\n");
        let driver = record("drivers/block/a.rs");
        let in_c = record("drivers/block/a.c");
        assert!(is_rust(&driver.source) && !is_rust(&in_c.source));
        assert_eq!(objection(&in_c, ""), None);
        assert_eq!(objection(&driver, traced), None);
        for (record, config, part) in [
            (&driver, "CONFIG_A=y\n", "no patch site in this kernel"),
            (&driver, &*inlined, "RUST_INLINE_HELPERS"),
            (
                &record("rust/kernel/lib.rs"),
                traced,
                "that others are compiled with",
            ),
        ] {
            let why = objection(record, config).unwrap();
            assert!(why.contains(part) && why.contains("; "), "{why}");
        }
    }

    #[test]
    fn an_object_goes_elsewhere_with_a_section_for_each_function() {
        let recorded = "OBJTREE=/o RUST_MODFILE=d/a rustc -Ccodegen-units=1 -Zfunction-sections=n --extern kernel \
                        -L ./rust/ --out-dir d/ --emit=dep-info=d/.a.o.d --emit=obj=d/a.o /t/d/a.rs";
        let word = |word: &str| word.replace("/t/", "/view/");
        let command = command(recorded, "/p/d/.new-a.o", word).unwrap();
        assert_eq!(
            command,
            "RUSTC_BOOTSTRAP=1 OBJTREE=/o RUST_MODFILE=d/a rustc -Ccodegen-units=1 -Zfunction-sections=y \
             --extern kernel -L ./rust/ --out-dir /p/d --emit=dep-info=/p/d/.new-a.o.d --emit=obj=/p/d/.new-a.o /view/d/a.rs"
        );
    }
}
