// SPDX-License-Identifier: GPL-2.0
//! The flags that say what a live patch is made of. All programs that make one have them.

use crate::fix::Fix;
use crate::manifest::Manifest;
use crate::sign::Signer;
use crate::{output, Order};
use anyhow::{Context as _, Result};
use clap::Args;
use std::path::PathBuf;

/// Patches that something is to be told of.
#[derive(Args, Debug)]
pub struct Patches {
    /// The patches, or directories of patches, as `git diff` writes them, against the source of the
    /// kernel
    #[arg(value_name = "FIX.patch", required = true)]
    pub patches: Vec<PathBuf>,
}

/// A module that is to be made.
#[derive(Args, Debug, Default)]
pub struct Making {
    /// The patches, or directories of patches, as `git diff` writes them, against the source of the
    /// kernel; several become one module
    #[arg(value_name = "FIX.patch", required_unless_present = "manifest")]
    pub patches: Vec<PathBuf>,
    /// File in TOML that says what is made of which patches, in place of naming them here: `name`,
    /// `patches` (beside it), and as wanted `kernels` (build IDs), `cves`, `builder`, `layouts`,
    /// `replaces` and `order` (a number: those of a lower one are loaded first at boot)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["patches", "cve", "builder", "layout"])]
    pub manifest: Option<PathBuf>,
    /// File for the module; its name is that of the live patch [default: that of the first patch or
    /// directory, here]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Name of what the patch fixes, such as CVE-2026-1234, to be noted in the module; may be given
    /// several times
    #[arg(long, value_name = "NAME")]
    pub cve: Vec<String>,
    /// Who builds the module, such as `Jo Doe <jo@example.org>`, to be noted in it
    #[arg(long, value_name = "WHO")]
    pub builder: Option<String>,
    /// Structure whose layout the patch may change, since no object of it outlives a call of what the
    /// patch changes; may be given several times
    #[arg(long, value_name = "NAME")]
    pub layout: Vec<String>,
    /// Private key to sign the module with, or its `pkcs11:` URI; the kernel's build has to have
    /// scripts/sign-file, and $KBUILD_SIGN_PIN has the passphrase
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub key: Option<String>,
    /// X.509 certificate of that key
    #[arg(long, value_name = "FILE", requires = "key")]
    pub certificate: Option<PathBuf>,
}

/// What these flags ask for.
#[derive(Debug)]
pub struct Asked {
    /// The patches.
    pub fix: Fix,
    /// What the module is to be.
    pub order: Order,
    /// Its file.
    pub out: PathBuf,
}

impl Making {
    /// Reads the patches, and the manifest if there is one.
    pub fn read(&self) -> Result<Asked> {
        let manifest = self.manifest.as_deref().map(Manifest::read).transpose()?;
        let (mut order, patches, default) = match manifest {
            Some(manifest) => manifest.order()?,
            None => {
                let first = self.patches.first().context("no patch is named")?;
                let order = Order {
                    cves: self.cve.clone(),
                    builder: self.builder.clone(),
                    layouts: self.layout.clone(),
                    ..Order::default()
                };
                (order, self.patches.clone(), output::default(first))
            }
        };
        let out = self.out.clone().unwrap_or(default);
        order.name = output::name(&out)?;
        let signer = self.key.clone().zip(self.certificate.clone());
        order.signer = signer.map(|(key, certificate)| Signer { key, certificate });
        Ok(Asked {
            fix: Fix::read(&patches)?,
            order,
            out,
        })
    }
}
