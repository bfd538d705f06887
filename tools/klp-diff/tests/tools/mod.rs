// SPDX-License-Identifier: GPL-2.0
//! The compilers of the corpus, and a reader for the modules that the engine writes.

#![allow(dead_code, reason = "each test program uses a part of it")]

use klp_diff::names;
use object::elf;
use object::read::elf::{FileHeader, Rela, SectionHeader, Sym};
use object::Endianness;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// A compiler for an architecture, with what makes its functions traceable.
pub struct Compiler {
    pub name: &'static str,
    pub arch: &'static str,
    pub family: &'static str,
    /// The programs that will do, best first.
    programs: &'static [&'static str],
    linker: &'static str,
    package: &'static str,
    flags: &'static [&'static str],
    /// Which of the programs is there.
    program: OnceLock<Option<&'static str>>,
}

/// What rustc gets, as the kernel calls it.
const RUST_FLAGS: &[&str] = &[
    "--edition=2021",
    "--crate-type=lib",
    "--crate-name=corpus",
    "--emit=obj",
    "-Awarnings",
    "-Cpanic=abort",
    "-Copt-level=2",
    "-Ccodegen-units=1",
    "-Cdebuginfo=0",
    "-Crelocation-model=static",
    "-Cforce-unwind-tables=n",
    "-Csymbol-mangling-version=v0",
    "-Zfunction-sections=y",
];

const FLAGS: &[&str] = &[
    "-O2",
    "-g0",
    "-std=gnu11",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-fno-common",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-ffunction-sections",
    "-fdata-sections",
    "-w",
];

const X86_64: &[&str] = &[
    "-pg",
    "-mfentry",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-fcf-protection=none",
];

/// Every compiler.
pub static COMPILERS: [Compiler; 7] = [
    Compiler {
        name: "x86_64-gcc",
        arch: "x86_64",
        family: "gcc",
        programs: &["x86_64-linux-gnu-gcc", "gcc"],
        linker: "ld",
        package: "gcc",
        flags: X86_64,
        program: OnceLock::new(),
    },
    Compiler {
        name: "x86_64-clang",
        arch: "x86_64",
        family: "clang",
        programs: &["clang-22", "clang-19", "clang"],
        linker: "ld",
        package: "clang-19",
        flags: &[
            "--target=x86_64-linux-gnu",
            "-pg",
            "-mfentry",
            "-mcmodel=kernel",
            "-mno-red-zone",
        ],
        program: OnceLock::new(),
    },
    Compiler {
        name: "arm64-gcc",
        arch: "arm64",
        family: "gcc",
        programs: &["aarch64-linux-gnu-gcc"],
        linker: "aarch64-linux-gnu-ld",
        package: "gcc-aarch64-linux-gnu",
        flags: &["-fpatchable-function-entry=2", "-mgeneral-regs-only"],
        program: OnceLock::new(),
    },
    Compiler {
        name: "arm64-clang",
        arch: "arm64",
        family: "clang",
        programs: &["clang-22", "clang-19", "clang"],
        linker: "aarch64-linux-gnu-ld",
        package: "clang-19",
        flags: &["--target=aarch64-linux-gnu", "-fpatchable-function-entry=2"],
        program: OnceLock::new(),
    },
    Compiler {
        name: "s390-gcc",
        arch: "s390",
        family: "gcc",
        programs: &["s390x-linux-gnu-gcc"],
        linker: "s390x-linux-gnu-ld",
        package: "gcc-s390x-linux-gnu",
        flags: &[
            "-pg",
            "-mfentry",
            "-mnop-mcount",
            "-mrecord-mcount",
            "-march=z13",
            "-msoft-float",
        ],
        program: OnceLock::new(),
    },
    Compiler {
        name: "powerpc-gcc",
        arch: "powerpc",
        family: "gcc",
        programs: &["powerpc64le-linux-gnu-gcc"],
        linker: "powerpc64le-linux-gnu-ld",
        package: "gcc-powerpc64le-linux-gnu",
        flags: &[
            "-pg",
            "-mprofile-kernel",
            "-mcmodel=large",
            "-msoft-float",
            "-fno-optimize-sibling-calls",
        ],
        program: OnceLock::new(),
    },
    Compiler {
        name: "powerpc-clang",
        arch: "powerpc",
        family: "clang",
        programs: &["clang-22"],
        linker: "powerpc64le-linux-gnu-ld",
        package: "clang-22",
        flags: &[
            "--target=powerpc64le-linux-gnu",
            "-fpatchable-function-entry=1",
            "-mabi=elfv2",
            "-mcmodel=small",
            "-msoft-float",
            "-mno-altivec",
            "-mno-vsx",
            "-mllvm",
            "-enable-global-merge=false",
        ],
        program: OnceLock::new(),
    },
];

/// rustc for architectures. `rust-toolchain.toml` chooses it. Only the machine's own architecture is
/// sure to have a core library.
pub static RUST_COMPILERS: [Compiler; 2] = [
    Compiler {
        name: "x86_64-rustc",
        arch: "x86_64",
        family: RUSTC,
        programs: &["rustc"],
        linker: "ld",
        package: "rustup",
        flags: &[
            "--target=x86_64-unknown-linux-gnu",
            "-Ccode-model=kernel",
            "-Zcrate-attr=no_std",
        ],
        program: OnceLock::new(),
    },
    Compiler {
        name: "arm64-rustc",
        arch: "arm64",
        family: RUSTC,
        programs: &["rustc"],
        linker: "aarch64-linux-gnu-ld",
        package: "rustup",
        flags: &[
            "--target=aarch64-unknown-none-softfloat",
            "-Zcrate-attr=no_core",
            "-Zcrate-attr=feature(no_core,lang_items,auto_traits,arbitrary_self_types,unboxed_closures)",
            "-Zpatchable-function-entry=2",
        ],
        program: OnceLock::new(),
    },
];

/// The compiler of sources in Rust.
const RUSTC: &str = "rustc";

impl Compiler {
    /// How the names of its sources end.
    pub fn extension(&self) -> &'static str {
        match self.family {
            RUSTC => "rs",
            _ => "c",
        }
    }

    /// Adds the flags of its language; `more` as C compilers take them.
    fn arguments(&self, command: &mut Command, more: &[&str]) {
        if self.family != RUSTC {
            command.args(FLAGS).args(self.flags).args(more);
            command
                .arg(concat!("-I", env!("CARGO_MANIFEST_DIR"), "/include"))
                .arg(concat!(
                    "-I",
                    env!("CARGO_MANIFEST_DIR"),
                    "/tests/corpus/include"
                ))
                .arg("-c");
            return;
        }
        // The kernel uses the same features of the stable compiler.
        command.env("RUSTC_BOOTSTRAP", "1");
        command.args(RUST_FLAGS).args(self.flags);
        for flag in more {
            match flag.strip_prefix("-D") {
                Some(name) if name.contains('=') => {}
                Some(name) => drop(command.args(["--cfg", name])),
                None => drop(command.arg(flag)),
            }
        }
    }

    fn program(&self) -> Option<&'static str> {
        let mut programs = self.programs.iter().copied();
        let starts = |program: &&str| Command::new(program).arg("--version").output().is_ok();
        *self.program.get_or_init(|| programs.find(starts))
    }

    /// Fails if the compiler is not there.
    pub fn require(&self) {
        let package = self.package;
        assert!(
            self.program().is_some(),
            "{} is not installed; next: apt-get install {package}",
            self.programs[0]
        );
    }

    /// Compiles a source.
    pub fn compile(&self, source: &Path, flags: &[&str]) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let object = directory.path().join("out.o");
        let mut command = Command::new(self.program().unwrap());
        self.arguments(&mut command, flags);
        command.arg(source).arg("-o").arg(&object);
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}: {}",
            source.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        std::fs::read(object).unwrap()
    }

    /// Returns what the linker has against an object.
    pub fn link(&self, object: &[u8]) -> Option<String> {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (
            directory.path().join("in.o"),
            directory.path().join("out.o"),
        );
        std::fs::write(&from, object).unwrap();
        let mut command = Command::new(self.linker);
        let output = command
            .arg("-r")
            .arg(&from)
            .arg("-o")
            .arg(&to)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        (!output.status.success() || !text.is_empty()).then(|| format!("{}: {text}", self.linker))
    }
}

/// Returns a name without what compilers add to it: numbers, what they did to a function, and
/// clang's name of the function before a static local. A mangled name of Rust becomes a path without
/// the crate's name and without spaces.
pub fn plain(name: &str) -> String {
    let stable = names::stable(name);
    if stable.contains("::") {
        return stable.replace("corpus::", "").replace(' ', "_");
    }
    let made = ["constprop", "isra", "part", "cold"];
    let mut parts = stable.rsplit('.').filter(|part| !made.contains(part));
    match name.starts_with('.') {
        true => name.to_owned(),
        false => parts.next().unwrap_or_default().to_owned(),
    }
}

/// What a module holds.
#[derive(Debug, Default)]
pub struct Module {
    sections: Vec<ModuleSection>,
    symbols: Vec<ModuleSymbol>,
    /// The fields of the module's information.
    pub modinfo: Vec<String>,
    /// What compilers put at patch sites, where a list names these.
    nop: Option<[u8; 4]>,
}

#[derive(Debug)]
struct ModuleSection {
    name: String,
    size: u64,
    bytes: Vec<u8>,
    /// Offset and symbol of each relocation for it, with the name of the list.
    relocations: Vec<(String, u64, usize, i64)>,
}

#[derive(Debug)]
struct ModuleSymbol {
    name: String,
    section: u16,
    value: u64,
    size: u64,
    kind: elf::SymbolType,
    local: bool,
}

/// What every function refers to because of how it was compiled.
pub const ALWAYS: &[&str] = &["__fentry__", "_mcount", ".TOC."];

impl Module {
    /// Reads a module.
    pub fn read(bytes: &[u8]) -> Self {
        let header = elf::FileHeader64::<Endianness>::parse(bytes).unwrap();
        let endian = header.endian().unwrap();
        let table = header.sections(endian, bytes).unwrap();
        let symbols = table.symbols(endian, bytes, elf::SHT_SYMTAB).unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut module = Self {
            nop: match header.e_machine(endian) {
                elf::EM_AARCH64 => Some([0x1f, 0x20, 0x03, 0xd5]),
                elf::EM_PPC64 => Some([0, 0, 0, 0x60]),
                _ => None,
            },
            ..Self::default()
        };
        for section in table.iter() {
            module.sections.push(ModuleSection {
                name: text(table.section_name(endian, section).unwrap()),
                size: section.sh_size(endian),
                bytes: section.data(endian, bytes).unwrap().to_vec(),
                relocations: Vec::new(),
            });
        }
        for symbol in symbols.iter() {
            module.symbols.push(ModuleSymbol {
                name: text(symbols.symbol_name(endian, symbol).unwrap()),
                section: symbol.st_shndx(endian).0,
                value: symbol.st_value(endian),
                size: symbol.st_size(endian),
                kind: symbol.st_type(),
                local: symbol.is_local(),
            });
        }
        for (index, section) in table.iter().enumerate() {
            let Some((relas, _)) = section.rela(endian, bytes).unwrap() else {
                continue;
            };
            let list = module.sections[index].name.clone();
            for rela in relas {
                let of = &mut module.sections[section.sh_info(endian) as usize];
                of.relocations.push((
                    list.clone(),
                    rela.r_offset(endian),
                    rela.r_sym(endian, false) as usize,
                    rela.r_addend(endian),
                ));
            }
        }
        let modinfo = module
            .sections
            .iter()
            .find(|section| section.name == ".modinfo");
        let fields = modinfo
            .unwrap()
            .bytes
            .split(|&byte| byte == 0)
            .filter(|field| !field.is_empty());
        module.modinfo = fields.map(text).collect();
        module
    }

    /// Returns sorted names without numbers: of `changed` and `new` functions, of `data`, of symbols
    /// `outside`, and of those that are `external`.
    pub fn names(&self, what: &str) -> Vec<String> {
        let changed: BTreeSet<String> = self
            .replaced()
            .iter()
            .map(|name| names::stable(name))
            .collect();
        let of = |kind| {
            self.symbols
                .iter()
                .filter(move |symbol| symbol.kind == kind)
        };
        let functions = of(elf::STT_FUNC).map(|symbol| symbol.name.clone());
        let undefined = self
            .symbols
            .iter()
            .skip(1)
            .filter(|symbol| symbol.section == 0);
        let names: Vec<String> = match what {
            "changed" => changed.into_iter().collect(),
            "new" => functions
                .filter(|name| !changed.contains(&names::stable(name)))
                .collect(),
            "data" => of(elf::STT_OBJECT)
                .map(|symbol| symbol.name.clone())
                .collect(),
            "outside" => self
                .outside()
                .map(|(object, name)| match object.as_str() {
                    "vmlinux" => name,
                    _ => format!("{object}:{name}"),
                })
                .collect(),
            "external" => {
                let names = undefined.map(|symbol| symbol.name.clone());
                names
                    .filter(|name| !ALWAYS.contains(&name.as_str()))
                    .collect()
            }
            _ => panic!("{what}"),
        };
        let whole = names.iter().filter(|name| names::parent(name).is_none());
        let plain: BTreeSet<_> = whole.map(|name| plain(name)).collect();
        plain.into_iter().collect()
    }

    /// Returns the whole names of the functions that are replaced, and of those in the module.
    pub fn whole_names(&self, what: &str) -> Vec<String> {
        let mut names = match what {
            "replaces" => self.replaced(),
            _ => {
                let functions = self.symbols.iter();
                let functions = functions.filter(|symbol| symbol.kind == elf::STT_FUNC);
                functions.map(|symbol| symbol.name.clone()).collect()
            }
        };
        names.sort();
        names
    }

    /// Returns object and name of the symbols that livepatch has to find.
    fn outside(&self) -> impl Iterator<Item = (String, String)> + '_ {
        self.symbols.iter().filter_map(|symbol| {
            let (object, rest) = symbol.name.strip_prefix(".klp.sym.")?.split_once('.')?;
            let (name, _) = rest.rsplit_once(',')?;
            Some((object.to_owned(), name.to_owned()))
        })
    }

    /// Returns the kernel objects that are patched, each with the number of its functions.
    pub fn objects(&self) -> Vec<String> {
        let table = self.section(".init.klp_objects").unwrap();
        let name = |at: u64| {
            let named = table.relocations.iter().find(|found| found.1 == at);
            named.map_or("vmlinux".to_owned(), |(_, _, symbol, addend)| {
                let strings = &self.sections[usize::from(self.symbols[*symbol].section)];
                let rest = &strings.bytes[*addend as usize..];
                String::from_utf8(rest.split(|&byte| byte == 0).next().unwrap().to_vec()).unwrap()
            })
        };
        // A whole `struct klp_object_ext`; no test has so many functions that byte order matters.
        let entries = table.bytes.chunks(64).zip((0..).step_by(64));
        let counted = entries.map(|(entry, at)| {
            let count = entry[56] | entry[59];
            format!("{}:{count}", name(at))
        });
        counted.collect()
    }

    /// Returns the lists of livepatch relocations, by the object that they wait for.
    pub fn lists(&self) -> Vec<String> {
        let names = self.sections.iter().map(|section| section.name.as_str());
        let lists = names.filter_map(|name| name.strip_prefix(".klp.rela."));
        lists.map(str::to_owned).collect()
    }

    /// Returns the sections whose names begin like this.
    pub fn sections_of(&self, prefix: &str) -> Vec<String> {
        let names = self.sections.iter().map(|section| section.name.clone());
        names.filter(|name| name.starts_with(prefix)).collect()
    }

    fn section(&self, name: &str) -> Option<&ModuleSection> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Returns the names in the table of replaced functions.
    fn replaced(&self) -> Vec<String> {
        let table = self
            .sections
            .iter()
            .find(|section| section.name == ".init.klp_funcs")
            .unwrap();
        assert_eq!(table.size % 24, 0);
        let names = table
            .relocations
            .iter()
            .filter(|(_, offset, _, _)| offset % 24 == 0);
        let names = names.map(|(_, _, symbol, addend)| {
            let strings = &self.sections[usize::from(self.symbols[*symbol].section)];
            let rest = &strings.bytes[*addend as usize..];
            String::from_utf8(rest.split(|&byte| byte == 0).next().unwrap().to_vec()).unwrap()
        });
        let names: Vec<_> = names.collect();
        assert_eq!(names.len() as u64, table.size / 24);
        names
    }

    /// Returns how many places in functions the entries of a special section name.
    pub fn entries(&self, name: &str) -> usize {
        let section = self.sections.iter().find(|section| section.name == name);
        let to_code = |(_, _, symbol, _): &&(String, u64, usize, i64)| {
            let symbol = &self.symbols[*symbol];
            let section = self.sections.get(usize::from(symbol.section));
            section.is_some_and(|section| section.name.starts_with(".text"))
        };
        let places: BTreeSet<_> = match section {
            Some(section) => section
                .relocations
                .iter()
                .filter(to_code)
                .map(|at| at.1 / 8)
                .collect(),
            None => BTreeSet::new(),
        };
        places.len()
    }

    /// Returns what is wrong with the patch sites: a tracer shuts itself down where it finds no nop.
    fn faults_of_sites(&self) -> Vec<String> {
        let (Some(nop), Some(list)) = (self.nop, self.section("__patchable_function_entries"))
        else {
            return Vec::new();
        };
        let sites = list.relocations.iter().map(|(_, _, symbol, addend)| {
            let symbol = &self.symbols[*symbol];
            let code = &self.sections[usize::from(symbol.section)];
            (code, symbol.value.wrapping_add_signed(*addend))
        });
        let wrong = sites.filter(|(code, at)| !code.bytes[*at as usize..].starts_with(&nop));
        wrong
            .map(|(code, at)| format!("no nop at the patch site {}+{at:#x}", code.name))
            .collect()
    }

    /// Returns what is wrong with any module.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = self.faults_of_sites();
        let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
        for symbol in &self.symbols {
            *by_name.entry(&symbol.name).or_default() += usize::from(!symbol.local);
            let livepatch = symbol.name.starts_with(".klp.sym.");
            if livepatch != (symbol.section == 0xff20) {
                faults.push(format!(
                    "{} is in section {:#x}",
                    symbol.name, symbol.section
                ));
            }
            let section = self.sections.get(usize::from(symbol.section));
            if let (Some(section), 1..) = (section, symbol.section) {
                if symbol.value + symbol.size > section.size {
                    faults.push(format!("{} is outside {}", symbol.name, section.name));
                }
            }
        }
        faults.extend(
            by_name
                .iter()
                .filter(|(_, &n)| n > 1)
                .map(|(name, _)| format!("two {name}")),
        );
        for section in &self.sections {
            let mut seen = BTreeSet::new();
            for (list, offset, symbol, _) in &section.relocations {
                let livepatch = self.symbols[*symbol].name.starts_with(".klp.sym.");
                let allowed = list.starts_with(".klp.rela.") == livepatch;
                if *offset >= section.size || !allowed || !seen.insert(*offset) {
                    faults.push(format!("a wrong relocation in {list} at {offset:#x}"));
                }
            }
        }
        faults
    }
}
