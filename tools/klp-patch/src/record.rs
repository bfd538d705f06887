// SPDX-License-Identifier: GPL-2.0
//! Kbuild's record of an object: the command that made it, and the files that this read. It is in a
//! file beside the object, such as `.signal.o.cmd`.

use anyhow::{Context as _, Result};
use ignore::WalkBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What an object is part of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The kernel's image.
    Kernel,
    /// A module.
    Module(Module),
    /// Several modules.
    Modules(Vec<Module>),
    /// Neither: the vDSO, what boots, programs of the host.
    Elsewhere,
}

/// A module of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name.
    pub name: String,
    /// The file that it is in, below the build directory.
    pub file: PathBuf,
}

/// What is known of an object.
#[derive(Debug)]
pub struct Record {
    /// The object, below the build directory.
    pub object: PathBuf,
    /// Its source, below the tree.
    pub source: PathBuf,
    /// The command that made it, as make reads it.
    pub command: String,
    /// What it is part of.
    pub place: Place,
}

/// The objects that use some files.
#[derive(Debug, Default)]
pub struct Found {
    /// Their records, in order.
    pub records: Vec<Record>,
    /// The files that any of them uses.
    pub used: BTreeSet<PathBuf>,
}

/// Returns the name of the file with an object's record.
pub fn file(object: &str) -> PathBuf {
    let object = Path::new(object);
    let name = object.file_name().unwrap_or_default().to_string_lossy();
    object.with_file_name(format!(".{name}.cmd"))
}

/// Returns the command and the source in a record.
pub fn parts(record: &str) -> Option<(&str, &str)> {
    let value = |name: &str| {
        let line = record.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(" := ")?.1.trim_end())
    };
    Some((value("savedcmd_")?, value("source_")?))
}

/// Returns the records of all objects whose source, or what that includes, is one of these files.
///
/// `out` is the build directory. `prefix` is how its records begin the path of a file of the tree.
pub fn users(out: &Path, prefix: &str, files: &BTreeSet<PathBuf>) -> Result<Found> {
    let image = fs::read(out.join("vmlinux.a"))
        .context("cannot read vmlinux.a in the build directory; next: build the kernel")?;
    let image = members(&image);
    let modules = modules(out)?;
    let mut walk = WalkBuilder::new(out);
    walk.standard_filters(false).sort_by_file_path(Path::cmp);
    let mut found = Found::default();
    for entry in walk.build() {
        let path = entry?.into_path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(object) = name
            .strip_prefix('.')
            .and_then(|name| name.strip_suffix(".o.cmd"))
        else {
            continue;
        };
        let object = path.with_file_name(format!("{object}.o"));
        let object = object.strip_prefix(out).unwrap_or(&object).to_owned();
        let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&text);
        let used = used(&text, prefix, files);
        let Some((command, source)) = parts(&text).filter(|_| !used.is_empty()) else {
            continue;
        };
        found.records.push(Record {
            place: place(&object, &image, &modules),
            source: normal(source.strip_prefix(prefix).unwrap_or(source)),
            command: command.to_owned(),
            object,
        });
        found.used.extend(used.into_iter().cloned());
    }
    Ok(found)
}

/// Returns which of these files a record names.
fn used<'a>(record: &str, prefix: &str, files: &'a BTreeSet<PathBuf>) -> Vec<&'a PathBuf> {
    let is_used = |file: &&PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        // Most records do not have the name at all.
        let mut places = record.match_indices(&*name);
        places.any(|(at, _)| {
            let start = record[..at]
                .rfind([' ', '\n', '\t'])
                .map_or(0, |space| space + 1);
            let word = record[start..]
                .split_whitespace()
                .next()
                .unwrap_or_default();
            word.strip_prefix(prefix)
                .is_some_and(|word| normal(word) == **file)
        })
    };
    files.iter().filter(is_used).collect()
}

/// Returns a path without `.` and `..`.
pub fn normal(path: impl AsRef<Path>) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.as_ref().components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if normal.file_name().is_some() => {
                normal.pop();
            }
            part => normal.push(part),
        }
    }
    normal
}

/// Returns the members of an archive that names them only.
fn members(archive: &[u8]) -> BTreeSet<PathBuf> {
    let text = String::from_utf8_lossy(archive);
    // The list of long names comes after a header of one line, in which names are cut to size.
    let names = text.split('\n').filter_map(|line| line.strip_suffix('/'));
    names.map(PathBuf::from).collect()
}

/// Returns the modules of a build directory, by the objects that each is made of.
fn modules(out: &Path) -> Result<BTreeMap<PathBuf, Vec<Module>>> {
    let read = |file: &Path| {
        let path = out.join(file);
        fs::read_to_string(&path).with_context(|| {
            format!(
                "cannot read {}; next: build the kernel and its modules",
                path.display()
            )
        })
    };
    let mut modules: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for linked in read(Path::new("modules.order"))?.lines() {
        let linked = Path::new(linked);
        let name = linked.file_stem().unwrap_or_default().to_string_lossy();
        let module = Module {
            name: name.replace('-', "_"),
            file: linked.with_extension("ko"),
        };
        for object in read(&linked.with_extension("mod"))?.lines() {
            modules
                .entry(normal(object))
                .or_default()
                .push(module.clone());
        }
    }
    Ok(modules)
}

/// Returns what an object is part of.
fn place(
    object: &Path,
    image: &BTreeSet<PathBuf>,
    modules: &BTreeMap<PathBuf, Vec<Module>>,
) -> Place {
    match modules.get(object).map(Vec::as_slice) {
        _ if image.contains(object) => Place::Kernel,
        Some([module]) => Place::Module(module.clone()),
        Some(modules) => Place::Modules(modules.to_vec()),
        None => Place::Elsewhere,
    }
}

impl Place {
    /// Returns the name of the module, or nothing for the kernel.
    pub fn module(&self) -> Option<&str> {
        match self {
            Self::Module(module) => Some(&module.name),
            _ => None,
        }
    }

    /// Returns the linked kernel or module, below the build directory.
    pub fn image(&self) -> &Path {
        match self {
            Self::Module(module) => &module.file,
            _ => Path::new("vmlinux"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str =
        "savedcmd_fs/proc/a.o := gcc -c -o fs/proc/a.o /t/fs/proc/a.c ; objtool fs/proc/a.o\n\n\
                          source_fs/proc/a.o := /t/fs/proc/a.c\n\ndeps_fs/proc/a.o := \\\n  \
                          $(wildcard include/config/A) \\\n  /t/fs/proc/../internal.h \\\n  \
                          /t/include/linux/big.h \\\n";

    fn used_of(files: &[&str]) -> Vec<String> {
        let files = files.iter().map(PathBuf::from).collect();
        let used = used(RECORD, "/t/", &files);
        used.iter().map(|file| file.display().to_string()).collect()
    }

    #[test]
    fn a_record_has_a_command_and_a_source() {
        assert_eq!(file("fs/proc/a.o"), Path::new("fs/proc/.a.o.cmd"));
        let (command, source) = parts(RECORD).unwrap();
        assert!(command.starts_with("gcc ") && command.ends_with("objtool fs/proc/a.o"));
        assert_eq!(source, "/t/fs/proc/a.c");
        assert_eq!(parts("savedcmd_a := true\n"), None);
    }

    #[test]
    fn an_object_uses_its_source_and_its_headers_and_no_namesakes() {
        assert_eq!(used_of(&["fs/proc/a.c"]), ["fs/proc/a.c"]);
        assert_eq!(used_of(&["fs/internal.h"]), ["fs/internal.h"]);
        assert_eq!(
            used_of(&["include/linux/big.h", "big.h"]),
            ["include/linux/big.h"]
        );
        assert!(used_of(&["linux/big.h", "fs/a.c", "proc/a.c", "internal.h"]).is_empty());
    }

    #[test]
    fn an_object_is_in_the_kernel_or_in_a_module_or_elsewhere() {
        let image = members(
            b"!<thin>\n//              26        `\ninit/main.o/\nlib/sort.o/\n\n/0   0 `\n",
        );
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir(dir.path().join("lib")).unwrap();
        assert!(modules(dir.path()).is_err());
        write("modules.order", "lib/b-c.o\nlib/d.o\n");
        write("lib/b-c.mod", "lib/b-c.o\n");
        write("lib/d.mod", "lib/one.o\nlib/b-c.o\n");
        let modules = modules(dir.path()).unwrap();
        let of = |object: &str| place(Path::new(object), &image, &modules);
        assert_eq!(of("lib/sort.o"), Place::Kernel);
        assert_eq!(of("arch/vdso/lib.o"), Place::Elsewhere);
        let one = of("lib/one.o");
        assert_eq!(
            (one.module(), one.image()),
            (Some("d"), Path::new("lib/d.ko"))
        );
        let Place::Modules(both) = of("lib/b-c.o") else {
            panic!("the object is in two modules")
        };
        assert_eq!((both[0].name.as_str(), both[1].name.as_str()), ("b_c", "d"));
    }
}
