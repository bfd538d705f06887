// SPDX-License-Identifier: GPL-2.0
//! The built kernel that a patch is for: its tree, its build directory, and whether they fit
//! together.

use crate::{image, record};
use anyhow::{bail, ensure, Context as _, Result};
use klp_diff::arch;
use object::Object;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use steps::workplace::Workplace;

/// The record of an object that every kernel has.
const EVERYWHERE: &str = "init/main.o";

/// A built kernel. Nothing here or above writes to its tree or to its build directory.
#[derive(Debug)]
pub struct Base {
    /// The tree.
    pub tree: PathBuf,
    /// The build directory, which may be the tree.
    pub out: PathBuf,
    /// How Kbuild's records begin the path of a file of the tree; may be empty.
    pub prefix: String,
    /// Where Kbuild runs objtool later than on each object: how to run it on one.
    pub objtool: Option<String>,
    make: Command,
}

impl Base {
    /// Sets the `make` that has built it, complete except for the goal.
    pub fn with_make(self, make: Command) -> Self {
        Self { make, ..self }
    }

    /// Returns the kernel that was built in the directory `out`, of `tree` if one is given.
    pub fn of_directory(work: &Workplace, out: &Path, tree: Option<&Path>) -> Result<Self> {
        let name = out.display();
        let out = out.canonicalize().with_context(|| {
            format!("--build-dir {name}: name the directory that a kernel was built in")
        })?;
        for file in [
            ".config",
            "vmlinux",
            "Module.symvers",
            "include/config/auto.conf",
        ] {
            ensure!(
                out.join(file).exists(),
                "--build-dir {name}: there is no built kernel in it, for it has no {file}\nnext: build it with \
                 `make`, all of it"
            );
        }
        let path = out.join(record::file(EVERYWHERE));
        let text = fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read {}; next: build the kernel here",
                path.display()
            )
        })?;
        let (command, source) = record::parts(&text)
            .with_context(|| format!("{} is no record of Kbuild", path.display()))?;
        let prefix = source
            .strip_suffix("init/main.c")
            .context("init/main.o is made of another file")?;
        let own = out
            .join(prefix)
            .canonicalize()
            .with_context(|| format!("the tree that {name} was built from is gone: {prefix}"))?;
        if let Some(tree) = tree {
            ensure!(
                tree.canonicalize()? == own,
                "--tree {} is not what --build-dir {name} was built from, which is {}\n\
                 next: leave out --tree",
                tree.display(),
                own.display()
            );
        }
        let compiler = compiler(command);
        let config = fs::read_to_string(out.join(".config"))
            .with_context(|| format!("cannot read the .config in {name}"))?;
        let base = Self {
            make: make(work, &own, &out, (&compiler, architecture(&config))),
            objtool: objtool(&out, &config)?,
            tree: own,
            prefix: prefix.to_owned(),
            out,
        };
        base.check(&compiler, &config)?;
        Ok(base)
    }

    /// Returns a base that nothing is known of but where it is.
    #[cfg(test)]
    pub fn for_test(work: &Workplace, tree: &Path, out: &Path, prefix: &str) -> Self {
        Self {
            make: make(work, tree, out, ("cc", None)),
            tree: tree.to_owned(),
            out: out.to_owned(),
            prefix: prefix.to_owned(),
            objtool: None,
        }
    }

    /// Checks that the directory is of one configuration and compiler, and that both will do.
    fn check(&self, compiler: &str, config: &str) -> Result<()> {
        let name = self.out.display();
        ensure!(
            self.knows_architecture()?,
            "{name}: this kernel is for an architecture whose patches can't be built yet; {} can",
            arch::names().collect::<Vec<_>>().join(", ")
        );
        ensure!(
            has(config, "CONFIG_LIVEPATCH=y"),
            "{name}: this kernel can't be live patched: CONFIG_LIVEPATCH is not set"
        );
        let differ = differences(config, &self.read_text("include/config/auto.conf")?);
        ensure!(
            differ.is_empty(),
            "{name}: its .config was changed after the kernel was built:{differ}\n\
             next: restore the .config, or build the kernel again"
        );
        let version = version(compiler)?;
        let built = config
            .lines()
            .find_map(|line| line.strip_prefix("CONFIG_CC_VERSION_TEXT="));
        let built = built.unwrap_or_default().trim_matches('"');
        ensure!(
            built == version,
            "{name}: the kernel was built with another compiler\n  it was:        {built}\n  \
             `{compiler}` is: {version}\nnext: install that compiler, or build the kernel again"
        );
        ensure!(
            self.tree
                .join("include/linux/livepatch_external.h")
                .exists(),
            "{}: this kernel does not know the tables of the patch engine: there is no \
             include/linux/livepatch_external.h\nnext: use a tree of Linux 6.19 or later",
            self.tree.display()
        );
        Ok(())
    }

    /// Whether the patch engine knows the architecture of the linked kernel.
    fn knows_architecture(&self) -> Result<bool> {
        let bytes = image::read(&self.out.join("vmlinux"))?;
        Ok(arch::of(&bytes).is_some())
    }

    /// Checks that it is the kernel that runs here.
    pub fn check_running(&self) -> Result<()> {
        let notes = fs::read("/sys/kernel/notes").context("cannot read /sys/kernel/notes")?;
        let (running, own) = (build_id_of_notes(&notes), self.build_id()?);
        if running.as_deref() == Some(own.as_str()) {
            return Ok(());
        }
        let read = |path: String| fs::read_to_string(path).unwrap_or_default();
        let release = read("/proc/sys/kernel/osrelease".into()).trim().to_owned();
        let config = read(format!("/boot/config-{release}"));
        let differ = match config.is_empty() {
            true => String::new(),
            false => differences(&self.read_text(".config")?, &config),
        };
        bail!(
            "{} is not the kernel that runs here\n  build ID:  {own}, and {} runs\n  release:   {}, and \
             {release} runs\n  compiler:  {}{}{differ}\nnext: name its build directory, or leave out --running",
            self.out.display(),
            running.as_deref().unwrap_or("none"),
            self.release()?,
            read("/proc/version".into()).trim(),
            if differ.is_empty() { "" } else { "\n  what /boot has of it differs:" },
        )
    }

    /// Returns a `make` for this kernel that lacks only its goal.
    pub fn make(&self) -> Command {
        let mut command = Command::new(self.make.get_program());
        command.args(self.make.get_args());
        for (name, value) in self.make.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Returns a name that tells it from other kernels.
    pub fn key(&self) -> String {
        let path = self.out.to_string_lossy();
        path.trim_start_matches('/').replace('/', "-")
    }

    /// Returns the build ID of the kernel.
    pub fn build_id(&self) -> Result<String> {
        let bytes = image::read(&self.out.join("vmlinux"))?;
        let file = object::File::parse(&*bytes)?;
        let id = file.build_id()?.context("the kernel has no build ID")?;
        Ok(hex(id))
    }

    /// Returns the release of the kernel, as `uname -r` prints it.
    pub fn release(&self) -> Result<String> {
        Ok(self
            .read_text("include/config/kernel.release")?
            .trim()
            .to_owned())
    }

    /// Returns the text of a file of the build directory.
    pub fn read_text(&self, name: &str) -> Result<String> {
        let path = self.out.join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Returns the `make` for a kernel that was built by hand, with this compiler and for this `ARCH`.
fn make(
    work: &Workplace,
    tree: &Path,
    out: &Path,
    (compiler, arch): (&str, Option<&str>),
) -> Command {
    let mut make = Command::new("make");
    make.arg(format!("-j{}", work.jobs))
        .arg("-C")
        .arg(tree)
        .env("LC_ALL", "C");
    // Without it, Kbuild takes that of the host.
    if let Some(arch) = arch {
        make.arg(format!("ARCH={arch}"));
    }
    if tree != out {
        make.arg(format!("O={}", out.display()));
    }
    let program = program(compiler);
    match program.strip_prefix("clang") {
        Some("") => make.arg("LLVM=1"),
        Some(suffix) => make.arg(format!("LLVM={suffix}")),
        None => make.arg(format!("CC={compiler}")),
    };
    if let (Some((cross, _)), true) = (program.rsplit_once("gcc"), program.contains("-gcc")) {
        make.arg(format!("CROSS_COMPILE={cross}"));
    }
    make
}

/// Returns the compiler that a command runs, with what wraps it.
fn compiler(command: &str) -> String {
    let words = command.split(' ').take_while(|word| !word.starts_with('-'));
    words.collect::<Vec<_>>().join(" ")
}

/// Returns the name of the compiler that a command runs.
pub fn program(command: &str) -> String {
    let compiler = compiler(command);
    let name = compiler.rsplit(['/', ' ']).next();
    name.unwrap_or_default().to_owned()
}

/// Returns what a compiler says of its version.
fn version(compiler: &str) -> Result<String> {
    let mut words = compiler.split(' ').filter(|word| !word.is_empty());
    let program = words.next().context("the record names no compiler")?;
    let mut command = Command::new(program);
    command.args(words).arg("--version").env("LC_ALL", "C");
    let output = command.output().with_context(|| {
        format!("cannot run `{compiler}`, which built the kernel; next: install it")
    })?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Returns the `ARCH` that a configuration was made for, as its first comment says.
fn architecture(config: &str) -> Option<&str> {
    let mut comments = config.lines().take_while(|line| line.starts_with('#'));
    let rest = comments.find_map(|line| line.strip_prefix("# Linux/"))?;
    rest.split_whitespace().next()
}

/// Returns how to run objtool on an object, if Kbuild runs it only on the linked kernel or module.
fn objtool(out: &Path, config: &str) -> Result<Option<String>> {
    let delayed = [
        "CONFIG_LTO_CLANG=y",
        "CONFIG_X86_KERNEL_IBT=y",
        "CONFIG_KLP_BUILD=y",
    ];
    if !delayed.iter().any(|line| has(config, line)) {
        return Ok(None);
    }
    let record = fs::read_to_string(out.join(".vmlinux.o.cmd"))
        .context("cannot read .vmlinux.o.cmd in the build directory")?;
    let (command, _) = record.split_once('\n').unwrap_or((&record, ""));
    let Some((_, objtool)) = command.rsplit_once("; ") else {
        return Ok(None);
    };
    // What these check or write is about all of the kernel or module.
    let whole = [
        "--link",
        "--ibt",
        "--noinstr",
        "--unret",
        "--klp-symids",
        "vmlinux.o",
    ];
    let words = objtool
        .split_whitespace()
        .filter(|word| !whole.contains(word));
    Ok(Some(words.collect::<Vec<_>>().join(" ")))
}

/// Whether a configuration has this line.
pub fn has(config: &str, line: &str) -> bool {
    config.lines().any(|own| own == line)
}

/// Returns the differing lines of two configurations, as text.
fn differences(one: &str, other: &str) -> String {
    let options = |text| -> BTreeSet<String> {
        let lines = str::lines(text).filter(|line| line.starts_with("CONFIG_"));
        // A `.config` has quotes around strings. What Kconfig writes for make has none.
        lines.map(|line| line.trim_end().replace('"', "")).collect()
    };
    let (one, other) = (options(one), options(other));
    let differ = one.symmetric_difference(&other).map(|line| {
        let sign = if one.contains(line) { '+' } else { '-' };
        format!("\n  {sign}{line}")
    });
    let lines: Vec<_> = differ.collect();
    match lines.len() {
        0..=20 => lines.concat(),
        many => format!("{}\n  and {} more", lines[..20].concat(), many - 20),
    }
}

/// Returns the build ID in the notes of a kernel: name size, size, type, name, contents each.
fn build_id_of_notes(mut notes: &[u8]) -> Option<String> {
    let word = |bytes: &[u8], at: usize| -> Option<usize> {
        let word = bytes.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(word)).ok()
    };
    loop {
        let (name, size, kind) = (word(notes, 0)?, word(notes, 4)?, word(notes, 8)?);
        let start = 12 + name.next_multiple_of(4);
        let contents = notes.get(start..start.checked_add(size)?)?;
        if kind == 3 && notes.get(12..16) == Some(b"GNU\0") {
            return Some(hex(contents));
        }
        notes = notes.get(start + size.next_multiple_of(4)..)?;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Architecture, BinaryFormat};

    #[test]
    fn a_changed_configuration_is_told_line_by_line() {
        let (config, built) = (
            "# c\nCONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"a b\"\n",
            "CONFIG_B=m\nCONFIG_A=y\nCONFIG_D=a b\n",
        );
        assert_eq!(differences(config, built), "");
        assert_eq!(
            differences("CONFIG_A=m\n", "CONFIG_A=y\n"),
            "\n  +CONFIG_A=m\n  -CONFIG_A=y"
        );
        let many: String = (10..40).map(|n| format!("CONFIG_{n}=y\n")).collect();
        assert!(differences(&many, "").ends_with("and 10 more"));
    }

    /// Returns what looks like a kernel of an architecture.
    fn linked(architecture: Architecture) -> Vec<u8> {
        let little = object::Endianness::Little;
        let object = object::write::Object::new(BinaryFormat::Elf, architecture, little);
        object.write().unwrap()
    }

    /// Makes what looks like a tree and a build directory of a kernel, and returns both.
    fn built(dir: &Path, config: &str) -> (PathBuf, PathBuf) {
        let (tree, out) = (dir.join("tree"), dir.join("out"));
        let record = format!(
            "savedcmd_init/main.o := rustc -c -o init/main.o {0}\n\nsource_init/main.o := {0}\n",
            tree.join("init/main.c").display()
        );
        let auto = config.replace('"', "");
        for (path, text) in [
            (tree.join("include/linux/livepatch_external.h"), ""),
            (tree.join("init/main.c"), ""),
            (out.join("init/.main.o.cmd"), &record),
            (out.join("Module.symvers"), ""),
            (out.join("include/config/auto.conf"), &auto),
            (out.join(".config"), config),
        ] {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        fs::write(out.join("vmlinux"), linked(Architecture::Aarch64)).unwrap();
        (tree, out)
    }

    #[test]
    fn a_directory_of_another_kernel_is_refused_with_the_difference() {
        let (dir, work) = Workplace::for_test().unwrap();
        // Any program that tells its version will do in the place of a compiler.
        let version = version("rustc").unwrap();
        let config = format!("CONFIG_LIVEPATCH=y\nCONFIG_CC_VERSION_TEXT=\"{version}\"\n");
        let of = |out: &Path, tree: Option<&Path>| match Base::of_directory(&work, out, tree) {
            Ok(_) => String::new(),
            Err(error) => format!("{error:#}"),
        };
        let (tree, out) = built(dir.path(), &config);
        assert_eq!(of(&out, Some(&tree)), "");
        let other = of(&out, Some(dir.path()));
        assert!(other.contains("was built from, which is"), "{other}");

        for (config, parts) in [
            (
                config.replace("LIVEPATCH", "NO"),
                ["LIVEPATCH", "is not set"],
            ),
            (
                config.replace(&version, "gcc 1"),
                ["another compiler", "gcc 1"],
            ),
        ] {
            built(dir.path(), &config);
            let error = of(&out, None);
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
        built(dir.path(), &config);
        fs::write(out.join("vmlinux"), linked(Architecture::Riscv64)).unwrap();
        let other = of(&out, None);
        assert!(
            other.contains("architecture") && other.contains("powerpc"),
            "{other}"
        );
        built(dir.path(), &config);
        fs::write(out.join(".config"), format!("{config}CONFIG_NEW=y\n")).unwrap();
        let error = of(&out, None);
        assert!(
            error.contains("was changed after") && error.contains("\n  +CONFIG_NEW=y"),
            "{error}"
        );
        fs::remove_file(out.join("vmlinux")).unwrap();
        assert!(of(&out, None).contains("it has no vmlinux"));
        assert!(of(&dir.path().join("none"), None).contains("--build-dir"));
    }

    #[test]
    fn the_compiler_is_known_by_its_name() {
        for (command, name) in [
            ("gcc -Wall", "gcc"),
            ("ccache /usr/bin/clang-22 -c a.c", "clang-22"),
            ("", ""),
        ] {
            assert_eq!(program(command), name);
        }
    }

    #[test]
    fn make_gets_the_compiler_of_the_record() {
        let (_dir, work) = Workplace::for_test().unwrap();
        let arguments = |command: &str| {
            let make = make(
                &work,
                Path::new("/t"),
                Path::new("/o"),
                (&compiler(command), None),
            );
            make.get_args()
                .map(|word| word.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            arguments("gcc -Wall a b"),
            ["-j1", "-C", "/t", "O=/o", "CC=gcc"]
        );
        assert!(arguments("clang-19 -c").contains(&"LLVM=-19".to_owned()));
        assert!(arguments("ccache /usr/bin/clang -c").contains(&"LLVM=1".to_owned()));
        let cross = arguments("x86_64-linux-gnu-gcc-12 -c");
        assert!(
            cross.contains(&"CC=x86_64-linux-gnu-gcc-12".to_owned()),
            "{cross:?}"
        );
        assert!(
            cross.contains(&"CROSS_COMPILE=x86_64-linux-gnu-".to_owned()),
            "{cross:?}"
        );
    }

    #[test]
    fn make_gets_the_architecture_of_the_configuration() {
        let config = "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/s390 7.3.4 Kernel Configuration\n#\nCONFIG_A=y\n";
        assert_eq!(architecture(config), Some("s390"));
        assert_eq!(architecture("CONFIG_A=y\n# Linux/x86 \n"), None);
        let (_dir, work) = Workplace::for_test().unwrap();
        let make = make(
            &work,
            Path::new("/t"),
            Path::new("/t"),
            ("cc", Some("s390")),
        );
        assert!(make.get_args().any(|word| word == "ARCH=s390"));
    }

    #[test]
    fn the_build_id_is_found_among_other_notes() {
        let note = |kind: u32, name: &[u8], contents: &[u8]| {
            let mut note = Vec::new();
            for word in [name.len() as u32, contents.len() as u32, kind] {
                note.extend(word.to_ne_bytes());
            }
            for part in [name, contents] {
                note.extend(part);
                note.resize(note.len().next_multiple_of(4), 0);
            }
            note
        };
        let other = note(3, b"Linux\0", &[9]);
        let notes = [other.clone(), note(3, b"GNU\0", &[0xab, 1, 2])].concat();
        assert_eq!(build_id_of_notes(&notes).as_deref(), Some("ab0102"));
        assert_eq!(build_id_of_notes(&other), None);
        assert_eq!(build_id_of_notes(&notes[..notes.len() - 4]), None);
    }
}
