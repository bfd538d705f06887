// SPDX-License-Identifier: GPL-2.0
//! Who makes commits.

use crate::tools::context::Context;
use anyhow::{Context as _, Result};
use std::process::Command;
use xshell::cmd;

/// A person, as git knows them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name, such as `Ada Lovelace`.
    pub name: String,
    /// The address, without angle brackets.
    pub email: String,
}

impl Identity {
    /// Returns who runs this, from git's environment and settings.
    pub fn of_user(cx: &Context) -> Result<Self> {
        let sh = cx.shell()?;
        // Without this setting, git would make up an address from the name of the machine.
        let ident = cmd!(sh, "git -c user.useConfigOnly=true var GIT_AUTHOR_IDENT");
        let ident = ident.quiet().ignore_stderr().read().ok();
        ident.as_deref().and_then(Self::parse).context(
            "git does not know who you are: the patches would have no author and no sign-off\n\
             next: git config --global user.name \"Your Name\"\n      \
             git config --global user.email you@example.org",
        )
    }

    /// Returns someone whose commits nobody sees.
    pub fn for_checks() -> Self {
        Self {
            name: "Series Check".into(),
            email: "series@example.org".into(),
        }
    }

    /// Parses git's `name <email> time zone`.
    fn parse(ident: &str) -> Option<Self> {
        let (name, rest) = ident.split_once(" <")?;
        let (email, _) = rest.split_once('>')?;
        Some(Self {
            name: name.into(),
            email: email.into(),
        })
    }

    /// Makes this person the author and the committer of what `command` commits, at this date.
    pub fn sign(&self, command: &mut Command, date: &str) {
        for role in ["AUTHOR", "COMMITTER"] {
            command
                .env(format!("GIT_{role}_NAME"), &self.name)
                .env(format!("GIT_{role}_EMAIL"), &self.email)
                .env(format!("GIT_{role}_DATE"), date);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_a_name_and_an_address() {
        let ada = Identity::parse("Ada Lovelace <ada@example.org> 1700000000 +0100").unwrap();
        assert_eq!(
            (ada.name.as_str(), ada.email.as_str()),
            ("Ada Lovelace", "ada@example.org")
        );
        assert_eq!(Identity::parse("nobody"), None);
    }
}
