// SPDX-License-Identifier: GPL-2.0
//! Writes an initramfs: a cpio archive in the kernel's format, made without root.

use anyhow::{Context as _, Result};
use cpio::newc::{self, ModeFileType};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// An archive being written. It gets its name only when it is complete.
pub struct Archive {
    to: PathBuf,
    file: BufWriter<tempfile::NamedTempFile>,
    directories: BTreeSet<String>,
    inode: u32,
}

impl Archive {
    /// Starts an empty archive that will be named `to`.
    pub fn create(to: &Path) -> Result<Self> {
        let parent = to.parent().context("an archive needs a directory")?;
        std::fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        let file = tempfile::NamedTempFile::new_in(parent)
            .with_context(|| format!("cannot write in {}", parent.display()))?;
        Ok(Self {
            to: to.to_owned(),
            file: BufWriter::new(file),
            directories: BTreeSet::new(),
            inode: 0,
        })
    }

    /// Starts an archive with a copy of another one. The kernel unpacks concatenated archives as if
    /// they were one.
    pub fn on_top_of(base: &Path, to: &Path) -> Result<Self> {
        let mut archive = Self::create(to)?;
        let mut from =
            File::open(base).with_context(|| format!("cannot read {}", base.display()))?;
        std::io::copy(&mut from, &mut archive.file)
            .with_context(|| format!("cannot write {}", to.display()))?;
        Ok(archive)
    }

    /// Adds a directory and its parents.
    pub fn directory(&mut self, name: &str) -> Result<()> {
        let name = name.trim_matches('/');
        let ends = name
            .match_indices('/')
            .map(|(end, _)| end)
            .chain([name.len()]);
        for parent in ends
            .map(|end| &name[..end])
            .filter(|parent| !parent.is_empty())
        {
            if self.directories.insert(parent.to_owned()) {
                self.entry(parent, ModeFileType::Directory, 0o755, &[])?;
            }
        }
        Ok(())
    }

    /// Adds a file with these permissions.
    pub fn file(&mut self, name: &str, mode: u32, content: &[u8]) -> Result<()> {
        self.parent_of(name)?;
        self.entry(name, ModeFileType::Regular, mode & 0o7777, content)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.parent_of(name)?;
        self.entry(name, ModeFileType::Symlink, 0o777, target.as_bytes())
    }

    /// Adds a copy of a file of the host, with its permissions.
    pub fn copy(&mut self, name: &str, from: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let read = || -> std::io::Result<(u32, Vec<u8>)> {
            Ok((from.metadata()?.permissions().mode(), std::fs::read(from)?))
        };
        let (mode, content) = read().with_context(|| format!("cannot read {}", from.display()))?;
        self.file(name, mode, &content)
    }

    /// Adds copies of files of the host to a directory.
    pub fn copy_all(&mut self, dir: &str, files: &[PathBuf]) -> Result<()> {
        for from in files {
            let name = from.file_name().unwrap_or_default().to_string_lossy();
            self.copy(&format!("{dir}/{name}"), from)?;
        }
        Ok(())
    }

    /// Adds copies of everything below a directory of the host.
    pub fn copy_tree(&mut self, name: &str, from: &Path) -> Result<()> {
        self.directory(name)?;
        let list =
            std::fs::read_dir(from).with_context(|| format!("cannot list {}", from.display()))?;
        let mut entries = list.collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let name = format!("{name}/{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type()?;
            if kind.is_dir() {
                self.copy_tree(&name, &entry.path())?;
            } else if kind.is_symlink() {
                self.link(&name, &std::fs::read_link(entry.path())?.to_string_lossy())?;
            } else {
                self.copy(&name, &entry.path())?;
            }
        }
        Ok(())
    }

    /// Puts the finished archive in its place.
    pub fn finish(mut self) -> Result<PathBuf> {
        newc::trailer(&mut self.file)?;
        let file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.persist(&self.to)
            .with_context(|| format!("cannot write {}", self.to.display()))?;
        Ok(self.to)
    }

    fn parent_of(&mut self, name: &str) -> Result<()> {
        match name.trim_matches('/').rsplit_once('/') {
            Some((parent, _)) => self.directory(parent),
            None => Ok(()),
        }
    }

    /// Adds an entry. Every entry belongs to root and was made at the epoch, so the same input
    /// gives the same archive.
    fn entry(&mut self, name: &str, kind: ModeFileType, mode: u32, content: &[u8]) -> Result<()> {
        self.inode += 1;
        let header = newc::Builder::new(name.trim_matches('/'))
            .ino(self.inode)
            .mode(mode)
            .nlink(1)
            .set_mode_file_type(kind);
        let mut writer = header.write(&mut self.file, u32::try_from(content.len())?);
        writer
            .write_all(content)
            .with_context(|| format!("cannot write {}", self.to.display()))?;
        writer.finish()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns name, mode and content of each entry.
    fn entries(path: &Path) -> Vec<(String, u32, Vec<u8>)> {
        let mut file = File::open(path).unwrap();
        let mut entries = Vec::new();
        loop {
            let mut reader = newc::Reader::new(file).unwrap();
            if reader.entry().is_trailer() {
                return entries;
            }
            let mut content = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
            entries.push((
                reader.entry().name().to_owned(),
                reader.entry().mode(),
                content,
            ));
            file = reader.finish().unwrap();
        }
    }

    #[test]
    fn directories_come_once_and_before_what_is_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = Archive::create(&dir.path().join("a/cpio")).unwrap();
        archive.file("usr/bin/tool", 0o755, b"#!").unwrap();
        archive.link("usr/bin/other", "tool").unwrap();
        archive.link("/bin", "usr/bin").unwrap();
        let path = archive.finish().unwrap();
        let expected = [
            ("usr", 0o040_755, ""),
            ("usr/bin", 0o040_755, ""),
            ("usr/bin/tool", 0o100_755, "#!"),
            ("usr/bin/other", 0o120_777, "tool"),
            ("bin", 0o120_777, "usr/bin"),
        ];
        let expected = expected.map(|(name, mode, text)| (name.to_owned(), mode, text.into()));
        assert_eq!(entries(&path), expected);
    }

    #[test]
    fn an_archive_that_is_not_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut archive = Archive::create(&dir.path().join("cpio")).unwrap();
        archive.file("init", 0o755, b"").unwrap();
        drop(archive);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_tree_is_copied_with_its_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join("sub")).unwrap();
        std::fs::write(from.join("sub/run"), "x").unwrap();
        std::fs::set_permissions(from.join("sub/run"), PermissionsExt::from_mode(0o750)).unwrap();
        let mut archive = Archive::create(&dir.path().join("cpio")).unwrap();
        archive.copy_tree("t", &from).unwrap();
        let path = archive.finish().unwrap();
        assert_eq!(
            entries(&path)[2],
            ("t/sub/run".into(), 0o100_750, b"x".into())
        );
    }
}
