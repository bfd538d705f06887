// SPDX-License-Identifier: GPL-2.0
//! Symbols that the module refers to outside of itself: which are exported, and which of several of
//! one name is meant.
//!
//! Livepatch finds a symbol that is not exported by its name and its position among all of that name
//! (*sympos*): for the kernel in the order of addresses, for a module in that of its symbol table. 0
//! stands for the only one.

use crate::error::{Error, Input, Reason};
use object::elf;
use object::read::elf::{FileHeader, Sym};
use object::Endianness;
use std::collections::{BTreeMap, BTreeSet};

/// The symbols that the kernel and its modules export: the contents of `Module.symvers`.
#[derive(Clone, Debug, Default)]
pub struct Exports<'d>(BTreeMap<&'d str, &'d str>);

impl<'d> Exports<'d> {
    /// Reads `Module.symvers`: in each line a CRC, the symbol, the module, the kind of the export, and
    /// its namespace. What is exported for certain modules only is not exported to a live patch.
    pub fn parse(text: &'d str) -> Self {
        let lines = text.lines().filter_map(|line| {
            let mut fields = line.split('\t').skip(1);
            let (symbol, module) = (fields.next()?, fields.next()?);
            let namespace = fields.nth(1).unwrap_or_default();
            let is_for_all = !namespace.starts_with("module:");
            is_for_all.then(|| (symbol, module.rsplit('/').next().unwrap_or(module)))
        });
        Self(lines.collect())
    }

    /// Returns the module that exports a symbol, or `vmlinux`.
    pub fn exporter(&self, symbol: &str) -> Option<&'d str> {
        self.0.get(symbol).copied()
    }
}

/// The symbol table of the linked kernel or module that is to be patched.
#[derive(Clone, Debug)]
pub struct Image<'d> {
    symbols: Vec<ImageSymbol<'d>>,
    by_name: BTreeMap<&'d str, Vec<usize>>,
    /// The local symbols of each source file in the table.
    files: Vec<BTreeSet<&'d str>>,
}

#[derive(Clone, Debug)]
struct ImageSymbol<'d> {
    address: u64,
    size: u64,
    local: bool,
    /// The file that its place in the table says, and that file's name.
    file: (usize, &'d str),
}

impl<'d> Image<'d> {
    /// Reads the symbol table of an image.
    pub fn parse(bytes: &'d [u8]) -> Result<Self, Error> {
        let malformed = |error: object::read::Error| Error::Malformed {
            input: Input::Image,
            what: error.to_string(),
        };
        let header = elf::FileHeader64::<Endianness>::parse(bytes).map_err(malformed)?;
        let endian = header.endian().map_err(malformed)?;
        let sections = header.sections(endian, bytes).map_err(malformed)?;
        let table = sections
            .symbols(endian, bytes, elf::SHT_SYMTAB)
            .map_err(malformed)?;
        let linked = header.e_type(endian) != elf::ET_REL;
        let mut image = Self {
            symbols: Vec::new(),
            by_name: BTreeMap::new(),
            files: vec![BTreeSet::new()],
        };
        let mut file = (0, "");
        for symbol in table.iter() {
            let name = table.symbol_name(endian, symbol).map_err(malformed)?;
            let Ok(name) = std::str::from_utf8(name) else {
                continue;
            };
            if symbol.st_type() == elf::STT_FILE {
                file = (image.files.len(), name);
                image.files.push(BTreeSet::new());
                continue;
            }
            let kept = matches!(
                symbol.st_type(),
                elf::STT_FUNC | elf::STT_OBJECT | elf::STT_NOTYPE
            );
            if !kept || name.is_empty() || symbol.is_undefined(endian) || symbol.is_absolute(endian)
            {
                continue;
            }
            let local = symbol.is_local();
            if let (true, Some(names)) = (local, image.files.get_mut(file.0)) {
                names.insert(name);
            }
            image
                .by_name
                .entry(name)
                .or_default()
                .push(image.symbols.len());
            image.symbols.push(ImageSymbol {
                address: symbol.st_value(endian),
                size: symbol.st_size(endian),
                local,
                file,
            });
        }
        if linked {
            let Self {
                symbols, by_name, ..
            } = &mut image;
            let address = |index: &usize| symbols.get(*index).map(|symbol| symbol.address);
            by_name
                .values_mut()
                .for_each(|indices| indices.sort_by_key(address));
        }
        Ok(image)
    }

    /// Whether the image defines a symbol of this name.
    pub fn defines(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Whether the image defines a global symbol of this name.
    pub fn defines_global(&self, name: &str) -> bool {
        let same = self.by_name.get(name).into_iter().flatten();
        let mut symbols = same.filter_map(|&index| self.symbols.get(index));
        symbols.any(|symbol| !symbol.local)
    }

    /// Returns the position of a symbol among those of its name.
    pub fn position(&self, wanted: &Wanted<'_>) -> Result<u64, Reason> {
        let same = self.by_name.get(wanted.name).ok_or(Reason::NotInImage)?;
        if same.len() == 1 {
            return Ok(0);
        }
        let fits = |file: bool, index: &usize| {
            let Some(symbol) = self.symbols.get(*index) else {
                return false;
            };
            let neighbours = self.files.get(symbol.file.0);
            let all = neighbours.is_some_and(|names| wanted.neighbours.is_subset(names));
            symbol.local == wanted.local
                && symbol.size == wanted.size
                && (!symbol.local || symbol.file.1 == wanted.file && (all || !file))
        };
        // The other local symbols of the file tell files of one name apart.
        for file in [false, true] {
            let mut found = (1..).zip(same).filter(|(_, index)| fits(file, index));
            if let (Some((position, _)), None) = (found.next(), found.next()) {
                return Ok(position);
            }
        }
        Err(Reason::NotUnique(same.len()))
    }
}

/// What is known of a symbol that is looked for in an image.
#[derive(Debug)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its source file.
    pub file: &'a str,
    /// Its size.
    pub size: u64,
    /// Whether it is local.
    pub local: bool,
    /// Local functions of the same file.
    pub neighbours: &'a BTreeSet<&'a str>,
}
