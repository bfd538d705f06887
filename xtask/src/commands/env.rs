// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask env`: prints an environment for a shell in which `make` runs the same tools as
//! ours.
//!
//! Without these tools Kconfig finds no Rust, and a tree that had the Rust core silently gets the C
//! core.

use crate::commands::cli;
use crate::kernel::build;
use crate::kernel::flavour::Flavour;
use crate::kernel::make::make_with;
use crate::tools::context::Context;
use crate::tools::target;
use anyhow::{bail, Result};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Env) -> Result<()> {
    if let Some(caveat) = args.arch.caveat() {
        eprintln!("{caveat}");
    }
    let (_, tools) = build::ready(cx, args.arch, Flavour::Plain)?;
    let make = make_with(cx, &tools, args.arch, Flavour::Plain)?;
    std::io::stdout().write_all(&script(&make)?)?;
    eprintln!(
        "for `make` of {name} kernels, in a shell of its own: eval \"$(cargo xtask env --arch {name})\"\n\
         another architecture takes another shell",
        name = args.arch.name
    );
    Ok(())
}

/// Returns shell commands that give a `make` in that shell the variables of this one.
fn script(make: &Command) -> Result<Vec<u8>> {
    let mut script = Vec::new();
    for (name, value) in variables(make)? {
        script.extend(value.as_ref().map_or(&b"unset "[..], |_| b"export "));
        script.extend(name.as_bytes());
        if let Some(value) = value {
            script.push(b'=');
            script.extend(quoted(&value));
        }
        script.push(b'\n');
    }
    Ok(script)
}

/// Returns the variables of a `make`. A variable with the value `None` must be absent. The command
/// line overrules the environment.
fn variables(make: &Command) -> Result<BTreeMap<OsString, Option<OsString>>> {
    let mut variables: BTreeMap<_, _> = make
        .get_envs()
        .filter(|(name, value)| value.is_some() || is_unset(name))
        .map(|(name, value)| (name.to_owned(), value.map(OsStr::to_owned)))
        .collect();
    for argument in make.get_args() {
        let mut parts = argument.as_bytes().splitn(2, |byte| *byte == b'=');
        let (name, value) = (parts.next().unwrap_or_default(), parts.next());
        let (true, Some(value)) = (is_name(name), value) else {
            bail!("`make {}` is nothing to export", argument.display());
        };
        let name = OsStr::from_bytes(name).to_owned();
        variables.insert(name, Some(OsString::from_vec(value.to_vec())));
    }
    Ok(variables)
}

/// Whether a variable that is removed for our `make` is also unset in the shell. Variables that
/// only cargo and rustup read stay, so that both work there as before. A variable with a name that
/// no shell can use did not come from the shell.
fn is_unset(name: &OsStr) -> bool {
    let others = [&b"CARGO"[..], b"RUSTUP_"];
    let name = name.as_bytes();
    is_name(name) && !others.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a shell variable can have that name.
fn is_name(name: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    name.first().is_some_and(|byte| !byte.is_ascii_digit()) && name.iter().all(is_part)
}

/// Quotes a value as one word for any shell. Between single quotes, only a single quote is special.
fn quoted(value: &OsStr) -> Vec<u8> {
    let mut word = vec![b'\''];
    for byte in value.as_bytes() {
        match byte {
            b'\'' => word.extend(br"'\''"),
            byte => word.push(*byte),
        }
    }
    word.push(b'\'');
    word
}

/// Returns advice on how to build the tree that `graft --out` leaves to the user.
pub fn advice(root: &Path, tree: &Path) -> String {
    let word = |path: &Path| String::from_utf8_lossy(&quoted(path.as_os_str())).into_owned();
    let fragments = ["common", target::DEFAULT, "core-rust"]
        .map(|name| word(&root.join(format!("xtask/kconfig/{name}.config"))))
        .join(" \\\n    ");
    let (root, tree, arch) = (word(root), word(tree), target::DEFAULT);
    format!(
        "\nnext, in a shell of its own:
  cd {root} && eval \"$(cargo xtask env --arch {arch})\"
  cd {tree} && make rustavailable
  make tinyconfig && scripts/kconfig/merge_config.sh -m .config \\\n    {fragments}
  make olddefconfig && grep LIVEPATCH_CORE_RUST=y .config && make -j\"$(nproc)\"
In a shell that lacks what `cargo xtask env` exports, `make` drops CONFIG_RUST and silently builds the C \
core. `make rustavailable` tells which tool is missing; and this, whether the core is still Rust:
  grep LIVEPATCH_CORE_RUST .config"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::toolchain::Toolchain;
    use crate::tools::target::TARGETS;

    /// Returns the value of each named variable in a shell after the script, or `-` if it is unset.
    fn after(script: &[u8], before: &[(&str, &str)], names: &[&str]) -> Vec<String> {
        let mut text = script.to_vec();
        for name in names {
            text.extend(format!("printf '%s\\0' \"${{{name}--}}\"\n").bytes());
        }
        let shell = Command::new("sh")
            .args(["-euc", "eval \"$1\"", "sh"])
            .arg(OsStr::from_bytes(&text))
            .envs(before.iter().copied())
            .output()
            .unwrap();
        assert!(shell.status.success(), "{shell:?}");
        let text = String::from_utf8(shell.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn a_shell_gets_each_value_as_it_is() {
        for value in [
            "",
            "plain",
            "two words",
            "it's",
            "'",
            "\"$HOME\" `id` $(id) \\ ; # !",
            "-n",
            "*",
            "a\nb\n",
            "ü",
        ] {
            let mut make = Command::new("make");
            make.arg(format!("A={value}")).env("B", value);
            let script = script(&make).unwrap();
            assert_eq!(after(&script, &[], &["A", "B"]), [value, value]);
        }
    }

    #[test]
    fn the_command_line_overrules_the_environment() {
        let mut make = Command::new("make");
        make.args(["ARCH=arm64", "X=a=b"]);
        make.env_remove("ARCH").env_remove("LLVM").env("X", "other");
        let script = script(&make).unwrap();
        let before = [("ARCH", "x86"), ("LLVM", "1")];
        assert_eq!(
            after(&script, &before, &["ARCH", "LLVM", "X"]),
            ["arm64", "-", "a=b"]
        );
    }

    #[test]
    fn only_what_a_shell_can_have_is_unset_and_cargos_own_stays() {
        let mut make = Command::new("make");
        for name in [
            "MAKE;id",
            "RUST-X",
            "CARGO_HOME",
            "RUSTUP_HOME",
            "MAKEFLAGS",
        ] {
            make.env_remove(name);
        }
        assert_eq!(script(&make).unwrap(), b"unset MAKEFLAGS\n");
    }

    #[test]
    fn what_is_no_variable_is_refused() {
        for argument in ["-j2", "olddefconfig", "--x=y", "=y", "1=y"] {
            let mut make = Command::new("make");
            make.arg(argument);
            assert!(script(&make).is_err(), "{argument}");
        }
    }

    #[test]
    fn it_is_said_how_to_tell_that_the_core_is_still_rust() {
        let text = advice(Path::new("/a"), Path::new("/b c"));
        for part in [
            "eval \"$(cargo xtask env --arch x86_64)\"",
            "cd '/b c'",
            "grep LIVEPATCH_CORE_RUST",
        ] {
            assert!(text.contains(part), "no `{part}` in: {text}");
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let text = advice(root, Path::new("/b"));
        let fragments = text
            .split('\'')
            .filter(|word| word.starts_with('/') && word.ends_with(".config"));
        assert_eq!(fragments.clone().count(), 3, "{text}");
        for fragment in fragments {
            assert!(Path::new(fragment).exists(), "{fragment}");
        }
    }

    #[test]
    fn a_shell_has_the_tools_that_our_own_make_has() {
        let (_dir, cx) = Context::for_test();
        let tools = Toolchain::for_test("/the/sysroot");
        for target in TARGETS {
            let make = make_with(&cx, &tools, target, Flavour::Plain).unwrap();
            let script = script(&make).unwrap();
            let llvm = target.llvm.map_or("-".to_owned(), |llvm| llvm.suffix());
            let wanted = [
                ("ARCH", target.kernel_arch),
                ("CROSS_COMPILE", target.cross_compile()),
                ("LLVM", &llvm),
                ("RUST_LIB_SRC", "/the/library"),
                ("LIBCLANG_PATH", "/the/clang"),
                ("KBUILD_BUILD_USER", "livepatch"),
            ];
            let mut names = wanted.map(|(name, _)| name).to_vec();
            names.push("PATH");
            let got = after(&script, &[], &names);
            assert_eq!(got[..wanted.len()], wanted.map(|(_, value)| value));
            assert!(got[wanted.len()].starts_with("/the/sysroot/bin:/the tools:"));
        }
    }
}
