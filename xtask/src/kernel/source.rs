// SPDX-License-Identifier: GPL-2.0
//! The kernel source: Debian's package of it, or a checkout.
//!
//! Each source has an entry `tree/<key>/` in the cache:
//!
//! | name | content |
//! |---|---|
//! | `linux/` | the scratch tree, which is grafted onto and built |
//! | `originals/` | for the package: the originals of the files that the graft has changed |
//! | `placed` | the names of the files that the graft has added or changed |

use crate::kernel::content::Content;
use crate::tools::apt;
use crate::tools::context::Context;
use crate::tools::need::reaches;
use anyhow::{bail, Context as _, Result};
use ignore::WalkBuilder;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use steps::place;
use steps::step;
use xshell::{cmd, Shell};

/// The kernel series of the packaged source, and the oldest that the Rust core supports.
const SERIES: &str = "7.3";

/// What to do about a tree that has the series already.
pub const WITHOUT_SERIES: &str = "give a tree without the series";

/// A kernel version, as the kernel's Makefile has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    series: String,
    rest: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.series, self.rest)
    }
}

/// How the names of Debian's source packages begin.
const PREFIX: &str = "linux-source-";

/// Where a scratch tree comes from.
#[derive(Clone, Debug)]
enum Origin {
    /// It was unpacked from the package. The originals of files that the graft changes are kept
    /// aside.
    Package,
    /// It follows a checkout.
    Checkout(PathBuf),
}

/// A source of kernels, with its scratch tree.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name of the source, and of everything made from it, in the cache.
    pub key: String,
    /// Its version.
    pub version: Version,
    entry: PathBuf,
    origin: Origin,
}

impl Source {
    /// Returns the source that the user chose. The packaged one is downloaded if the cache has
    /// none.
    pub fn choose(cx: &Context) -> Result<Self> {
        match &cx.tree {
            Some(dir) => Self::checkout(cx, dir),
            None => Self::package(cx),
        }
    }

    fn package(cx: &Context) -> Result<Self> {
        let _lock = cx.lock("source")?;
        let name = match cx.newest {
            true => newest(&apt::names(cx, PREFIX)?)?,
            false => format!("{PREFIX}{SERIES}"),
        };
        let key = match cached(cx, &name) {
            Some(key) => key,
            None => unpack_package(cx, &name)?,
        };
        let entry = trees(cx).join(&key);
        let version = supported(&entry.join("linux"))?;
        Ok(Self {
            key,
            version,
            entry,
            origin: Origin::Package,
        })
    }

    fn checkout(cx: &Context, dir: &Path) -> Result<Self> {
        let version = supported(dir)?;
        if !dir.join(".git").exists() && dir.join("include/config").exists() {
            bail!(
                "{} has been built in, and is no git checkout that would say which files are \
                 source\nnext: run `make mrproper` there",
                dir.display()
            );
        }
        let mut hasher = DefaultHasher::new();
        dir.hash(&mut hasher);
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        let name: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        let key = format!("checkout-{name}-{:08x}", hasher.finish() as u32);
        let entry = trees(cx).join(&key);
        Ok(Self {
            key,
            version,
            entry,
            origin: Origin::Checkout(dir.to_path_buf()),
        })
    }

    /// Returns the scratch tree.
    pub fn linux(&self) -> PathBuf {
        self.entry.join("linux")
    }

    /// Returns a tree of that source with upstream's scripts. It exists even before the first
    /// graft.
    pub fn upstream(&self) -> PathBuf {
        match &self.origin {
            Origin::Package => self.linux(),
            Origin::Checkout(dir) => dir.clone(),
        }
    }

    /// Returns the file in which the graft notes what it has placed.
    pub fn placed(&self) -> PathBuf {
        self.entry.join("placed")
    }

    /// Brings the scratch tree up to date with its origin, except for the files in `placed`.
    pub fn refresh(&self, placed: &BTreeSet<PathBuf>) -> Result<()> {
        let Origin::Checkout(dir) = &self.origin else {
            return Ok(());
        };
        let linux = self.linux();
        if linux.exists() {
            return follow(dir, &linux, placed);
        }
        place::room(
            &linux,
            2 * place::GIB,
            "a scratch copy of the kernel checkout",
        )?;
        fs::create_dir_all(&linux)?;
        let title = format!("Copy {}", dir.display());
        step::work(&title, || follow(dir, &linux, placed))
    }

    /// Returns the content of a file without the graft, or `None` if there is no such file.
    /// `placed` has the files that the graft has placed.
    pub fn original(&self, file: &Path, placed: &BTreeSet<PathBuf>) -> Result<Option<Content>> {
        let path = match &self.origin {
            Origin::Checkout(dir) => dir.join(file),
            Origin::Package if placed.contains(file) => self.kept(file),
            Origin::Package => self.linux().join(file),
        };
        Content::read(&path)
    }

    /// Returns the files that the graft has added, by their names in the tree.
    pub fn added(&self) -> Result<Vec<PathBuf>> {
        let placed = place::read(&self.placed())?.unwrap_or_default();
        let placed = String::from_utf8_lossy(&placed);
        let placed: BTreeSet<PathBuf> = placed.lines().map(PathBuf::from).collect();
        let mut added = Vec::new();
        for file in &placed {
            if self.original(file, &placed)?.is_none() {
                added.push(file.clone());
            }
        }
        Ok(added)
    }

    /// Keeps the original of a file that the graft is about to place for the first time.
    pub fn keep(&self, file: &Path) -> Result<()> {
        let from = self.linux().join(file);
        if matches!(self.origin, Origin::Checkout(_)) || !from.exists() {
            return Ok(());
        }
        let kept = self.kept(file);
        let dir = kept.parent().context("a file is in a directory")?;
        fs::create_dir_all(dir)?;
        let partial = dir.join(".partial");
        fs::copy(&from, &partial)?;
        fs::rename(&partial, &kept).with_context(|| format!("cannot keep {}", kept.display()))
    }

    fn kept(&self, file: &Path) -> PathBuf {
        self.entry.join("originals").join(file)
    }

    /// Returns a source with its scratch tree in `entry`, for tests.
    #[cfg(test)]
    pub fn for_test(entry: &Path) -> Self {
        let version = Version {
            series: SERIES.into(),
            rest: ".0".into(),
        };
        Self {
            key: "test".into(),
            version,
            entry: entry.to_path_buf(),
            origin: Origin::Package,
        }
    }
}

/// Returns the directory of the scratch trees.
fn trees(cx: &Context) -> PathBuf {
    cx.cache.join("tree")
}

/// Returns the name of the newest source package, which is of at least the series of the usual one.
fn newest(names: &BTreeSet<String>) -> Result<String> {
    let series = names.iter().filter_map(|name| {
        let (major, minor) = name.strip_prefix(PREFIX)?.split_once('.')?;
        let series: (u32, u32) = (major.parse().ok()?, minor.parse().ok()?);
        Some((series, name))
    });
    match series.max() {
        Some(((major, minor), name)) if reaches(&format!("{major}.{minor}"), SERIES) => {
            eprintln!("the newest kernel source that Debian has is {name}");
            Ok(name.clone())
        }
        _ => bail!(
            "Debian has no kernel source of {SERIES} or later: leave --newest out, or give a \
             checkout with --tree DIR"
        ),
    }
}

/// Returns the key of the usual source in the cache, if it is there and is the one to use.
pub fn cached_package(cx: &Context) -> Option<String> {
    let usual = format!("{PREFIX}{SERIES}");
    cached(cx, &usual).filter(|_| !cx.newest)
}

/// Returns the key of that package in the cache, if it is there.
fn cached(cx: &Context, package: &str) -> Option<String> {
    let prefix = format!("{package}_");
    let names = fs::read_dir(trees(cx)).ok()?.flatten();
    let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(&prefix)).max()
}

/// Downloads and unpacks the packaged source. Returns its key.
fn unpack_package(cx: &Context, name: &str) -> Result<String> {
    place::room(&trees(cx), 3 * place::GIB, "the kernel source")?;
    let package = apt::download(cx, name, |_| true, &cx.cache.join("incoming"))
        .context("cannot get the kernel source; `--tree DIR` takes a checkout instead")?;
    // Kernels are built at a path with this name, so no character may be special to `make` or to a
    // shell.
    let plain = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let version = package.version.replace(|c| !plain(c), "-");
    let key = format!("{name}_{version}");
    place::whole(&trees(cx).join(&key), |partial| {
        let sh = cx.shell()?;
        let unpacked = partial.join("package");
        package.unpack(cx, &format!("Unpack {name}"), &unpacked)?;
        let archive = unpacked.join("usr/src").join(format!("{name}.tar.xz"));
        let linux = partial.join("linux");
        fs::create_dir(&linux)?;
        let untar = cmd!(sh, "tar -xf {archive} --strip-components=1 -C {linux}");
        step::run(cx, "Unpack the kernel source", untar)?;
        place::remove(&unpacked)
    })?;
    place::remove(&package.deb)?;
    Ok(key)
}

/// Returns the version of a kernel tree. Fails if it is not supported.
fn supported(dir: &Path) -> Result<Version> {
    let version = version(dir)?;
    if !reaches(&version.series, SERIES) {
        bail!(
            "{} is Linux {version}; supported are {SERIES} and later: check one of these out, or \
             leave --tree out to take the packaged {SERIES}",
            dir.display()
        );
    }
    Ok(version)
}

fn version(dir: &Path) -> Result<Version> {
    let not_a_tree = || {
        format!(
            "{} is no kernel tree: give one with --tree DIR",
            dir.display()
        )
    };
    let makefile = fs::read_to_string(dir.join("Makefile")).with_context(not_a_tree)?;
    if !dir.join("kernel/livepatch/Kconfig").exists() {
        bail!(not_a_tree());
    }
    let mut values = BTreeMap::new();
    for line in makefile.lines() {
        if let Some((name, value)) = line.split_once(" =") {
            values.entry(name).or_insert(value.trim());
        }
    }
    let value = |name| values.get(name).copied().with_context(not_a_tree);
    let sublevel = value("SUBLEVEL")?;
    let sublevel = if sublevel == "0" {
        String::new()
    } else {
        format!(".{sublevel}")
    };
    Ok(Version {
        series: format!("{}.{}", value("VERSION")?, value("PATCHLEVEL")?),
        rest: format!("{sublevel}{}", value("EXTRAVERSION")?),
    })
}

/// Makes `linux` like the checkout. Only files that differ are copied. Files that git ignores are
/// left out, and files in `placed` are left alone.
fn follow(checkout: &Path, linux: &Path, placed: &BTreeSet<PathBuf>) -> Result<()> {
    let wanted = match checkout.join(".git").exists() {
        true => versioned(checkout)?,
        false => files(checkout)?,
    };
    let mut stale = files(linux)?;
    for (file, meta) in wanted {
        let old = stale.remove(&file);
        if !placed.contains(&file) && !old.is_some_and(|old| same(&old, &meta)) {
            copy(&checkout.join(&file), &linux.join(&file), &meta)
                .with_context(|| format!("cannot copy {}", file.display()))?;
        }
    }
    for file in stale.keys().filter(|file| !placed.contains(*file)) {
        place::remove(&linux.join(file))?;
    }
    Ok(())
}

/// Returns the files of a git checkout: tracked ones, and new ones that are not ignored.
fn versioned(checkout: &Path) -> Result<BTreeMap<PathBuf, Metadata>> {
    let sh = Shell::new()?;
    sh.change_dir(checkout);
    let list = cmd!(sh, "git ls-files -z --cached --others --exclude-standard").read();
    let list = list.context("cannot list the files of the checkout")?;
    let mut files = BTreeMap::new();
    for file in list.split('\0').filter(|file| !file.is_empty()) {
        match checkout.join(file).symlink_metadata() {
            Ok(meta) if !meta.is_dir() => files.insert(file.into(), meta),
            // A submodule, or a file that was deleted and is still in the index.
            _ => None,
        };
    }
    Ok(files)
}

/// Returns the files and symbolic links below a directory.
fn files(dir: &Path) -> Result<BTreeMap<PathBuf, Metadata>> {
    let mut files = BTreeMap::new();
    for entry in WalkBuilder::new(dir).standard_filters(false).build() {
        let entry = entry?;
        let meta = entry.metadata()?;
        if !meta.is_dir() {
            files.insert(entry.path().strip_prefix(dir)?.to_path_buf(), meta);
        }
    }
    Ok(files)
}

/// Whether a copy is up to date, judged by the attributes that `copy` preserves.
fn same(old: &Metadata, new: &Metadata) -> bool {
    old.file_type() == new.file_type()
        && old.len() == new.len()
        && old.permissions() == new.permissions()
        && (new.is_symlink() || old.modified().ok() == new.modified().ok())
}

fn copy(from: &Path, to: &Path, meta: &Metadata) -> Result<()> {
    place::remove(to)?;
    fs::create_dir_all(to.parent().context("a file is in a directory")?)?;
    if meta.is_symlink() {
        return Ok(std::os::unix::fs::symlink(fs::read_link(from)?, to)?);
    }
    fs::copy(from, to)?;
    Ok(fs::File::options()
        .append(true)
        .open(to)?
        .set_modified(meta.modified()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(dir: &Path, version: &str, patchlevel: &str) {
        fs::create_dir_all(dir.join("kernel/livepatch")).unwrap();
        fs::write(dir.join("kernel/livepatch/Kconfig"), "").unwrap();
        let makefile = format!(
            "# a comment\nVERSION = {version}\nPATCHLEVEL = {patchlevel}\nSUBLEVEL = 4\n\
             EXTRAVERSION =\nNAME = x\n"
        );
        fs::write(dir.join("Makefile"), makefile).unwrap();
    }

    #[test]
    fn only_supported_versions_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        tree(dir.path(), "7", "3");
        assert_eq!(supported(dir.path()).unwrap().to_string(), "7.3.4");
        tree(dir.path(), "6", "12");
        let error = supported(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("Linux 6.12.4") && error.contains("supported are 7.3"),
            "{error}"
        );
        tree(dir.path(), "7", "2");
        assert!(supported(dir.path()).is_err());
        tree(dir.path(), "7", "10");
        assert_eq!(supported(dir.path()).unwrap().to_string(), "7.10.4");
    }

    #[test]
    fn the_newest_source_is_chosen_by_number() {
        let chosen = |names: &[&str]| newest(&names.iter().map(ToString::to_string).collect());
        let names = [
            "linux-source-7.3",
            "linux-source-7.10",
            "linux-source-7.9",
            "linux-source-x.y",
        ];
        assert_eq!(chosen(&names).unwrap(), "linux-source-7.10");
        assert_eq!(chosen(&names[..1]).unwrap(), "linux-source-7.3");
        let error = chosen(&["linux-source-6.12", "linux-source"]).unwrap_err();
        assert!(error.to_string().contains("7.3 or later"), "{error}");
    }

    #[test]
    fn a_directory_that_is_no_kernel_tree_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let error = supported(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no kernel tree"), "{error}");
        fs::write(dir.path().join("Makefile"), "all:\n").unwrap();
        let error = supported(dir.path()).unwrap_err().to_string();
        assert!(error.contains("no kernel tree"), "{error}");
    }

    #[test]
    fn an_added_file_is_one_without_an_original() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::for_test(dir.path());
        assert!(source.added().unwrap().is_empty());
        for name in ["linux/new.c", "linux/changed.c", "originals/changed.c"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        fs::write(source.placed(), "changed.c\nnew.c\n").unwrap();
        assert_eq!(source.added().unwrap(), [Path::new("new.c")]);
    }

    #[test]
    fn a_half_unpacked_tree_is_not_taken_for_the_source() {
        let (_dir, cx) = Context::for_test();
        let name = format!("{PREFIX}{SERIES}_7.3.4-1");
        fs::create_dir_all(trees(&cx).join(format!(".partial-{name}"))).unwrap();
        assert_eq!(cached_package(&cx), None);
        fs::create_dir_all(trees(&cx).join(&name)).unwrap();
        assert_eq!(cached_package(&cx), Some(name));
    }

    #[test]
    fn the_scratch_tree_follows_the_checkout() {
        let dir = tempfile::tempdir().unwrap();
        let (checkout, linux) = (dir.path().join("checkout"), dir.path().join("linux"));
        // The last file is tracked although it is ignored, like all files of some distributions'
        // trees.
        let names = ["a.c", "sub/b.c", ".gitignore", "c.o", "tracked.o"];
        for name in names {
            fs::create_dir_all(checkout.join(name).parent().unwrap()).unwrap();
            fs::write(checkout.join(name), "*.o\n").unwrap();
        }
        fs::create_dir(&linux).unwrap();
        fs::write(linux.join("placed.c"), "ours").unwrap();
        let placed = BTreeSet::from([PathBuf::from("placed.c")]);
        follow(&checkout, &linux, &placed).unwrap();
        assert!(names.iter().all(|name| linux.join(name).exists()));

        let sh = Shell::new().unwrap();
        sh.change_dir(&checkout);
        cmd!(sh, "git init -q").quiet().run().unwrap();
        cmd!(sh, "git add -f tracked.o").quiet().run().unwrap();
        follow(&checkout, &linux, &placed).unwrap();
        assert!(linux.join("sub/b.c").exists() && linux.join("tracked.o").exists());
        assert!(!linux.join("c.o").exists() && !linux.join(".git").exists());
        assert!(linux.join("placed.c").exists());

        let before = linux.join("a.c").metadata().unwrap().modified().unwrap();
        assert_eq!(
            before,
            checkout.join("a.c").metadata().unwrap().modified().unwrap()
        );
        fs::remove_file(checkout.join("sub/b.c")).unwrap();
        fs::write(checkout.join("a.c"), "longer than before").unwrap();
        follow(&checkout, &linux, &placed).unwrap();
        assert!(!linux.join("sub/b.c").exists());
        assert_eq!(fs::read(linux.join("a.c")).unwrap(), b"longer than before");
    }
}
