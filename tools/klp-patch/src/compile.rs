// SPDX-License-Identifier: GPL-2.0
//! Compiles the objects that change, as Kbuild did, but each function and variable into a section of
//! its own.
//!
//! Each object's recorded command runs again, with another output. For the patched object it also
//! reads from the view in place of the tree. Of an object that the patch reaches through headers alone,
//! both texts are compared first, as the preprocessor makes them. An object whose text stays the same
//! can't change, and is not compiled.
//!
//! What is made is kept, and used as long as the command and the files that it read are the same: an
//! original by every patch, and a patched object by every patch that makes the same of its files.

use crate::base::{self, Base};
use crate::job::{self, unfinished, Ages, Job};
use crate::record::{Place, Record};
use crate::rust;
use crate::view::View;
use anyhow::{ensure, Context as _, Result};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use steps::place;
use steps::workplace::Workplace;

/// A section for each function and variable.
const SECTIONS: &str = "-ffunction-sections -fdata-sections";

/// Keeps clang from making one block of several variables or strings, which it does for powerpc. A
/// block is compared and copied as a whole.
const UNMERGED: &str = "-mllvm -enable-global-merge=false";

/// What only the commands of 64-bit powerpc kernels have.
const POWERPC: &str = " -mabi=elfv2 ";

/// What makes code there that can call and reach what is in the kernel. A module is too far from that for
/// the distances of the kernel's own model. With the small one, clang also takes each function for one that
/// may have another TOC pointer: it leaves room to restore its own behind each call, and never ends in a
/// call. gcc does so only for functions of other files.
const FAR_CLANG: &str = "-mcmodel=small";
const FAR_GCC: &str = "-mcmodel=large -fno-optimize-sibling-calls";

/// What makes the text of an object, without the numbers of lines, which are no change.
const TEXT: &str = "-E -P -w -D__LINE__=0";

/// The directories of the originals and of the patched objects, with their texts.
const ORIGINAL: &str = "original";
const PATCHED: &str = "patched";

/// Removes the originals that earlier patches have left in `dir`.
pub fn forget_originals(dir: &Path) -> Result<()> {
    place::remove(&dir.join(ORIGINAL))
}

/// Removes the patched objects that earlier patches have left in `dir`.
pub fn forget_patched(dir: &Path) -> Result<()> {
    place::remove(&dir.join(PATCHED))
}

/// An object without and with the patch.
#[derive(Debug)]
pub struct Pair<'a> {
    /// Its record.
    pub record: &'a Record,
    /// The object as it was.
    pub original: PathBuf,
    /// The object with the patch.
    pub patched: PathBuf,
}

/// What a command makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The object.
    Object,
    /// A hash of what the compiler proper reads.
    Text,
}

/// Compiles the objects of these records, except those that the patch can't change.
pub fn compile<'a>(
    work: &Workplace,
    base: &Base,
    dir: &Path,
    (name, view): (&str, &View),
    records: &'a [Record],
) -> Result<Vec<Pair<'a>>> {
    let ages = Ages::default();
    let make = |verb: &str, form, records: &[&'a Record]| -> Result<Vec<Pair<'a>>> {
        let mut jobs = Vec::new();
        let mut pairs = Vec::new();
        for record in records {
            let original = job(base, dir, record, None, form)?;
            let patched = job(base, dir, record, Some(view), form)?;
            pairs.push(Pair {
                record,
                original: original.output.clone(),
                patched: patched.output.clone(),
            });
            jobs.extend(
                [original, patched]
                    .into_iter()
                    .filter(|job| !job.is_done(&ages)),
            );
        }
        let title = format!("{verb} without and with {name}");
        let check = |job: &Job<'_>| check(base, &dir.join(ORIGINAL), job, form, &ages);
        job::run(work, dir, &title, &jobs, &ages, check)?;
        Ok(pairs)
    };
    let included: Vec<_> = records
        .iter()
        // A crate is read by rustc alone.
        .filter(|record| !view.touches(&record.source) && !rust::is_rust(&record.source))
        .collect();
    let mut same = Vec::new();
    for pair in make("Preprocess", Form::Text, &included)? {
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        if read(&pair.original)? == read(&pair.patched)? {
            same.push(&pair.record.object);
        }
    }
    if !same.is_empty() {
        eprintln!(
            "{} of them read the same code with the patch, and are not compiled",
            same.len()
        );
    }
    let changed: Vec<_> = records
        .iter()
        .filter(|record| !same.contains(&&record.object))
        .collect();
    make("Compile", Form::Object, &changed)
}

/// Returns the job that makes an object, or its text, from the tree or from a view.
fn job<'a>(
    base: &Base,
    dir: &Path,
    record: &Record,
    view: Option<&'a View>,
    form: Form,
) -> Result<Job<'a>> {
    let kind = if view.is_some() { PATCHED } else { ORIGINAL };
    let end = if form == Form::Text { ".text" } else { "" };
    let name = format!("{kind}/{}{end}", record.object.display());
    let output = dir.join(&name);
    let at = unfinished(&output);
    let mut command = match rust::is_rust(&record.source) {
        true => rust::command(recorded(record, base), &at.to_string_lossy(), |word| {
            seen(word, base, view)
        })?,
        false => command(record, base, view, &at, form),
    };
    if let Some(objtool) = base.objtool.as_ref().filter(|_| form == Form::Object) {
        let module = match record.place {
            Place::Module(_) => " --module",
            _ => "",
        };
        // Writing to a string does not fail.
        let _ = write!(command, " ; {objtool}{module} {}", at.display());
    }
    Ok(Job {
        command,
        name,
        // A build in the tree finds its sources from where it runs.
        dir: match view {
            Some(view) if base.prefix.is_empty() => view.dir.clone(),
            _ => base.out.clone(),
        },
        output,
        view,
    })
}

/// Checks that a compiler has read the source of the kernel, or the view of it.
fn check(base: &Base, originals: &Path, job: &Job<'_>, form: Form, ages: &Ages) -> Result<()> {
    let files = job.read_files()?;
    if let Some(view) = job.view {
        return view.check(&files);
    }
    let object = job.output.strip_prefix(originals)?;
    let object = match form {
        Form::Object => object.to_owned(),
        Form::Text => object.with_extension(""),
    };
    check_age(base, &object, &files, ages)
}

/// Returns the command that compiles an object to another place, and from a view if there is one.
fn command(record: &Record, base: &Base, view: Option<&View>, output: &Path, form: Form) -> String {
    let object = record.object.to_string_lossy();
    let output = output.to_string_lossy();
    let headers = view.map_or(String::new(), |view| {
        format!("-I{} ", view.headers.display())
    });
    let (flags, recorded) = match form {
        Form::Object => {
            let flags = added_flags(&record.command).join(" ");
            (format!("{flags} {headers}-c"), recorded(record, base))
        }
        // Nothing goes over a text later.
        Form::Text => (format!("{headers}{TEXT}"), compiler(&record.command)),
    };
    let mut divided = false;
    let words = recorded.split(' ').map(|word| {
        if word == "-c" && !divided {
            divided = true;
            return flags.clone();
        }
        if word == object {
            return match form {
                Form::Object => output.to_string(),
                Form::Text => format!("{output}.i"),
            };
        }
        if let Some((option, _)) = word.split_once(',').filter(|_| word.starts_with("-Wp,-M")) {
            return format!("{option},-MMD,{output}.d");
        }
        seen(word, base, view)
    });
    let mut command = words.collect::<Vec<_>>().join(" ");
    if form == Form::Text {
        // Empty lines and indentation are no code. A pipe would hide a failure.
        command += &format!(
            " ; sed -e 's/^[[:space:]]*//' -e '/^$$/d' {output}.i >{output}.text ; \
             sha256sum <{output}.text >{output} ; rm -f {output}.i {output}.text"
        );
    }
    command
}

/// Returns the flags that a recorded command lacks.
fn added_flags(command: &str) -> Vec<&'static str> {
    let powerpc = command.contains(POWERPC);
    let (clang, far) = match base::program(command).starts_with("clang") {
        true => (Some(UNMERGED), FAR_CLANG),
        false => (None, FAR_GCC),
    };
    let far = powerpc.then_some(far);
    [Some(SECTIONS), clang, far].into_iter().flatten().collect()
}

/// Returns a word of a command, with the view in place of the tree if there is one.
fn seen(word: &str, base: &Base, view: Option<&View>) -> String {
    match view {
        Some(view) => from_view(word, &base.prefix, &view.dir),
        None => word.to_owned(),
    }
}

/// Returns the part of a recorded command that compiles. Where Kbuild runs objtool later than on each
/// object, it does run it on the only object of a module, but with flags of a link.
fn recorded<'a>(record: &'a Record, base: &Base) -> &'a str {
    let command = &*record.command;
    let program = base
        .objtool
        .as_deref()
        .and_then(|line| line.split_once(' '));
    let objtool = program.and_then(|(program, _)| command.find(&format!("; {program} ")));
    objtool.and_then(|at| command.get(..at)).unwrap_or(command)
}

/// Returns the part of a recorded command up to what goes over the object.
fn compiler(command: &str) -> &str {
    command.split("; ").next().unwrap_or(command)
}

/// Returns a word of a command with the view in place of the tree.
fn from_view(word: &str, prefix: &str, view: &Path) -> String {
    if prefix.is_empty() {
        return word.to_owned();
    }
    let view = view.display();
    if let Some(option) = word
        .strip_suffix(prefix.trim_end_matches('/'))
        .filter(|option| *option == "-I")
    {
        return format!("{option}{view}");
    }
    match word.find(prefix) {
        // Inside a path it is another directory.
        Some(at) if !word[..at].contains('/') && !word[..at].ends_with('.') => {
            format!("{}{view}/{}", &word[..at], &word[at + prefix.len()..])
        }
        _ => word.to_owned(),
    }
}

/// Checks that the sources of an object are not newer than the object in the kernel.
fn check_age(base: &Base, object: &Path, files: &[PathBuf], ages: &Ages) -> Result<()> {
    let built = ages.of(&base.out.join(object));
    for file in files {
        // Kbuild tells by other files which options have changed.
        let is_config = file.ends_with("include/generated/autoconf.h");
        ensure!(
            is_config || ages.of(file) <= built,
            "{} was changed after {} was built\nnext: build the kernel again, or take the change back",
            file.display(),
            object.display()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(word: &str, prefix: &str) -> String {
        from_view(word, prefix, Path::new("/view"))
    }

    #[test]
    fn paths_of_the_tree_lead_to_the_view() {
        for (word, expected) in [
            ("/t/fs/a.c", "/view/fs/a.c"),
            ("-I/t/include", "-I/view/include"),
            ("-I/t", "-I/view"),
            ("-fmacro-prefix-map=/t/=", "-fmacro-prefix-map=/view/="),
            ("-I./include", "-I./include"),
            ("-I/other/t/include", "-I/other/t/include"),
            ("-Ifs/proc", "-Ifs/proc"),
        ] {
            assert_eq!(view(word, "/t/"), expected);
        }
        assert_eq!(view("-I../include", "../"), "-I/view/include");
        assert_eq!(view("../fs/../a.c", "../"), "/view/fs/../a.c");
        assert_eq!(view("fs/../a.c", "../"), "fs/../a.c");
        assert_eq!(view("fs/a.c", ""), "fs/a.c");
    }

    #[test]
    fn flags_are_added_for_each_compiler_and_for_powerpc() {
        for (command, expected) in [
            ("clang-22 -O2", [SECTIONS, UNMERGED].as_slice()),
            ("clang-22 -mabi=elfv2 -O2", &[SECTIONS, UNMERGED, FAR_CLANG]),
            ("gcc -O2", &[SECTIONS]),
            ("gcc -mabi=elfv2 -O2", &[SECTIONS, FAR_GCC]),
        ] {
            assert_eq!(added_flags(command), expected, "{command}");
        }
    }

    #[test]
    fn added_flags_override_those_of_the_kernel() {
        let (dir, work) = Workplace::for_test().unwrap();
        let base = Base::for_test(&work, dir.path(), dir.path(), "/t/");
        let record = Record {
            command: "clang-22 -mabi=elfv2 -mcmodel=large -c -o a.o /t/a.c".into(),
            object: "a.o".into(),
            source: "a.c".into(),
            place: crate::record::Place::Kernel,
        };
        let command = command(&record, &base, None, Path::new("/o/a.o"), Form::Object);
        assert!(command.contains(SECTIONS), "{command}");
        assert!(command.find(FAR_CLANG) > command.find("large"), "{command}");
    }

    /// Writes a file below `dir`, long before anything is built from it.
    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        let past = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(past).unwrap();
    }

    /// Makes a kernel of three objects that include one header. Returns their records.
    fn kernel(dir: &Path, prefix: &str) -> Vec<Record> {
        let tree = dir.join("tree");
        let out = if prefix.is_empty() {
            &tree
        } else {
            &dir.join("out")
        };
        write(&tree, "all.h", "#define ONE 1\n#define TWO 2\n");
        let names = [
            ("one", "return ONE;"),
            ("two", "return TWO;"),
            ("line", "return __LINE__;"),
        ];
        let record = |(name, body): (&str, &str)| {
            let (object, source) = (format!("{name}.o"), format!("{name}.c"));
            let text = format!("#include \"all.h\"\nint {name}(void) {{ {body} }}\n");
            write(&tree, &source, &text);
            fs::create_dir_all(out).unwrap();
            fs::write(out.join(&object), "").unwrap();
            Record {
                command: format!("cc -Wp,-MMD,.{object}.d -c -o {object} {prefix}{source}"),
                object: object.into(),
                source: source.into(),
                place: crate::record::Place::Kernel,
            }
        };
        names.map(record).into()
    }

    /// Returns the objects that are compiled if `all.h` becomes this.
    fn compiled(prefix: &str, header: &str) -> Vec<PathBuf> {
        let (dir, work) = Workplace::for_test().unwrap();
        let top = dir.path().canonicalize().unwrap();
        let full = if prefix.is_empty() {
            ""
        } else {
            &format!("{}/tree/", top.display())
        };
        let records = kernel(&top, full);
        let tree = top.join("tree");
        let out = if full.is_empty() {
            tree.clone()
        } else {
            top.join("out")
        };
        let base = Base::for_test(&work, &tree, &out, full);
        let view = View::for_test(&tree, &top.join("work/view"));
        for record in &records {
            fs::create_dir_all(&view.dir).unwrap();
            fs::copy(tree.join(&record.source), view.dir.join(&record.source)).unwrap();
        }
        fs::write(view.dir.join("all.h"), header).unwrap();
        let go = || compile(&work, &base, &top.join("work"), ("a", &view), &records).unwrap();
        let pairs = go();
        for pair in &pairs {
            assert!(pair.original.exists() && pair.patched.exists(), "{pair:?}");
            assert_ne!(
                fs::read(&pair.original).unwrap(),
                fs::read(&pair.patched).unwrap()
            );
        }
        let age = |path: &Path| path.metadata().unwrap().modified().unwrap();
        let ages = |pairs: &[Pair<'_>]| -> Vec<_> {
            pairs
                .iter()
                .map(|pair| (age(&pair.original), age(&pair.patched)))
                .collect()
        };
        let before = ages(&pairs);
        assert_eq!(before, ages(&go()), "all of it was kept");
        pairs
            .iter()
            .map(|pair| pair.record.object.clone())
            .collect()
    }

    #[test]
    fn only_objects_that_read_other_code_are_compiled() {
        for prefix in ["/", ""] {
            let one = compiled(prefix, "/* new */\n#define ONE 3\n#define TWO 2\n");
            assert_eq!(one, [PathBuf::from("one.o")]);
            let none = compiled(prefix, "#define ONE 1\n\n#define TWO 2\n#define NEW\n");
            assert!(none.is_empty(), "{none:?}");
        }
    }
}
