// SPDX-License-Identifier: GPL-2.0
//! Signs a module as the kernel's own build signs its modules.

use crate::base::Base;
use anyhow::{ensure, Context as _, Result};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program that does it, below the build directory.
const PROGRAM: &str = "scripts/sign-file";

/// How the configuration names the hash.
const HASH: &str = "CONFIG_MODULE_SIG_HASH=";

/// Whose signature a module gets.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The file of the private key, or its URI.
    pub key: String,
    /// The file of its certificate.
    pub certificate: PathBuf,
}

impl Signer {
    /// Checks that modules for a kernel can be signed.
    pub fn check(&self, base: &Base) -> Result<()> {
        self.sign(base, b"nothing").map(drop)
    }

    /// Returns the content of a module's file with its signature.
    pub fn sign(&self, base: &Base, module: &[u8]) -> Result<Vec<u8>> {
        let program = base.out.join(PROGRAM);
        let config = base.read_text(".config")?;
        let hash = config.lines().find_map(|line| line.strip_prefix(HASH));
        let hash = hash.filter(|_| program.exists()).with_context(|| {
            format!(
                "{}: this kernel was built without signatures: there is no {PROGRAM}, or no {HASH}\n\
                 next: build it with CONFIG_MODULE_SIG=y, or leave out --key",
                base.out.display()
            )
        })?;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("module");
        fs::write(&file, module)?;
        let output = Command::new(&program)
            .arg(hash.trim_matches('"'))
            .args([&self.key.clone().into(), &self.certificate, &file])
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot run {}", program.display()))?;
        ensure!(
            output.status.success(),
            "--key {} and --certificate {} can't sign: {}\n\
             next: give a private key and the certificate of the same key; $KBUILD_SIGN_PIN has the passphrase",
            self.key,
            self.certificate.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Ok(fs::read(&file)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steps::workplace::Workplace;

    #[test]
    fn a_module_is_signed_by_the_program_of_the_kernel() {
        let (dir, work) = Workplace::for_test().unwrap();
        let out = dir.path().join("out");
        fs::create_dir_all(out.join("scripts")).unwrap();
        fs::write(out.join(".config"), "CONFIG_MODULE_SIG_HASH=\"sha384\"\n").unwrap();
        let base = Base::for_test(&work, dir.path(), &out, "");
        let signer = |key: &str| Signer {
            key: key.into(),
            certificate: "own.x509".into(),
        };
        let error = signer("own.pem").check(&base).unwrap_err().to_string();
        assert!(error.contains("CONFIG_MODULE_SIG=y"), "{error}");

        let script = "#!/bin/sh\n[ \"$2\" = own.pem ] || { echo key mismatch >&2; exit 1; }\n\
                      echo \"$1 $2 $3\" >>$4\n";
        // A file that this process has open for writing can't be run by any thread.
        let mut shell = Command::new("sh");
        shell.args(["-c", "printf %s \"$1\" >$2 && chmod 755 $2", "sh", script]);
        assert!(shell.arg(out.join(PROGRAM)).status().unwrap().success());
        let signed = signer("own.pem").sign(&base, b"module ").unwrap();
        assert_eq!(signed, b"module sha384 own.pem own.x509\n");
        let error = signer("other.pem").check(&base).unwrap_err().to_string();
        assert!(
            error.contains("key mismatch") && error.contains("next: "),
            "{error}"
        );
    }
}
