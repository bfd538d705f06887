// SPDX-License-Identifier: GPL-2.0
//! The file of a module: what it says of itself, and whether it is a live patch for this kernel.
//!
//! The file is opened once. What is checked is what is loaded: see [`Module::load`].

use crate::failure::{describe, Exit, Failure, Result};
use crate::system::{note_build_id, patch_name, System};
use object::{Architecture, Object, ObjectSection};
use rustix::fs::fstat;
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The largest module that is read, compressed or not.
const MOST_BYTES: u64 = 256 << 20;

/// What a module says of itself. `docs/klpctl.rst` defines the fields that begin with `klp_`.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Origin {
    /// The name.
    pub name: String,
    /// The release of the kernel that it is for.
    pub kernel: String,
    /// The build ID of that kernel (`klp_build_id`).
    pub kernel_build_id: Option<String>,
    /// The SHA-256 of the patch of the source that it was made of (`klp_patch_sha256`).
    pub patch_sha256: Option<String>,
    /// Who built it (`klp_builder`).
    pub builder: Option<String>,
    /// The vulnerabilities that it closes (`klp_cve`).
    pub cves: Vec<String>,
    /// Where it stands among those that are loaded at boot (`klp_order`): lower numbers come first.
    pub order: Option<u32>,
    /// Its description.
    pub description: Option<String>,
    /// Its version.
    pub version: Option<String>,
    /// Its own build ID.
    pub build_id: Option<String>,
}

/// A module, read from its file.
pub struct Module {
    /// What it says of itself.
    pub origin: Origin,
    /// Where it was read from.
    pub path: PathBuf,
    /// The file's content.
    pub bytes: Vec<u8>,
    file: File,
    /// What is in a compressed file.
    unpacked: Option<Vec<u8>>,
}

impl Module {
    /// Reads a module, and sees that it is a live patch.
    pub fn read(path: &Path) -> Result<Self> {
        let bad = |why: &str, next: &str| {
            let cause = format!("{}: {why}", path.display());
            Failure::new(Exit::BadFile, cause, next)
        };
        let cannot_read = |error: io::Error| match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Failure::of_system(format_args!("cannot read {}", path.display()), &error)
            }
            _ => bad(&describe(&error), "check the path"),
        };
        let file = File::open(path).map_err(cannot_read)?;
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(bad("this is no file", "name the file of a module"));
        }
        let mut bytes = Vec::new();
        let limited = (&file).take(MOST_BYTES).read_to_end(&mut bytes);
        limited.map_err(cannot_read)?;
        let broken = "it is empty, cut short or broken";
        let again = "copy the file again, and compare its checksum";
        let unpacked = unpack(&bytes).map_err(|_| bad(broken, again))?;
        let content = unpacked.as_deref().unwrap_or(&bytes);
        if bytes.is_empty() || (content.starts_with(b"\x7fELF") && is_cut_short(content)) {
            return Err(bad(broken, again));
        }
        let Some((origin, is_live_patch)) = describe_module(content) else {
            return Err(bad(
                "this is no kernel module",
                "name the file of a module, which ends in .ko",
            ));
        };
        if !is_live_patch {
            return Err(bad(
                "this module is no live patch",
                "other modules are loaded with modprobe or insmod",
            ));
        }
        let module = Self {
            origin,
            path: path.to_owned(),
            bytes,
            file,
            unpacked,
        };
        patch_name(&module.origin.name).map_err(|_| bad("the name in it is no name", again))?;
        Ok(module)
    }

    /// Fails if the module is for another kernel than the running one.
    pub fn check_kernel(&self, system: &System) -> Result<()> {
        let release = system.release();
        let path = self.path.display();
        let next = format!("build or fetch the live patch for {release}");
        let wrong = |cause: String| Err(Failure::new(Exit::BadFile, cause, next.clone()));
        let content = self.unpacked.as_deref().unwrap_or(&self.bytes);
        if !is_for_this_machine(content) {
            return wrong(format!("{path}: it is for another architecture"));
        }
        let own = &self.origin.kernel;
        if *own != release {
            return wrong(format!(
                "{path}: it is for Linux {own}, and this is {release}"
            ));
        }
        match (&self.origin.kernel_build_id, system.build_id()) {
            (Some(own), Some(running)) if *own != running => wrong(format!(
                "{path}: it is for another build of Linux {release}: {own}, and this is {running}"
            )),
            _ => Ok(()),
        }
    }

    /// Loads the module.
    ///
    /// The kernel reads a plain file again, through the descriptor that was opened first: so it
    /// sees the file, and can check its signature and origin, and the path may name another file
    /// by now. Fails before that if the file itself was written to since it was read.
    pub fn load(&self, system: &System) -> io::Result<()> {
        match &self.unpacked {
            Some(bytes) => system.modules.load_bytes(bytes),
            None => {
                let mut now = Vec::new();
                io::Seek::rewind(&mut &self.file)?;
                (&self.file).take(MOST_BYTES).read_to_end(&mut now)?;
                if now != self.bytes {
                    return Err(io::Error::other("the file was changed meanwhile"));
                }
                let before = fstat(&self.file)?;
                system.modules.load_file(&self.file)?;
                let after = fstat(&self.file)?;
                let time =
                    |stat: &rustix::fs::Stat| (stat.st_mtime, stat.st_mtime_nsec, stat.st_size);
                match time(&before) == time(&after) {
                    true => Ok(()),
                    false => Err(io::Error::other(
                        "the file was changed while the kernel read it",
                    )),
                }
            }
        }
    }
}

/// Returns what is in a compressed file, or `None` if the file is not compressed.
fn unpack(bytes: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let reader: Box<dyn Read + '_> = if bytes.starts_with(b"\xfd7zXZ\0") {
        Box::new(lzma_rust2::XzReader::new(bytes, true))
    } else if bytes.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::read::MultiGzDecoder::new(bytes))
    } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(bytes).map_err(io::Error::other)?;
        Box::new(decoder)
    } else {
        return Ok(None);
    };
    let mut content = Vec::new();
    reader.take(MOST_BYTES).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Whether an ELF file lacks its end, where the table of sections is.
fn is_cut_short(content: &[u8]) -> bool {
    match object::File::parse(content) {
        Ok(file) => file.sections().any(|section| section.data().is_err()),
        Err(_) => true,
    }
}

fn is_for_this_machine(content: &[u8]) -> bool {
    let Ok(file) = object::File::parse(content) else {
        return false;
    };
    let own = match std::env::consts::ARCH {
        "x86_64" => Architecture::X86_64,
        "aarch64" => Architecture::Aarch64,
        "s390x" => Architecture::S390x,
        "powerpc64" => Architecture::PowerPc64,
        "riscv64" => Architecture::Riscv64,
        _ => return true,
    };
    file.architecture() == own && file.is_little_endian() == cfg!(target_endian = "little")
}

/// Returns what a module says of itself, and whether it is a live patch. `None` if it is no module.
fn describe_module(content: &[u8]) -> Option<(Origin, bool)> {
    let file = object::File::parse(content).ok()?;
    let modinfo = file.section_by_name(".modinfo")?.data().ok()?;
    let field = |name: &str| {
        modinfo.split(|byte| *byte == 0).find_map(|field| {
            let value = field.strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
            Some(String::from_utf8_lossy(value).into_owned())
        })
    };
    let note = file.section_by_name(".note.gnu.build-id");
    let origin = Origin {
        name: field("name")?,
        kernel: field("vermagic")?.split(' ').next()?.to_owned(),
        kernel_build_id: field("klp_build_id"),
        patch_sha256: field("klp_patch_sha256"),
        builder: field("klp_builder"),
        cves: field("klp_cve").map_or_else(Vec::new, |text| {
            let names = text.split([',', ' ']).filter(|name| !name.is_empty());
            names.map(str::to_owned).collect()
        }),
        order: field("klp_order").and_then(|text| text.parse().ok()),
        description: field("description"),
        version: field("version"),
        build_id: note.and_then(|note| note_build_id(note.data().ok()?)),
    };
    Some((origin, field("livepatch").as_deref() == Some("Y")))
}
