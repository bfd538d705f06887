// SPDX-License-Identifier: GPL-2.0
//! Why no module is made.

use crate::compare::Difference;
use std::fmt;

/// Why the engine makes no module.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are no ELF object that the engine can read.
    Malformed {
        /// Which input.
        input: Input,
        /// What is wrong with it.
        what: String,
    },
    /// The engine does not know the architecture or its ABI.
    Architecture {
        /// The ELF machine number.
        machine: u16,
        /// The flags in the ELF header.
        flags: u32,
    },
    /// Original and patched object do not fit together.
    Mismatch(&'static str),
    /// The patch changes nothing that runs.
    NothingChanged,
    /// The patch changes what a live patch can't change.
    Refused(Vec<Refusal>),
    /// The relations between the objects are beyond all reason.
    TooComplex,
}

/// An input of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// The object as it was.
    Original,
    /// The object with the patch.
    Patched,
    /// The linked kernel or module.
    Image,
    /// The linked live patch module.
    Module,
}

/// One change that is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// The source file, as the object names it.
    pub file: String,
    /// The section.
    pub section: String,
    /// The symbol, or the section's name where it has none.
    pub symbol: String,
    /// What changed, where that is known.
    pub change: Option<Difference>,
    /// Why.
    pub reason: Reason,
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// Data that running code has already seen has other contents.
    DataChanged,
    /// Data has another size.
    SizeChanged,
    /// Constant data changed that other data points to.
    ReachedFromData(String),
    /// Code or data of initialisation changed, which has run already.
    Initialisation,
    /// The function has no patch site.
    NoPatchSite,
    /// The tracer must not patch code in this section.
    NotPatchable,
    /// A section changed that the engine does not understand.
    UnknownSection,
    /// The section lists instructions that get the value of a variable at boot only.
    RuntimeConstant,
    /// The change needs a relocation that the engine does not understand.
    UnknownRelocation(u32),
    /// Code refers to itself or to other code in a way that the engine does not understand.
    UnknownCode(u64),
    /// What changed is in a section group.
    Group,
    /// More than one symbol of the other object could be the same variable.
    Ambiguous(String),
    /// A symbol has the same name as others, and none of them can be told apart.
    NotUnique(usize),
    /// A symbol is not in the image that is to be patched.
    NotInImage,
    /// A key of a jump label or static call is in a module.
    KeyInModule(String),
    /// Two objects of the patch define the same new symbol.
    DefinedTwice,
    /// The symbol is new in this object, but another one has it already.
    Moved,
    /// The symbol was another name of this function, and is a function of its own now.
    Merged(String),
    /// The symbol is new in one module and used by another, and needs symbols of the first, which need
    /// not be loaded.
    OtherModule(String),
    /// What the author of the patch says contradicts itself.
    Wishes(String),
    /// An address in a special section is known only when a module is loaded, and that is too late.
    TooLate(String),
    /// A special section does not have entries of any size that the engine knows; the smallest is
    /// this.
    EntrySize(u64),
    /// The architecture's own objection, with the remedy.
    Architecture(String, &'static str),
}

impl Reason {
    /// What the author of the patch can do.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::DataChanged => {
                "keep the data as it is, and set it from a pre-patch callback, or use a new variable"
            }
            Self::SizeChanged => "keep the structure as it is, and put new members in a shadow variable",
            Self::ReachedFromData(_) => {
                "keep the table as it is, and change a function that it points to"
            }
            Self::Initialisation => "do in a callback what the changed initialisation would have done",
            Self::NoPatchSite => "change its callers instead, or one of the functions that it calls",
            Self::NotPatchable => "change its callers instead",
            Self::UnknownSection => "leave what is in the section as it is",
            Self::RuntimeConstant => {
                "in what the patch changes, use the variable itself: `value >> shift` in place of \
                 runtime_const_shift_right_32(value, shift)"
            }
            Self::UnknownRelocation(_) | Self::UnknownCode(_) => {
                "compile both objects with the compiler and the flags of the kernel's own build, with \
                 -ffunction-sections and -fdata-sections"
            }
            Self::Group => "leave what is in the section group as it is",
            Self::Ambiguous(_) => "give the new variable another name",
            Self::NotUnique(_) => "change its callers instead, which have unique names",
            Self::NotInImage => "build the original object from the source and the configuration of the image",
            Self::KeyInModule(_) => {
                "use static_key_enabled() in place of the branch, or KLP_STATIC_CALL() in place of the call"
            }
            Self::DefinedTwice => "give one of them another name, or make both static",
            Self::Moved => "leave it in its file, or give the new one another name",
            Self::Merged(_) => "change its callers instead, or let it stay the same as the other",
            Self::OtherModule(_) => {
                "let it use only what the kernel has, or give each module a static one of its own"
            }
            Self::Wishes(_) => "say it once in the whole patch",
            Self::TooLate(_) => "keep the instruction as it is, or move it to a function of the kernel itself",
            Self::EntrySize(_) => "use a version of the tool that knows this kernel",
            Self::Architecture(_, remedy) => remedy,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DataChanged => write!(f, "its contents changed, and running code uses them"),
            Self::SizeChanged => write!(f, "its size changed"),
            Self::ReachedFromData(by) => write!(f, "it changed, and `{by}` points to it"),
            Self::Initialisation => write!(f, "it changed, but initialisation is over"),
            Self::NoPatchSite => write!(f, "it changed, but has no patch site"),
            Self::NotPatchable => {
                write!(f, "it changed, but code in this section is never patched")
            }
            Self::UnknownSection => write!(f, "it changed or describes changed code, and the section is unknown"),
            Self::RuntimeConstant => write!(
                f,
                "the kernel writes a value into changed code that this section lists, once at boot"
            ),
            Self::UnknownRelocation(kind) => {
                write!(f, "it has a relocation of the unknown type {kind}")
            }
            Self::UnknownCode(at) => write!(f, "the code at offset {at:#x} is not understood"),
            Self::Group => write!(f, "it changed, and is in a section group"),
            Self::Ambiguous(other) => write!(f, "it may or may not be the original's `{other}`"),
            Self::NotUnique(count) => {
                write!(
                    f,
                    "{count} symbols of the image have this name and can't be told apart"
                )
            }
            Self::NotInImage => write!(f, "the image has no such symbol"),
            Self::KeyInModule(key) => write!(f, "its key `{key}` is in a module"),
            Self::DefinedTwice => write!(f, "more than one file of the patch defines it"),
            Self::Moved => {
                write!(f, "it is new in this file, but another one defines it already")
            }
            Self::Merged(other) => write!(
                f,
                "it changed, and in the kernel it is the same function as `{other}`"
            ),
            Self::OtherModule(module) => write!(
                f,
                "it needs symbols of the module `{module}`, which may not be loaded while this one is"
            ),
            Self::Wishes(what) => write!(f, "the patch has {what}"),
            Self::TooLate(symbol) => write!(
                f,
                "the address of `{symbol}` is known when its module is loaded, after the kernel has \
                 rewritten this code"
            ),
            Self::EntrySize(size) => {
                write!(f, "its entries have an unknown size, which is not {size}")
            }
            Self::Architecture(why, _) => f.write_str(why),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            file,
            section,
            symbol,
            change,
            reason,
        } = self;
        write!(f, "{file}: `{symbol}` in {section}: {reason}")?;
        if let Some(change) = change {
            write!(f, " (changed: {change})")?;
        }
        write!(f, "; {}", reason.remedy())
    }
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Original => "original object",
            Self::Patched => "patched object",
            Self::Image => "image",
            Self::Module => "module",
        })
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed { input, what } => {
                write!(f, "the {input} can't be read: {what}; build it anew")
            }
            Self::Architecture { machine, flags } => write!(
                f,
                "ELF machine {machine} with flags {flags:#x} is unknown; known are 64-bit x86_64, arm64, \
                 s390 and little-endian powerpc (ELFv2)"
            ),
            Self::Mismatch(what) => {
                write!(f, "the objects differ in {what}; build both with one compiler and configuration")
            }
            Self::NothingChanged => {
                write!(f, "no function changed; check that the patch touches code that this configuration builds")
            }
            Self::Refused(refusals) => {
                let texts: Vec<_> = refusals.iter().map(ToString::to_string).collect();
                f.write_str(&texts.join("\n"))
            }
            Self::TooComplex => write!(f, "the objects refer to themselves without end; build them anew"),
        }
    }
}

impl std::error::Error for Error {}
