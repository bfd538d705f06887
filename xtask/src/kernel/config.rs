// SPDX-License-Identifier: GPL-2.0
//! Configures a kernel: merges fragments into the smallest configuration there is.
//!
//! Kconfig silently drops an option whose dependencies are not met, so the result is checked
//! afterwards.

use crate::kernel::flavour::{Core, Flavour};
use crate::kernel::kconfig;
use crate::kernel::make::Kernel;
use crate::tools::context::Context;
use anyhow::{bail, Context as _, Result};
use ignore::WalkBuilder;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;
use steps::step::Step;
use xshell::cmd;

/// Configures the object directory of a kernel, unless it is up to date.
pub fn apply(cx: &Context, kernel: &Kernel) -> Result<()> {
    let fragments = fragments(cx, kernel)?;
    let stamp = stamp(cx, kernel, &fragments)?;
    let stamp_file = kernel.out.join(".livepatch-rust.stamp");
    if fs::read_to_string(&stamp_file).is_ok_and(|old| old == stamp) {
        return Ok(());
    }
    fs::create_dir_all(&kernel.out)?;
    let run = |title: &str, command: Command| {
        let title = format!(
            "Configure {} {} kernel: {title}",
            kernel.target.name, kernel.core
        );
        Step::new(cx, &title, command).run()
    };
    let with = |goal: &str| -> Result<Command> {
        let mut command = kernel.make(cx)?;
        command.arg(goal);
        Ok(command)
    };
    run("tinyconfig", with("tinyconfig")?)?;
    let sh = cx.shell()?;
    sh.change_dir(&kernel.src);
    let script = kernel.src.join("scripts/kconfig/merge_config.sh");
    let (out, config, parts) = (&kernel.out, kernel.out.join(".config"), &fragments);
    let merge = cmd!(sh, "{script} -m -O {out} {config} {parts...}");
    let mut merge = merge.into();
    kernel.tools.equip(&mut merge)?;
    run("merge", merge)?;
    run("olddefconfig", with("olddefconfig")?)?;
    let available = with("rustavailable")?;
    Step::new(cx, "Check that the tree takes this Rust", available)
        .hint("the lines above say which tool is too old, too new or missing")
        .run()?;
    check(kernel, &fragments)?;
    fs::write(stamp_file, stamp).context("cannot note the configuration")
}

/// Returns the fragments, in the order in which they are merged.
fn fragments(cx: &Context, kernel: &Kernel) -> Result<Vec<PathBuf>> {
    let dir = cx.root.join("xtask/kconfig");
    let mut fragments = vec![
        dir.join("common.config"),
        dir.join(format!("{}.config", kernel.target.name)),
    ];
    for name in kernel.flavour.fragments() {
        fragments.push(dir.join(format!("{name}.config")));
    }
    if kernel.flavour == Flavour::Without {
        return Ok(fragments);
    }
    match (kernel.core, has_choice(&kernel.src)?) {
        (core, true) => {
            fragments.push(dir.join(format!("core-{core}.config")));
            // The series adds the unit tests after the choice.
            if core == Core::Rust && has_option(&kernel.src, "LIVEPATCH_RUST_KUNIT_TEST")? {
                fragments.push(dir.join("kunit.config"));
            }
        }
        // A tree without the choice has the C core.
        (Core::C, false) => {}
        (Core::Rust, false) => bail!(
            "this tree has no Rust livepatch core to choose: kernel/livepatch/Kconfig has no \
                 LIVEPATCH_CORE_RUST\nnext: see that xtask/series adds it, or build with --core c"
        ),
    }
    Ok(fragments)
}

/// Whether a tree has the choice between the cores. Without it, the core is the C core.
pub fn has_choice(src: &Path) -> Result<bool> {
    has_option(src, "LIVEPATCH_CORE_RUST")
}

/// Whether live patching in a tree has an option.
fn has_option(src: &Path, option: &str) -> Result<bool> {
    let kconfig = fs::read_to_string(src.join("kernel/livepatch/Kconfig"))?;
    let mut names = kconfig
        .lines()
        .filter_map(|line| line.trim().strip_prefix("config "));
    Ok(names.any(|name| name == option))
}

/// Returns everything that the configuration depends on, as text.
///
/// The tools are included because Kconfig depends on them: after a change of tools, `make`
/// would ask questions on a terminal.
fn stamp(cx: &Context, kernel: &Kernel, fragments: &[PathBuf]) -> Result<String> {
    let mut stamp = String::new();
    for fragment in fragments {
        let text = fs::read_to_string(fragment).with_context(|| {
            format!(
                "no configuration for {}: {}",
                kernel.target.name,
                fragment.display()
            )
        })?;
        stamp.push_str(&text);
    }
    let compiler = match kernel.flavour.llvm(kernel.target) {
        Some(llvm) => format!("clang{}", llvm.suffix()),
        None => format!("{}gcc", kernel.target.cross_compile()),
    };
    let sh = cx.shell()?;
    let version = cmd!(sh, "{compiler} --version").read();
    stamp.push_str(&version.with_context(|| format!("cannot run {compiler}"))?);
    writeln!(stamp, "{:?}", kernel.tools)?;
    let mut walk = WalkBuilder::new(&kernel.src);
    walk.standard_filters(false).sort_by_file_path(Path::cmp);
    for entry in walk.build() {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("Kconfig") {
            let meta = entry.metadata()?;
            let changed = meta.modified()?.duration_since(SystemTime::UNIX_EPOCH);
            let changed = changed.unwrap_or_default().as_nanos();
            writeln!(stamp, "{} {} {changed}", entry.path().display(), meta.len())?;
        }
    }
    Ok(stamp)
}

/// Checks that the configuration has everything that the fragments ask for.
fn check(kernel: &Kernel, fragments: &[PathBuf]) -> Result<()> {
    let texts = fragments
        .iter()
        .map(fs::read_to_string)
        .collect::<Result<Vec<_>, _>>()?;
    let config = kernel.out.join(".config");
    let got = fs::read_to_string(&config)?;
    let unmet = unmet(&texts, &got);
    if unmet.is_empty() {
        return Ok(());
    }
    let values = symbols(&got);
    let values = values
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix("CONFIG_")?, *value)));
    let values = values.collect();
    let mut lacks = String::new();
    for line in unmet {
        write!(lacks, "\n  {line}")?;
        let symbol = line.trim_start_matches("CONFIG_").split('=').next();
        let arch = kernel.target.kernel_arch;
        let why = kconfig::unmet(&kernel.src, arch, &values, symbol.unwrap_or_default())?;
        for condition in why {
            write!(lacks, "\n    {condition}")?;
        }
    }
    bail!(
        "Kconfig did not take all that xtask/kconfig/ asks for; the configuration in {} lacks{lacks}\n\
         next: add what these depend on to the fragments; what depends on tools or on the \
         architecture can't be had here",
        config.display()
    )
}

/// Returns symbols and their values. The value of a symbol that is not set is `n`.
fn symbols(text: &str) -> BTreeMap<&str, &str> {
    let symbols = text.lines().filter_map(|line| {
        let line = line.trim_end();
        if line.starts_with("CONFIG_") {
            return line.split_once('=');
        }
        let name = line.strip_prefix("# ")?.strip_suffix(" is not set")?;
        name.starts_with("CONFIG_").then_some((name, "n"))
    });
    symbols.collect()
}

/// Returns what the fragments ask for and the configuration lacks. Later fragments overrule earlier
/// ones.
fn unmet(fragments: &[String], config: &str) -> Vec<String> {
    let wanted: BTreeMap<&str, &str> = fragments.iter().flat_map(|text| symbols(text)).collect();
    let got = symbols(config);
    let differ = wanted.into_iter().filter_map(|(name, want)| {
        let got = got.get(name).copied().unwrap_or("n");
        (got != want).then(|| format!("{name}={want} (it is {got})"))
    });
    differ.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kconfig_dropped_is_listed() {
        let fragments = ["CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=y\n".to_owned()];
        let config = "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=y\n# CONFIG_D is not set\n";
        assert_eq!(
            unmet(&fragments, config),
            [
                "CONFIG_B=m (it is y)",
                "CONFIG_C=n (it is y)",
                "CONFIG_D=y (it is n)"
            ]
        );
    }

    #[test]
    fn an_absent_symbol_is_not_set() {
        let off = ["# CONFIG_A is not set\n".to_owned()];
        assert!(unmet(&off, "").is_empty());
        let on = ["CONFIG_A=y\n".to_owned()];
        assert_eq!(unmet(&on, ""), ["CONFIG_A=y (it is n)"]);
    }

    #[test]
    fn a_later_fragment_overrules_an_earlier_one() {
        let fragments = [
            "CONFIG_A=y\n".to_owned(),
            "# CONFIG_A is not set\n".to_owned(),
        ];
        assert!(unmet(&fragments, "").is_empty());
    }

    #[test]
    fn strings_are_compared_whole() {
        let fragments = ["CONFIG_A=\"b c=d\"\n# CONFIG_X=y\n# words\n".to_owned()];
        assert!(unmet(&fragments, "CONFIG_A=\"b c=d\"\n").is_empty());
    }
}
