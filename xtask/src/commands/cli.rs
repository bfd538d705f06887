// SPDX-License-Identifier: GPL-2.0
//! Every command and flag, in one place.

use crate::kernel::flavour::Core;
use crate::kernel::named::{self, Named};
use crate::tools::target::{self, Target};
use clap::{Args, Parser, Subcommand, ValueEnum};
use klp_patch::flags::{Making, Patches};
use std::path::PathBuf;
use steps::workplace::Options;

/// Build, boot and test the Rust livepatch core.
///
/// Start with `cargo xtask demo`. It installs what is missing, or prints the one command that does.
/// It then takes the kernel source, builds a kernel with the Rust core and live patches it at run
/// time.
/// Downloads and builds go to a cache outside the checkout; `cargo xtask clean --cache` frees it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
pub struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Args)]
pub struct Global {
    /// Checkout of Linux 7.3 or later to use; it is copied, never changed [default: Debian's
    /// source package of 7.3]
    #[arg(long, global = true, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// Use the newest kernel source that Debian has, which may be a release candidate
    #[arg(long, global = true, conflicts_with = "tree")]
    pub newest: bool,
    /// The cache.
    #[command(flatten)]
    pub options: Options,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Live patch a running kernel with the Rust core, start to finish
    Demo(Demo),
    /// Boot a kernel with the Rust core, to experiment with
    Boot(Boot),
    /// Run the host tests, then the guest tests
    Test(Test),
    /// Run the kernel's own checkers over our code and documents
    Lint(Lint),
    /// Run the same scenarios on the C core and on the Rust core, and compare line by line
    Parity(Parity),
    /// Prove the consistency model: model checker, loom, litmus tests, mutants, properties, fuzzing, sanitizers
    Verify(Verify),
    /// Exercise every capability that an architecture's backend claims
    Conformance(Build),
    /// Call patched functions on every CPU while patches, modules, BPF programs and CPUs come and
    /// go, and count wrong results
    Stress(Stress),
    /// Measure the C core and the Rust core side by side: a table, JSON and plots
    Bench(Bench),
    /// Build the kernel, without booting it
    Build(Build),
    /// Apply the crates and patches to the kernel source, and print the path of the tree
    Graft(Graft),
    /// Make a live patch module of a patch of the kernel's source, or test it in a guest
    Patch(Patch),
    /// Make packages of klpctl, the administrator's tool, for Debian and with RPM
    Package(Package),
    /// Write the patch series for `git am`, or take an edited git tree back into it
    Series(Series),
    /// Print the environment for running `make` by hand: `eval "$(cargo xtask env)"`
    Env(Env),
    /// List what is installed, what is missing and how to get it
    Doctor(Doctor),
    /// Remove built kernels, or everything in the cache
    Clean(Clean),
}

/// The kernel to use: its architecture and its livepatch core.
#[derive(Args, Clone, Copy)]
pub struct Build {
    /// Architecture of the kernel
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Livepatch core of the kernel
    #[arg(long, value_enum, default_value_t = Core::Rust)]
    pub core: Core,
}

/// Flags of `demo`.
#[derive(Args)]
pub struct Demo {
    /// The kernel to patch.
    #[command(flatten)]
    pub kernel: Build,
    /// Show this one of the live patches in Rust, from `samples/`
    #[arg(long, value_enum, value_name = "NAME")]
    pub sample: Option<Sample>,
}

/// A directory of `samples/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sample {
    /// A function of the kernel
    Hello,
    /// A module that comes before or after its live patch
    Module,
    /// A live patch that replaces another
    Replace,
    /// What runs when an object is patched and goes back
    Callbacks,
    /// A leak fixed with shadow variables
    Shadow,
    /// Changes of the system, with versions
    State,
    /// A function in Rust
    Rust,
    /// A driver's bug
    Driver,
    /// A module that was written for kGraft
    Kgraft,
    /// A module that was written for kpatch, which takes effect at one instant
    Kpatch,
}

impl Sample {
    /// Returns the name of the directory.
    pub fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Flags of `boot`.
#[derive(Args)]
pub struct Boot {
    /// The kernel to boot.
    #[command(flatten)]
    pub kernel: Build,
    /// Open a shell in the guest
    #[arg(long)]
    pub shell: bool,
    /// Words to append to the kernel's command line, such as `livepatch.settle=0`
    #[arg(
        long,
        value_name = "WORDS",
        default_value = "",
        hide_default_value = true
    )]
    pub append: String,
}

/// Flags of `test`.
#[derive(Args)]
pub struct Test {
    /// Run only the host tests
    #[arg(long, conflicts_with = "guest")]
    pub host: bool,
    /// Run only this guest suite: `smoke`, `kunit`, `kselftest`, `neighbours`, `settle`,
    /// `regressions`, `transitions`, `klpctl`, `samples`, `conformance`, `patches`, `stress`, or with
    /// `--debug-kernel` the `scenarios` of `parity`
    #[arg(long, value_name = "SUITE")]
    pub guest: Option<String>,
    /// Architectures to test: a name, or `all`
    #[arg(long, default_value = target::DEFAULT, value_name = "ARCH")]
    pub arch: target::Selection,
    /// Livepatch core in the guest
    #[arg(long, value_enum, default_value_t = Core::Rust)]
    pub core: Core,
    /// Run the guest suites on a kernel with KASAN, lockdep, kmemleak and the like; many times
    /// slower
    #[arg(long, conflicts_with = "host")]
    pub debug_kernel: bool,
    /// Build this kernel configuration and run `smoke`, `kselftest` and `transitions` on it: `gcc`,
    /// `clang`, `clang-inline`, `cfi`, `thinlto`, `rt`, `modversions`, `kasan`, `kcsan`, `nohz`,
    /// `rust-trace`, `distribution` (there `klpctl` and `drgn` run, beside systemd and kpatch) or
    /// `all`; may be given several times
    #[arg(long, value_name = "NAME", conflicts_with_all = ["host", "guest", "debug_kernel"])]
    pub config: Vec<named::Selection>,
}

/// Flags of `lint`.
#[derive(Args)]
pub struct Lint {
    /// Run only these checks, in this order [default: all]
    #[arg(value_enum, value_name = "CHECK")]
    pub checks: Vec<Check>,
    /// Architecture of the kernel that `clippy` and `warnings` use; it is built if necessary
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
}

/// A check of the code or the documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Check {
    /// rustfmt with the tree's settings
    Format,
    /// checkpatch over the files that go into the tree
    Checkpatch,
    /// checkpatch over the modules and programs of the guest tests
    Guest,
    /// checkpatch over the patches to other files
    Series,
    /// The comments in C that kernel-doc reads
    KernelDoc,
    /// Whether our entry in MAINTAINERS covers each file
    Maintainers,
    /// `make htmldocs`, with a Sphinx that goes into the cache
    Docs,
    /// Clippy with the tree's lints, as Kbuild compiles the crate
    Clippy,
    /// `make W=1` over the C code
    Warnings,
}

/// Flags of `package`.
#[derive(Args)]
pub struct Package {
    /// Architecture of the machines that the packages are for
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Directory for the packages
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub out: PathBuf,
}

/// What `patch` does.
#[derive(Args)]
pub struct Patch {
    /// What to do.
    #[command(subcommand)]
    pub what: PatchWhat,
}

/// What to do with a patch.
#[derive(Subcommand)]
pub enum PatchWhat {
    /// Make a live patch module: `cargo xtask patch build FIX.patch`
    ///
    /// The objects that the patch changes are compiled twice, without and with it. The patch engine
    /// compares them. Kbuild links a module of the changed functions and of what they need.
    ///
    /// The module is for one kernel: the one in --build-dir, or without that option, the one that
    /// xtask builds of --tree for --arch. Neither the tree nor the build directory is changed.
    /// docs/patch-build.rst goes through an example.
    ///
    /// With `--arch all`, a module that is refused on one architecture does not keep the others from
    /// being made. The exit status says that one is missing.
    Build(PatchBuild),
    /// Make the module, and load it into a guest: `cargo xtask patch test FIX.patch`
    ///
    /// The guest runs the kernel that xtask builds. The module is loaded, waited for, disabled and
    /// unloaded. --check names a script that tells whether the patch has its effect. With `--arch all
    /// --core both`, this happens on every architecture and with both cores; a table says how far each
    /// module got.
    Test(PatchTest),
    /// Say what patches change and why, and what is refused, without making a module
    Explain(PatchExplain),
    /// Run this and the tree's klp-build over the same patches: functions, times, sizes
    ///
    /// klp-build builds in the source tree. It gets a copy of the tree, with the configuration of
    /// the kernel, and makes its original build there. The cache keeps both.
    Compare(PatchCompare),
}

/// Flags of `patch build`.
#[derive(Args)]
pub struct PatchBuild {
    /// The module.
    #[command(flatten)]
    pub making: Making,
    /// Architectures to make the module for: a name, or `all`
    #[arg(long, default_value = target::DEFAULT, value_name = "ARCH")]
    pub arch: target::Selection,
    /// Livepatch core of the kernel that the module is for
    #[arg(long, value_enum, default_value_t = Core::Rust)]
    pub core: Core,
    /// Directory that a kernel was built in, with `make` or by xtask; may be the tree itself
    #[arg(long, value_name = "DIR", conflicts_with_all = ["arch", "core"])]
    pub build_dir: Option<PathBuf>,
    /// Refuse if the build directory is not that of the kernel which runs here
    #[arg(long, requires = "build_dir")]
    pub running: bool,
}

/// Flags of `patch test`.
#[derive(Args)]
pub struct PatchTest {
    /// The patches, which become one module.
    #[command(flatten)]
    pub patches: Patches,
    /// Make a module of each patch, and test one after the other
    #[arg(long, conflicts_with = "check")]
    pub each: bool,
    /// Script for the guest's shell, run with `before`, `while` and `after` as its argument; fails
    /// the test if its exit status is not 0 [default: FIX.check beside FIX.patch, if it is there]
    #[arg(long, value_name = "SCRIPT")]
    pub check: Option<PathBuf>,
    /// Architectures to test: a name, or `all`
    #[arg(long, default_value = target::DEFAULT, value_name = "ARCH")]
    pub arch: target::Selection,
    /// Livepatch core in the guest
    #[arg(long, value_enum, default_value_t = Cores::Rust)]
    pub core: Cores,
    /// Configuration of the kernels, as for `test --config` [default: gcc]
    #[arg(long, value_parser = named::find, value_name = "NAME")]
    pub config: Option<&'static Named>,
}

/// Flags of `patch explain`.
#[derive(Args)]
pub struct PatchExplain {
    /// The patches.
    #[command(flatten)]
    pub patches: Patches,
    /// Architecture of the kernel
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Livepatch core of the kernel
    #[arg(long, value_enum, default_value_t = Core::Rust)]
    pub core: Core,
    /// Directory that a kernel was built in, with `make` or by xtask; may be the tree itself
    #[arg(long, value_name = "DIR", conflicts_with_all = ["arch", "core"])]
    pub build_dir: Option<PathBuf>,
}

/// One core or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cores {
    /// The C core that the tree comes with
    C,
    /// The Rust core
    Rust,
    /// One after the other
    Both,
}

impl Cores {
    /// Returns the cores.
    pub fn cores(self) -> &'static [Core] {
        match self {
            Self::C => &[Core::C],
            Self::Rust => &[Core::Rust],
            Self::Both => &[Core::Rust, Core::C],
        }
    }
}

/// Flags of `patch compare`.
#[derive(Args)]
pub struct PatchCompare {
    /// The patches [default: ten of the project's]
    #[arg(value_name = "FIX.patch")]
    pub patches: Vec<PathBuf>,
    /// Directory that the kernel was built in [default: that of the kernel that xtask builds]
    #[arg(long, value_name = "DIR")]
    pub build_dir: Option<PathBuf>,
    /// Tree for klp-build, with the same source and .config, and perhaps an original build that
    /// klp-build has kept [default: a copy in the cache]
    #[arg(long, value_name = "DIR")]
    pub klp_build_dir: Option<PathBuf>,
    /// Then load what klp-build has made in guests, one with each core
    #[arg(long, conflicts_with = "build_dir")]
    pub boot: bool,
}

/// Flags of `series`.
#[derive(Args)]
pub struct Series {
    /// What to do.
    #[command(flatten)]
    pub what: SeriesWhat,
    /// With `--from`: a file of the tree that the series may touch from now on; may be given several
    /// times
    #[arg(long, value_name = "FILE", requires = "from")]
    pub also: Vec<PathBuf>,
    /// With `--check-each`: architecture of the kernels
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
}

/// What `series` does.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub struct SeriesWhat {
    /// Write the patches to this new directory, one directory for each stage
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Make a git tree of the kernel in this new directory, with a commit for each patch
    #[arg(long, value_name = "DIR")]
    pub git: Option<PathBuf>,
    /// Take the commits of such a tree back into the checkout: its own files, and the patches
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Build the kernel after every patch, with each core and without live patching, and run upstream's
    /// selftests after every stage
    #[arg(long)]
    pub check_each: bool,
}

/// Flags of `parity`.
#[derive(Args)]
pub struct Parity {
    /// Architecture of both kernels
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Seed of the random sequences; the same seed gives the same sequences
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub seed: u64,
    /// Number of random sequences
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub sequences: usize,
    /// Run only this scenario, or one of the groups `scenarios` (on the usual kernel), `starved`
    /// (allocations fail), `sequences` (random), `kselftest` and `neighbours` (on a kernel with BPF
    /// if there is one); may be given several times
    #[arg(long, value_name = "NAME")]
    pub scenario: Vec<String>,
    /// Skip upstream's selftests
    #[arg(long)]
    pub no_kselftest: bool,
}

/// Flags of `verify`.
#[derive(Args)]
pub struct Verify {
    /// Run only these parts, in this order [default: all]
    #[arg(value_enum, value_name = "PART")]
    pub parts: Vec<Part>,
    /// Number of random inputs for each property; `fuzz` begins with so many, and goes on as long as it
    /// finds something
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    pub cases: u64,
    /// For `patches`: a directory with `expected.tsv` (lines of architecture, case, and the number of
    /// functions, `refused` or `-` for any, separated by tabs), and the objects
    /// `<architecture>/<case>.orig.o` and `<case>.patched.o`
    #[arg(long, value_name = "DIR")]
    pub objects: Option<PathBuf>,
}

/// A part of the verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// Exhaustive search of the core against a simulated kernel, within bounds
    Model,
    /// The proof for any number of tasks, with a prover, and each step again with one condition left
    /// out; the code is compared with it
    Invariant,
    /// The core's atomics and barriers in every order that the memory model allows
    Loom,
    /// The loom tests with each ordering left out in turn: some test has to fail
    Weaken,
    /// The litmus tests under the kernel's memory model, and each again with one ordering weakened
    Litmus,
    /// The core changed in hundreds of ways: some test has to fail each time
    Mutants,
    /// Random inputs
    Properties,
    /// A fuzzer that sees which code each input reaches, until it finds nothing new
    Fuzz,
    /// The tests under Miri, or under the sanitizers of the nightly toolchain
    Sanitizers,
    /// The patch engine with every compiler and on mutated objects, or with --objects on a directory
    /// of pairs
    Patches,
}

/// Flags of `stress`.
#[derive(Args)]
pub struct Stress {
    /// The kernel to stress.
    #[command(flatten)]
    pub kernel: Build,
    /// Minutes for which patches come and go
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub minutes: u32,
}

/// Flags of `bench`.
#[derive(Args)]
pub struct Bench {
    /// Architecture of both kernels
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Measure only these figures: `calls`, `patches`, `tasks` or `size`; may be given several
    /// times
    #[arg(long, value_enum, value_name = "GROUP")]
    pub only: Vec<Group>,
    /// Configuration of both kernels, as for `test --config` [default: gcc]
    #[arg(long, value_parser = named::find, value_name = "NAME")]
    pub config: Option<&'static Named>,
    /// Directory for the table, the JSON and the plots [default: beside the logs]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Figures that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Group {
    /// Instructions per call of a patched function
    Calls,
    /// Time to enable, settle, disable and unload patches of 1 to 2000 functions, and their memory
    Patches,
    /// Attempts to end a transition with 10 to 10000 tasks
    Tasks,
    /// Time until a transition is over: with sleeping, busy and forking tasks, and with tasks inside
    /// the patched function
    Transitions,
    /// Size of the core's code
    Size,
}

/// Flags of `graft`.
#[derive(Args)]
pub struct Graft {
    /// Copy the whole tree, with the series applied, to this new directory outside the cache
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
}

/// Flags of `env`.
#[derive(Args)]
pub struct Env {
    /// Architecture of the kernels to be built in that shell
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
}

/// Flags of `doctor`.
#[derive(Args)]
pub struct Doctor {
    /// Architecture to check
    #[arg(long, default_value = target::DEFAULT, value_parser = target::find, value_name = "ARCH")]
    pub arch: &'static Target,
    /// Install what is missing
    #[arg(long)]
    pub fix: bool,
}

/// Flags of `clean`.
#[derive(Args)]
pub struct Clean {
    /// Remove sources, tools and logs too, and print the space that each freed
    #[arg(long)]
    pub cache: bool,
}
