// SPDX-License-Identifier: GPL-2.0
//! What a packager says of a live patch, in a file beside its patches.

use crate::{output, Order};
use anyhow::{ensure, Context as _, Result};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// A manifest. It is written in TOML.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    patches: Vec<PathBuf>,
    #[serde(default)]
    kernels: Vec<String>,
    #[serde(default)]
    cves: Vec<String>,
    builder: Option<String>,
    #[serde(default)]
    layouts: Vec<String>,
    replaces: Option<bool>,
    order: Option<u32>,
}

/// A manifest that was read.
#[derive(Debug)]
pub struct Manifest {
    text: Text,
    /// Where its patches are.
    dir: PathBuf,
    /// How messages call it.
    name: String,
}

impl Manifest {
    /// Reads a manifest.
    pub fn read(file: &Path) -> Result<Self> {
        let name = file.display().to_string();
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read the manifest {name}"))?;
        let text: Text = toml::from_str(&text).with_context(|| {
            format!("{name} is no manifest; `klp-diff build --help` has its words")
        })?;
        ensure!(
            !text.patches.is_empty(),
            "{name}: `patches` names no patch\nnext: name patches, or directories of patches"
        );
        Ok(Self {
            text,
            dir: file.parent().unwrap_or(Path::new("")).to_owned(),
            name,
        })
    }

    /// Returns what the module is to be, its patches, and the file that it is in by default.
    pub fn order(self) -> Result<(Order, Vec<PathBuf>, PathBuf)> {
        let Self { text, dir, name } = self;
        let out = PathBuf::from(format!("{}.ko", text.name));
        output::name(&out).with_context(|| format!("{name}: `name` is wrong"))?;
        let order = Order {
            name: text.name,
            cves: text.cves,
            builder: text.builder,
            layouts: text.layouts,
            kernels: text.kernels,
            replaces: text.replaces,
            boot_order: text.order,
            signer: None,
        };
        let patches = text.patches.iter().map(|patch| dir.join(patch)).collect();
        Ok((order, patches, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Order, Vec<PathBuf>, PathBuf)> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("fixes.toml");
        fs::write(&file, text).unwrap();
        let (order, patches, out) = Manifest::read(&file)?.order()?;
        let below = |patch: PathBuf| patch.strip_prefix(dir.path()).unwrap().to_owned();
        Ok((order, patches.into_iter().map(below).collect(), out))
    }

    #[test]
    fn a_manifest_says_all_that_flags_can_and_more() {
        let (order, patches, out) = read(
            "name = 'fixes-1'\npatches = ['b.patch', 'a']\nkernels = ['ab']\ncves = ['CVE-1']\n\
             builder = 'Jo'\nlayouts = ['s']\nreplaces = false\norder = 7\n",
        )
        .unwrap();
        assert_eq!(patches, [Path::new("b.patch"), Path::new("a")]);
        assert_eq!(out, Path::new("fixes-1.ko"));
        assert_eq!((order.replaces, order.boot_order), (Some(false), Some(7)));
        assert_eq!(
            (order.kernels, order.cves),
            (vec!["ab".into()], vec!["CVE-1".into()])
        );
        assert_eq!(
            (order.builder, order.layouts),
            (Some("Jo".into()), vec!["s".into()])
        );
    }

    #[test]
    fn a_wrong_manifest_is_refused_with_the_line() {
        for (text, part) in [
            (
                "name = 'a'\npatches = ['a.patch']\ncve = ['CVE-1']\n",
                "unknown field `cve`",
            ),
            ("name = 'a'\npatches = ['a.patch']\norder = -1\n", "line 3"),
            ("patches = ['a.patch']\n", "missing field `name`"),
            ("name = 'a'\npatches = []\n", "names no patch"),
            ("name = 'a b'\npatches = ['a.patch']\n", "`name` is wrong"),
            ("name = \n", "line 1"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(
                error.contains(part) && error.contains("fixes.toml"),
                "{error}"
            );
        }
    }
}
