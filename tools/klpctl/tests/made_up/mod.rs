// SPDX-License-Identifier: GPL-2.0
//! A made-up system: a directory with the files that klpctl reads, and a kernel that changes them.

use klpctl::cli::{Cli, Command};
use klpctl::failure::{Exit, Failure};
use klpctl::output::{Answer, Output};
use klpctl::system::{Modules, System};
use object::write::Object;
use object::{Architecture, BinaryFormat, Endianness, SectionKind};
use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::rc::Rc;

pub const RELEASE: &str = "7.3.4";

/// What the kernel does when a module is loaded: gets the system and the module's content.
type OnLoad = Box<dyn FnMut(&Path, &[u8]) -> io::Result<()>>;

pub struct MadeUp {
    dir: tempfile::TempDir,
    pub output: Output,
    calls: Rc<RefCell<Calls>>,
}

struct Calls {
    on_load: OnLoad,
    unloaded: Vec<String>,
}

struct Kernel {
    root: PathBuf,
    calls: Rc<RefCell<Calls>>,
}

impl Modules for Kernel {
    fn load_file(&self, mut file: &File) -> io::Result<()> {
        let mut bytes = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut bytes)?;
        self.load_bytes(&bytes)
    }

    fn load_bytes(&self, module: &[u8]) -> io::Result<()> {
        (self.calls.borrow_mut().on_load)(&self.root, module)
    }

    fn unload(&self, name: &str) -> io::Result<()> {
        fs::remove_dir_all(self.root.join("sys/module").join(name))?;
        self.calls.borrow_mut().unloaded.push(name.to_owned());
        Ok(())
    }
}

impl MadeUp {
    /// A kernel with live patching, and no live patch.
    pub fn new() -> Self {
        let calls = Calls {
            on_load: Box::new(|root, _| enable(root, "fix", "enabled")),
            unloaded: Vec::new(),
        };
        let own = Self {
            dir: tempfile::tempdir().unwrap(),
            // With JSON nothing asks, and nothing is said in between.
            output: Output::new(true),
            calls: Rc::new(RefCell::new(calls)),
        };
        own.write("proc/sys/kernel/osrelease", RELEASE);
        own.write("proc/uptime", "100.0 1.0");
        own.write("dev/kmsg", "");
        fs::create_dir_all(own.path("sys/kernel/livepatch")).unwrap();
        fs::create_dir_all(own.path("sys/module")).unwrap();
        own
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn write(&self, path: &str, text: &str) {
        write(self.dir.path(), path, text.as_bytes());
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    pub fn patch(&self, name: &str, state: &str) {
        enable(self.dir.path(), name, state).unwrap();
    }

    pub fn on_load(&self, on_load: impl FnMut(&Path, &[u8]) -> io::Result<()> + 'static) {
        self.calls.borrow_mut().on_load = Box::new(on_load);
    }

    pub fn unloaded(&self) -> Vec<String> {
        self.calls.borrow().unloaded.clone()
    }

    /// Writes a module, and returns its path.
    pub fn module(&self, file: &str, modinfo: &[&str]) -> String {
        self.file(file, &module(modinfo))
    }

    pub fn file(&self, file: &str, bytes: &[u8]) -> String {
        write(self.dir.path(), file, bytes);
        self.path(file).display().to_string()
    }

    /// Runs a command line.
    pub fn run(&self, line: &[&str]) -> Result<Answer, Failure> {
        let cli = <Cli as clap::Parser>::try_parse_from(["klpctl"].iter().chain(line)).unwrap();
        let command: Command = cli.command;
        let kernel = Kernel {
            root: self.dir.path().to_owned(),
            calls: Rc::clone(&self.calls),
        };
        let system = System::at(self.dir.path(), Box::new(kernel));
        klpctl::commands::run(&command, &system, &self.output)
    }

    pub fn text(&self, line: &[&str]) -> String {
        self.run(line).unwrap().text
    }

    /// Runs a command line that fails.
    pub fn fails(&self, line: &[&str]) -> (Exit, String) {
        let failure = self.run(line).unwrap_err();
        assert!(!failure.next.is_empty());
        (failure.exit, failure.cause)
    }
}

pub fn write(root: &Path, path: &str, bytes: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Puts a live patch into sysfs, and its module.
pub fn enable(root: &Path, name: &str, state: &str) -> io::Result<()> {
    let (enabled, transition) = match state {
        "enabled" => ("1\n", "0\n"),
        "patching" => ("1\n", "1\n"),
        "unpatching" => ("0\n", "1\n"),
        _ => panic!("{state}"),
    };
    let directory = format!("sys/kernel/livepatch/{name}");
    for (attribute, value) in [
        ("enabled", enabled),
        ("transition", transition),
        ("force", ""),
        ("replace", "0\n"),
        ("stack_order", "1\n"),
        ("vmlinux/patched", "1\n"),
        ("vmlinux/f,1/x", ""),
    ] {
        write(root, &format!("{directory}/{attribute}"), value.as_bytes());
    }
    write(root, &format!("sys/module/{name}/taint"), b"OK\n");
    write(root, &format!("sys/module/{name}/refcnt"), b"0\n");
    Ok(())
}

/// A module with these fields.
pub fn module(modinfo: &[&str]) -> Vec<u8> {
    let endian = match cfg!(target_endian = "little") {
        true => Endianness::Little,
        false => Endianness::Big,
    };
    let mut object = Object::new(BinaryFormat::Elf, Architecture::X86_64, endian);
    let section = object.add_section(Vec::new(), b".modinfo".to_vec(), SectionKind::ReadOnlyData);
    object.append_section_data(section, format!("{}\0", modinfo.join("\0")).as_bytes(), 1);
    object.write().unwrap()
}

/// The fields of a live patch for the made-up kernel.
pub const FIX: &[&str] = &["name=fix", "vermagic=7.3.4 SMP", "livepatch=Y"];
