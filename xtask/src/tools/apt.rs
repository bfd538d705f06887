// SPDX-License-Identifier: GPL-2.0
//! Installs Debian packages, and downloads single ones from other suites.
//!
//! The right versions of the kernel source and the Rust library source are in suites that the
//! machine does not use. Mixing suites would upgrade half the system, so each suite gets an apt
//! state of its own below the cache. The mirror is the machine's own. apt checks signatures and
//! checksums as usual.

use crate::tools::context::Context;
use crate::tools::need::on_path;
use anyhow::{bail, Context as _, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use steps::place;
use steps::step::{self, Step};
use xshell::{cmd, Shell};

/// Suites to download single packages from, best first. Packages come and go in each suite, so the
/// first suite that has a suitable package is used.
const SUITES: &[&str] = &[
    "bookworm-backports",
    "trixie-backports",
    "trixie",
    "forky-backports",
    "forky",
    "sid",
    "experimental",
];

/// The keys that Debian signs its suites with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// How often to try a mirror. While it is updated, a mirror can be inconsistent for a moment, so
/// `BETWEEN_TRIES` passes before the next try.
const TRIES: u64 = 3;
const BETWEEN_TRIES: Duration = Duration::from_secs(10);

/// How long what a suite has is taken for granted.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// The file in a suite's state that is written after each update.
const UPDATED: &str = "updated";

/// Longest time that an index or a package may take.
const DEADLINE: Duration = Duration::from_secs(20 * 60);

/// Options for every apt-get that fetches.
const FETCH: &[&str] = &[
    "-q",
    "-o=Acquire::Retries=3",
    "-o=Acquire::http::Timeout=60",
    "-o=Acquire::https::Timeout=60",
    "-o=Acquire::Languages=none",
    "-o=Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
    "-o=Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false",
];

/// Whether this machine has apt.
pub fn available() -> bool {
    ["apt-get", "dpkg-deb"]
        .iter()
        .all(|name| on_path(name).is_some())
}

/// How packages can be installed here.
#[derive(Clone, Copy)]
enum Root {
    /// xtask runs as root.
    Us,
    /// `sudo` works without a password.
    Sudo,
}

/// Returns how to become root, or `None` if that is not allowed.
fn root(sh: &Shell) -> Option<Root> {
    if rustix::process::geteuid().is_root() {
        return Some(Root::Us);
    }
    let sudo = cmd!(sh, "sudo -n true").ignore_stderr().read();
    sudo.is_ok().then_some(Root::Sudo)
}

/// Returns advice on how to get these packages. With apt, it is a single command.
pub fn advice(packages: &[&str]) -> String {
    if !available() {
        return format!(
            "install what your distribution has for Debian's {}",
            packages.join(", ")
        );
    }
    let sudo = if rustix::process::geteuid().is_root() {
        ""
    } else {
        "sudo "
    };
    format!(
        "run\n  {sudo}apt-get update && {sudo}apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    )
}

/// Installs the first available package of each list of alternatives.
///
/// If this is not allowed, the error says what to run.
pub fn install(cx: &Context, alternatives: &[&[&str]]) -> Result<()> {
    let first: Vec<&str> = alternatives
        .iter()
        .filter_map(|names| names.first().copied())
        .collect();
    if !available() {
        bail!("no apt here: {}", advice(&first));
    }
    let sh = cx.shell()?;
    let Some(root) = root(&sh) else {
        bail!("not root, and sudo wants a password: {}", advice(&first));
    };
    let _lock = cx.lock("packages")?;
    let mut failure = String::new();
    for attempt in 0..TRIES {
        if attempt > 0 {
            std::thread::sleep(BETWEEN_TRIES);
        }
        // A failed update is ignored: one broken source does not affect the others.
        let _ = step::run(
            cx,
            "Update the package lists",
            apt_get(&sh, root, &["update"]),
        );
        let chosen = choose(&sh, alternatives);
        eprintln!("installing {}", chosen.join(" "));
        let mut arguments = vec!["install", "-y", "--no-install-recommends"];
        arguments.extend(["-o=DPkg::Lock::Timeout=300", "-o=Dpkg::Use-Pty=0"]);
        arguments.extend(&chosen);
        let install = apt_get(&sh, root, &arguments);
        match Step::new(cx, "Install packages", install)
            .deadline(DEADLINE)
            .run()
        {
            Ok(_) => return Ok(()),
            Err(error) => failure = format!("{error:#}"),
        }
    }
    bail!(
        "{failure}\nnext: see why, then {}",
        advice(&choose(&sh, alternatives))
    )
}

fn apt_get(sh: &Shell, root: Root, arguments: &[&str]) -> Command {
    // Both cases use `env`, because sudo drops the environment.
    let command = match root {
        Root::Us => cmd!(sh, "env"),
        Root::Sudo => cmd!(sh, "sudo -n env"),
    };
    let command = command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command.args(FETCH).args(arguments).into()
}

/// Returns the first name of each list that apt can install, or else the list's first name.
fn choose<'a>(sh: &Shell, alternatives: &[&[&'a str]]) -> Vec<&'a str> {
    let exists = |name: &str| {
        let madison = cmd!(sh, "apt-cache madison {name}").ignore_stderr().read();
        madison.is_ok_and(|versions| !versions.is_empty())
    };
    let pick = |names: &&[&'a str]| match names {
        [] => None,
        [only] => Some(*only),
        [first, ..] => Some(names.iter().find(|name| exists(name)).unwrap_or(first)).copied(),
    };
    let mut chosen: Vec<&str> = alternatives.iter().filter_map(pick).collect();
    chosen.sort_unstable();
    chosen.dedup();
    chosen
}

/// An archive of packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Address of the archive, without a trailing slash.
    pub uri: String,
    /// The keyring that verifies it, if that is installed.
    pub keyring: Option<PathBuf>,
}

/// Returns the archive that this machine's own packages come from.
pub fn mirror() -> Result<Mirror> {
    let sh = Shell::new()?;
    let text = cmd!(sh, "apt-get --print-uris update")
        .ignore_stderr()
        .ignore_status()
        .read();
    let text = text.context("cannot ask apt for its archive")?;
    let Some(uri) = archive(&text, codename().as_deref()) else {
        bail!(
            "apt has no archive configured to take packages from: mend its list of sources, \
             or give a kernel checkout with --tree DIR"
        );
    };
    let keyring = Some(PathBuf::from(KEYRING)).filter(|path| path.exists());
    Ok(Mirror { uri, keyring })
}

/// Returns the name of the system's own suite.
pub fn codename() -> Option<String> {
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut lines = release.lines();
    let name = lines.find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    Some(name.trim_matches('"').to_owned())
}

/// Returns an archive from the addresses that `apt-get --print-uris update` printed. It is the one
/// with the system's own suite, or else the first one.
fn archive(print_uris: &str, codename: Option<&str>) -> Option<String> {
    let archives: Vec<(&str, &str)> = print_uris
        .lines()
        .filter_map(|line| {
            line.strip_prefix('\'')?
                .split('\'')
                .next()?
                .split_once("/dists/")
        })
        .collect();
    let own = archives
        .iter()
        .find(|(_, rest)| rest.split('/').next() == codename);
    own.or(archives.first())
        .map(|(uri, _)| uri.trim_end_matches('/').to_owned())
}

/// A downloaded package.
#[derive(Clone, Debug)]
pub struct Download {
    /// The file.
    pub deb: PathBuf,
    /// Its version.
    pub version: String,
}

impl Download {
    /// Returns what the package needs, as it says so.
    pub fn needs(&self, cx: &Context) -> Result<String> {
        let (sh, deb) = (cx.shell()?, &self.deb);
        Ok(cmd!(sh, "dpkg-deb --field {deb} Depends").quiet().read()?)
    }

    /// Unpacks the files of the package below `dest`.
    pub fn unpack(&self, cx: &Context, title: &str, dest: &Path) -> Result<()> {
        let (sh, deb) = (cx.shell()?, &self.deb);
        step::run(cx, title, cmd!(sh, "dpkg-deb -x {deb} {dest}")).map(drop)
    }
}

/// Unpacks packages into the new directory `dest`, and then removes the downloaded files. `finish`
/// completes the directory before it is put in place.
pub fn unpack(
    cx: &Context,
    title: &str,
    packages: &[Download],
    dest: &Path,
    finish: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    place::whole(dest, |partial| {
        let mut packages = packages.iter();
        packages.try_for_each(|package| package.unpack(cx, title, partial))?;
        finish(partial)
    })?;
    let mut packages = packages.iter();
    packages.try_for_each(|package| place::remove(&package.deb))
}

/// Downloads a package into `dir`, from the first suite with a version that `accept` accepts.
pub fn download(
    cx: &Context,
    package: &str,
    accept: impl Fn(&str) -> bool,
    dir: &Path,
) -> Result<Download> {
    if !available() {
        bail!("no apt here to take `{package}` with");
    }
    let _lock = cx.lock("suites")?;
    let mirror = mirror()?;
    let mut tried = Vec::new();
    for name in SUITES {
        let suite = Suite::new(cx, name, &mirror)?;
        for attempt in 0..TRIES {
            if attempt > 0 {
                std::thread::sleep(BETWEEN_TRIES);
            }
            let updated = match attempt {
                0 if suite.is_fresh() => Ok(()),
                _ => suite.update(),
            };
            let Some(version) = suite.versions(package)?.into_iter().find(|v| accept(v)) else {
                let why = updated
                    .err()
                    .map_or("it is not there".into(), |error| brief(&error));
                tried.push(format!("{name}: {why}"));
                break;
            };
            match suite.download(package, &version, dir) {
                Ok(deb) => return Ok(Download { deb, version }),
                Err(error) if attempt + 1 == TRIES => {
                    tried.push(format!("{name}: {}", brief(&error)))
                }
                Err(_) => {}
            }
        }
    }
    bail!(
        "no suite gave `{package}` in a version that fits:\n  {}",
        tried.join("\n  ")
    )
}

/// Returns the names of the packages in all suites that begin with `prefix`.
pub fn names(cx: &Context, prefix: &str) -> Result<BTreeSet<String>> {
    if !available() {
        bail!("no apt here to look for `{prefix}...` with");
    }
    let _lock = cx.lock("suites")?;
    let mirror = mirror()?;
    let (mut names, mut tried) = (BTreeSet::new(), Vec::new());
    for name in SUITES {
        let suite = Suite::new(cx, name, &mirror)?;
        let updated = match suite.is_fresh() {
            true => Ok(()),
            false => suite.update(),
        };
        if let Err(error) = updated {
            tried.push(format!("{name}: {}", brief(&error)));
        }
        names.extend(suite.names(prefix)?);
    }
    if names.is_empty() {
        bail!(
            "no suite has a package `{prefix}...`\n  {}",
            tried.join("\n  ")
        );
    }
    Ok(names)
}

/// Returns the line of an error that names the cause. Several suites are tried, so the rest of each
/// error is left to the logs.
fn brief(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    let said = text
        .lines()
        .find(|line| line.trim_start().starts_with("| E: "));
    said.or(text.lines().next())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The private apt state of one suite.
struct Suite<'a> {
    cx: &'a Context,
    name: &'a str,
    dir: PathBuf,
}

impl<'a> Suite<'a> {
    fn new(cx: &'a Context, name: &'a str, mirror: &Mirror) -> Result<Self> {
        let dir = cx.cache.join("apt").join(name);
        for sub in ["lists/partial", "archives/partial"] {
            std::fs::create_dir_all(dir.join(sub))?;
        }
        // In this state, no package is installed.
        std::fs::write(dir.join("status"), "")?;
        let signed = match &mirror.keyring {
            Some(path) => format!("[signed-by={}] ", path.display()),
            None => String::new(),
        };
        let line = format!("deb {signed}{} {name} main\n", mirror.uri);
        std::fs::write(dir.join("sources.list"), line)?;
        Ok(Self { cx, name, dir })
    }

    /// Returns options that make an apt program see only this suite. They override the machine's
    /// configuration, which still provides proxies and credentials.
    fn options(&self) -> Vec<String> {
        let dir = self.dir.display();
        vec![
            format!("-o=Dir::State={dir}"),
            format!("-o=Dir::State::lists={dir}/lists"),
            format!("-o=Dir::State::status={dir}/status"),
            format!("-o=Dir::Cache={dir}"),
            format!("-o=Dir::Cache::archives={dir}/archives"),
            format!("-o=Dir::Etc::sourcelist={dir}/sources.list"),
            "-o=Dir::Etc::sourceparts=/dev/null".into(),
            "-o=Dir::Etc::preferences=/dev/null".into(),
            "-o=Dir::Etc::preferencesparts=/dev/null".into(),
            // apt's usual unprivileged user could not write below a home directory.
            "-o=APT::Sandbox::User=root".into(),
        ]
    }

    /// Whether the suite was looked into a moment ago, for another package.
    fn is_fresh(&self) -> bool {
        let age = || {
            self.dir
                .join(UPDATED)
                .metadata()
                .ok()?
                .modified()
                .ok()?
                .elapsed()
                .ok()
        };
        age().is_some_and(|age| age < FRESH)
    }

    fn update(&self) -> Result<()> {
        let (sh, options) = (self.cx.shell()?, self.options());
        let title = format!("Look into suite {}", self.name);
        let command = cmd!(sh, "apt-get {FETCH...} {options...} update");
        Step::new(self.cx, &title, command)
            .deadline(DEADLINE)
            .run()?;
        std::fs::write(self.dir.join(UPDATED), "").context("cannot note the update")
    }

    /// Returns the names of the suite's packages that begin with `prefix`.
    fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let (sh, options) = (self.cx.shell()?, self.options());
        let text = cmd!(sh, "apt-cache {options...} pkgnames {prefix}")
            .ignore_stderr()
            .read()?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Returns the versions of a package that the suite has.
    fn versions(&self, package: &str) -> Result<Vec<String>> {
        let (sh, options) = (self.cx.shell()?, self.options());
        let text = cmd!(sh, "apt-cache {options...} madison {package}")
            .ignore_stderr()
            .read()?;
        Ok(madison(&text))
    }

    /// Downloads a package into `dir`. An interrupted download there is resumed.
    fn download(&self, package: &str, version: &str, dir: &Path) -> Result<PathBuf> {
        std::fs::create_dir_all(dir)?;
        let (sh, options) = (self.cx.shell()?, self.options());
        sh.change_dir(dir);
        let title = format!("Download {package} {version}");
        let command = cmd!(
            sh,
            "apt-get {FETCH...} {options...} download {package}={version}"
        );
        Step::new(self.cx, &title, command)
            .deadline(DEADLINE)
            .run()?;
        let prefix = format!("{package}_");
        for entry in std::fs::read_dir(dir)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            // File names omit an epoch, or escape its colon.
            let upstream = version.rsplit(':').next().unwrap_or(version);
            if name.starts_with(&prefix) && name.contains(upstream) && name.ends_with(".deb") {
                return Ok(path);
            }
        }
        bail!(
            "apt-get says it downloaded {package} {version}, but it is not in {}",
            dir.display()
        )
    }
}

/// Returns the versions, which are the second column of `apt-cache madison`.
fn madison(text: &str) -> Vec<String> {
    let versions = text.lines().filter_map(|line| line.split('|').nth(1));
    versions.map(|version| version.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URIS: &str = "\
'http://mirror.example/debian-security/dists/one-security/InRelease' x 0
'http://mirror.example/debian//dists/one/InRelease' x 0
'http://mirror.example/debian/dists/one/main/binary-amd64/Packages.xz' x 0
";

    #[test]
    fn the_archive_is_the_one_with_the_systems_own_suite() {
        assert_eq!(
            archive(URIS, Some("one")).unwrap(),
            "http://mirror.example/debian"
        );
        let first = "http://mirror.example/debian-security";
        assert_eq!(archive(URIS, Some("two")).unwrap(), first);
        assert_eq!(archive(URIS, None).unwrap(), first);
        assert_eq!(archive("E: no sources\n", None), None);
    }

    #[test]
    fn a_suite_is_fresh_for_a_while_after_an_update() {
        let (_dir, cx) = Context::for_test();
        let mirror = Mirror {
            uri: "http://mirror.example/debian".into(),
            keyring: None,
        };
        let suite = Suite::new(&cx, "one", &mirror).unwrap();
        assert!(!suite.is_fresh());
        let updated = suite.dir.join(UPDATED);
        std::fs::write(&updated, "").unwrap();
        assert!(suite.is_fresh());
        let old = std::time::SystemTime::now() - FRESH;
        let file = std::fs::File::options()
            .append(true)
            .open(&updated)
            .unwrap();
        file.set_modified(old).unwrap();
        assert!(!suite.is_fresh());
    }

    #[test]
    fn versions_are_the_second_column() {
        let text = " rust-src | 1.2+x1 | http://mirror.example/debian one/main amd64 Packages\n\
                    rust-src |  1.1-1 | http://mirror.example/debian one/main amd64 Packages\n";
        assert_eq!(madison(text), ["1.2+x1", "1.1-1"]);
        assert!(madison("").is_empty());
    }
}
