// SPDX-License-Identifier: GPL-2.0
//! Builds a guest's userspace from Debian's packages for its architecture.
//!
//! The packages are unpacked and nothing in them is run, so any host can make a guest of any
//! architecture. This module does what installing the packages would have arranged.

use crate::guest::archive::Archive;
use crate::tools::apt;
use crate::tools::context::Context;
use crate::tools::target::Target;
use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;
use steps::place;
use steps::step::Step;
use xshell::cmd;

/// The size of a userspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Userspace {
    /// Only busybox, which boots fast.
    Small,
    /// The programs that upstream's selftests call.
    Full,
    /// What boots and looks after a machine: systemd, and kpatch(1).
    Distribution,
}

impl Userspace {
    /// Returns its name, for file names.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Full => "full",
            Self::Distribution => "distribution",
        }
    }

    fn packages(self) -> &'static [&'static str] {
        match self {
            Self::Small => &["busybox-static"],
            Self::Full => &[
                "bash",
                "bsdutils",
                "busybox-static",
                "coreutils",
                "diffutils",
                "findutils",
                "gawk",
                "grep",
                "kmod",
                "libc-bin",
                "mount",
                "procps",
                "sed",
                "util-linux",
            ],
            Self::Distribution => &[
                "bash",
                // `column` and `readelf` are kpatch's.
                "binutils",
                "bsdextrautils",
                "busybox-static",
                "coreutils",
                "gawk",
                "grep",
                "kmod",
                "kpatch",
                "libc-bin",
                "mount",
                "sed",
                "systemd",
                "util-linux",
            ],
        }
    }

    /// Returns the suite that the packages have to come from, if not every suite has them.
    fn suite(self) -> Option<&'static str> {
        match self {
            Self::Small | Self::Full => None,
            Self::Distribution => Some("trixie"),
        }
    }
}

/// The suite to use if the host's own is unknown.
const SUITE: &str = "stable";

/// Directories that Debian has merged into `/usr`. Packages of some suites still use the old paths.
const MERGED: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Parts of packages that no guest reads. They are left out, because an initramfs is held in
/// memory.
const UNWANTED: &[&str] = &[
    "usr/share/",
    "usr/include/",
    "usr/lib/locale/",
    "var/",
    "dev/",
];
const UNWANTED_WITHIN: &[&str] = &["/perl", "/gconv/", "/dpkg", "/audit/"];

/// Longest time that fetching the packages may take.
const DEADLINE: Duration = Duration::from_secs(15 * 60);

/// How often fetching is tried. A mirror may be inconsistent for a moment.
const TRIES: usize = 3;

/// Returns the userspace as an archive, from the cache or newly made.
pub fn base(cx: &Context, target: &Target, userspace: Userspace) -> Result<PathBuf> {
    let packages = userspace.packages().join(",");
    let own = || apt::codename().unwrap_or_else(|| SUITE.to_owned());
    let suite = userspace.suite().or(target.suite);
    let suite = suite.map_or_else(own, str::to_owned);
    let key = format!("{}-{suite}-{:08x}", userspace.name(), checksum(&packages));
    let dest = cx.cache.join("userspace").join(target.name).join(key);
    let _lock = cx.lock(&format!("userspace-{}-{}", target.name, userspace.name()))?;
    if !dest.exists() {
        place::room(&dest, place::GIB / 2, "the guest's userspace")?;
        place::whole(&dest, |dir| {
            let tar = dir.join("packages.tar");
            fetch(cx, target, &packages, &suite, &tar)?;
            repack(&tar, &dir.join("root.cpio"))?;
            place::remove(&tar)
        })?;
    }
    Ok(dest.join("root.cpio"))
}

fn fetch(cx: &Context, target: &Target, packages: &str, suite: &str, tar: &Path) -> Result<()> {
    let sh = cx.shell()?;
    let uri = apt::mirror()?.uri;
    let architecture = target.debian_arch;
    let title = format!("Unpack the guest's packages for {}", target.name);
    let attempt = || {
        let command = cmd!(
            sh,
            "mmdebstrap --variant=extract --format=tar --components=main
                --architectures={architecture} --include={packages} {suite} {tar} {uri}"
        );
        Step::new(cx, &title, command)
            .deadline(DEADLINE)
            .hint("if the log shows a network error, try again; else see that the machine's apt works")
            .run()
    };
    let mut result = attempt();
    for _ in 1..TRIES {
        if result.is_err() {
            result = attempt();
        }
    }
    result.map(drop)
}

/// Turns the unpacked packages into a base for initramfs images.
fn repack(tar: &Path, cpio: &Path) -> Result<()> {
    let mut tar = tar::Archive::new(BufReader::new(File::open(tar)?));
    let mut archive = Archive::create(cpio)?;
    let mut files = BTreeSet::new();
    let mut links = BTreeMap::new();
    for entry in tar.entries()? {
        let mut entry = entry.context("mmdebstrap left a broken archive")?;
        let name = merged(&entry.path()?.to_string_lossy());
        if name.is_empty() || unwanted(&name) {
            continue;
        }
        let target = entry
            .link_name()?
            .map(|target| target.to_string_lossy().into_owned());
        match (entry.header().entry_type(), target) {
            (tar::EntryType::Directory, _) => archive.directory(&name)?,
            (tar::EntryType::Regular, _) => {
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                archive.file(&name, entry.header().mode()?, &content)?;
                files.insert(name);
            }
            // A package may have the links of the merged directories, which are made below.
            (tar::EntryType::Symlink, Some(target)) if target == name => {}
            (tar::EntryType::Symlink, Some(target)) => drop(links.insert(name, target)),
            (tar::EntryType::Link, Some(target)) => {
                links.insert(name, format!("/{}", merged(&target)));
            }
            _ => {}
        }
    }
    // In an installed system, the alternatives system would have chosen an awk.
    links
        .entry("usr/bin/awk".into())
        .or_insert_with(|| "gawk".into());
    for top in MERGED {
        links.insert((*top).into(), format!("usr/{top}"));
        archive.directory(&format!("usr/{top}"))?;
    }
    // Packages have links from /usr/bin to files in /bin. Merged, the file itself has the link's
    // path, so the link is left out.
    for (name, target) in links.iter().filter(|(name, _)| !files.contains(*name)) {
        archive.link(name, target)?;
    }
    archive.finish().map(drop)
}

/// Returns where a file of a package goes.
fn merged(name: &str) -> String {
    let name = name.trim_start_matches("./").trim_matches('/');
    let top = name.split('/').next().unwrap_or_default();
    if MERGED.contains(&top) {
        format!("usr/{name}")
    } else {
        name.to_owned()
    }
}

fn unwanted(name: &str) -> bool {
    UNWANTED.iter().any(|prefix| name.starts_with(prefix))
        || UNWANTED_WITHIN.iter().any(|part| name.contains(part))
}

/// Returns an FNV-1a hash, which tells package lists apart and is the same in every build of xtask.
fn checksum(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usr_is_merged() {
        assert_eq!(merged("./bin/stat"), "usr/bin/stat");
        assert_eq!(merged("./lib64/"), "usr/lib64");
        assert_eq!(merged("./usr/bin/awk"), "usr/bin/awk");
        assert_eq!(merged("./library"), "library");
        assert_eq!(merged("./"), "");
    }

    #[test]
    fn a_link_gives_way_to_the_file_it_pointed_to() {
        let dir = tempfile::tempdir().unwrap();
        let tar = dir.path().join("tar");
        let mut builder = tar::Builder::new(File::create(&tar).unwrap());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Symlink);
        builder
            .append_link(&mut header, "./usr/bin/touch", "/bin/touch")
            .unwrap();
        builder
            .append_link(&mut header, "./lib64", "usr/lib64")
            .unwrap();
        header.set_entry_type(tar::EntryType::Regular);
        builder
            .append_data(&mut header, "./bin/touch", std::io::empty())
            .unwrap();
        builder
            .append_data(&mut header, "./usr/share/doc/x", std::io::empty())
            .unwrap();
        builder.finish().unwrap();
        let cpio = dir.path().join("cpio");
        repack(&tar, &cpio).unwrap();
        let content = std::fs::read(cpio).unwrap();
        let count = |name: &str| {
            content
                .windows(name.len())
                .filter(|w| *w == name.as_bytes())
                .count()
        };
        assert_eq!(count("usr/bin/touch\0"), 1);
        // A directory, and the link to it: not a link to itself.
        assert_eq!(count("usr/lib64"), 2);
        assert_eq!(count("doc"), 0);
    }
}
