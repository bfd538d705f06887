// SPDX-License-Identifier: GPL-2.0
//! What takes bytes that others choose: names in modules, object files, sources, what klpctl reads.
//! Each target takes any bytes. It panics if the code does, or if a property does not hold.
//!
//! The property tests of each crate try random inputs of the right form. Here a fuzzer sees which code
//! an input reaches, and builds on those that reach something new.

#![forbid(unsafe_code)]

mod administrator;
mod core;
mod engine;

/// A target.
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// What reads the bytes.
    pub about: &'static str,
    /// Takes the bytes.
    pub run: fn(&[u8]),
    /// How many times longer an input takes than one of the quickest target.
    pub slowness: u64,
    /// Inputs to begin with. Those that compilers make come from elsewhere.
    pub seeds: &'static [&'static [u8]],
}

/// Every target.
pub static TARGETS: &[Target] = &[
    Target {
        name: "names",
        about: "the core, names of klp sections and symbols",
        run: core::names,
        slowness: 1,
        seeds: &[
            b".klp.rela.ext4.text\0.klp.sym.ext4.inode.isra.0,2\0.klp.sym.ext4.free,0",
            b".klp.rela.vmlinux.data\0.klp.sym.vmlinux.printk,1",
        ],
    },
    Target {
        name: "pairs",
        about: "the patch engine, an original and a patched object",
        run: engine::pair,
        slowness: 10,
        seeds: &[],
    },
    Target {
        name: "modules",
        about: "the patch engine and klpctl, the file of a module",
        run: engine::module,
        slowness: 10,
        seeds: &[],
    },
    Target {
        name: "sources",
        about: "klp-diff, two versions of a source, and Kbuild's record",
        run: engine::sources,
        slowness: 1,
        seeds: &[
            b"/* a */\nstatic int f(int a)\n{\n\treturn a; // b\n}\n\
              \0struct s {\n\tint a;\n};\n#define M(x) \\\n\tx\nstatic int f(int a)\n{\n\treturn '\"';\n}\n",
            b"savedcmd_a.o := gcc -c -o a.o a.c\n\nsource_a.o := a.c\n\ndeps_a.o := \\\n  a.h \\\n\
              \0pub(crate) enum E {\n    A(u8),\n}\n\npub struct S<T>(T);\n",
        ],
    },
    Target {
        name: "reports",
        about: "klpctl, what the kernel says: report, attributes, log, list of what is installed",
        run: administrator::reports,
        slowness: 10,
        seeds: &[
            b"patch: a\nstate: patching\nseconds: 1.25\nattempts: 3\nsignals: 1\nleft: 1\nblockers:\n  - {pid: 8, \
              tid: 9, comm: \"sh\", kthread: false, reason: asleep, function: f, object: m}\nmore: 0\n\
              \x001\n\x000\n\x005,1200,98765432,-;livepatch: 'a': starting patching transition\n\x001 a.ko\n",
        ],
    },
];

/// Returns the target of that name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Returns so many parts of the bytes, which zeros separate. Parts that are not there are empty.
fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.splitn(N, |byte| *byte == 0);
    std::array::from_fn(|_| parts.next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_take_their_seeds_and_every_beginning_of_them() {
        for target in TARGETS {
            for seed in target.seeds {
                for end in 0..=seed.len() {
                    (target.run)(&seed[..end]);
                }
            }
        }
    }

    #[test]
    fn parts_that_are_not_there_are_empty() {
        assert_eq!(parts::<3>(b"a\0b"), [&b"a"[..], b"b", b""]);
        assert_eq!(parts::<2>(b"a\0b\0c"), [&b"a"[..], b"b\0c"]);
    }
}
