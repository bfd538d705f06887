// SPDX-License-Identifier: GPL-2.0
//! Names that compilers make up.

/// Variables that macros declare inside functions. A changed function has its own: a copy of the
/// state behind a warning that is printed once, a lock class, or a name.
const PRIVATE: &[&str] = &[
    "CSWTCH",
    "__FUNCTION__",
    "__PRETTY_FUNCTION__",
    "__UNIQUE_ID_ddebug",
    "__already_done",
    "__func__",
    "__key",
    "__warned",
    "_entry",
    "_entry_ptr",
    "_rs",
    "descriptor",
    "switch.table",
];

/// Returns the name without the numbers that differ from build to build: those behind dots, the
/// hashes of `.llvm.`, the counter of `__UNIQUE_ID`, and the counter and line of an initcall. A mangled name of Rust becomes a path, without
/// the numbers of its crate, of blocks of methods, and of closures.
pub fn stable(name: &str) -> String {
    match path(name) {
        Some(path) => unnumbered(&path),
        None => unnumbered(name),
    }
}

/// Whether the whole name says little, because another function or variable moves the number in it.
pub fn is_numbered(name: &str) -> bool {
    let closure = path(name).is_some_and(|path| path.contains("{closure}"));
    closure || unnumbered(name) != name
}

/// Returns the path that a mangled name of Rust stands for.
fn path(name: &str) -> Option<String> {
    let name = name.strip_prefix("_R").map(|_| name)?;
    let whole = format!("{:#}", rustc_demangle::try_demangle(name).ok()?);
    let mut parts = whole.split('#');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        // `{closure#3}` is the fourth closure of its function.
        match rest.starts_with('}') && rest.len() < part.len() {
            true => path.push_str(rest),
            false => path.extend(["#", part]),
        }
    }
    Some(path)
}

fn unnumbered(name: &str) -> String {
    let mut parts = name.split('.').filter(|part| !is_number(part));
    let mut stable = parts.next().unwrap_or_default().to_owned();
    if stable.starts_with("__UNIQUE_ID_") {
        stable.truncate(stable.trim_end_matches(|c: char| c.is_ascii_digit()).len());
    }
    if stable.starts_with("__initcall__kmod_") {
        // A counter, and the number of the line.
        let words: Vec<_> = stable.split('_').filter(|word| !is_number(word)).collect();
        stable = words.join("_");
    }
    for part in parts {
        stable.push('.');
        stable.push_str(part);
    }
    stable
}

fn is_number(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether a local variable of this name was declared in a function (`foo.123`, `function.foo`).
pub fn is_static_local(name: &str) -> bool {
    name.contains('.') && !name.starts_with('.')
}

/// Whether a variable belongs to the code that uses it, so that a copy of the code has a copy of it.
pub fn is_private(name: &str) -> bool {
    if name.starts_with(".L") || name.starts_with("__UNIQUE_ID_ddebug") {
        return true;
    }
    let stable = stable(name);
    let named = |variable: &&str| {
        let rest = stable.strip_suffix(*variable);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    is_static_local(name) && PRIVATE.iter().any(named) || stable.starts_with("switch.table.")
}

/// Returns the function that this one was split from: what stands before `.cold`.
pub fn parent(name: &str) -> Option<&str> {
    let at = name.find(".cold")?;
    let rest = name.get(at + ".cold".len()..)?;
    let whole = rest.is_empty() || rest.strip_prefix('.').is_some_and(is_number);
    name.get(..at).filter(|parent| whole && !parent.is_empty())
}

/// Returns the function that this one, or its caller, was made from: the name up to the first dot.
pub fn origin(name: &str) -> &str {
    name.split('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_behind_dots_are_not_part_of_a_name() {
        for (name, expected) in [
            ("foo", "foo"),
            ("foo.123", "foo"),
            ("foo.isra.0", "foo.isra"),
            ("foo.constprop.3.cold.7", "foo.constprop.cold"),
            ("foo.llvm.1234567890", "foo.llvm"),
            ("foo.v2", "foo.v2"),
            ("__UNIQUE_ID_foo123", "__UNIQUE_ID_foo"),
            (".Lubsan_data17", ".Lubsan_data17"),
            (
                "__initcall__kmod_proc__370_25_proc_cmdline_init5",
                "__initcall__kmod_proc__proc_cmdline_init5",
            ),
        ] {
            assert_eq!(stable(name), expected, "{name}");
        }
    }

    #[test]
    fn numbers_of_impls_and_closures_are_not_part_of_a_mangled_name() {
        for (name, expected) in [
            (
                "_RNvMs_Cs3K82f0JvzDy_6corpusNtB4_7Counter5count",
                "<corpus::Counter>::count",
            ),
            (
                "_RNvMCs3K82f0JvzDy_6corpusNtB2_7Counter5count",
                "<corpus::Counter>::count",
            ),
            (
                "_RNvNvMCs3K82f0JvzDy_6corpusNtB4_7Counter5count5CALLS.0",
                "<corpus::Counter>::count::CALLS",
            ),
            (
                "_RNCNvCs3K82f0JvzDy_6corpus1fs_0B3_",
                "corpus::f::{closure}",
            ),
            ("_Really", "_Really"),
        ] {
            assert_eq!(stable(name), expected, "{name}");
        }
        assert!(is_numbered("_RNCNvCs3K82f0JvzDy_6corpus1f0B3_"));
        assert!(!is_numbered(
            "_RNvMCs3K82f0JvzDy_6corpusNtB2_7Counter5count"
        ));
    }

    #[test]
    fn macros_have_private_variables_and_files_do_not() {
        for name in [
            "__warned.1",
            "f.__warned",
            "f.__key.3",
            "CSWTCH.12",
            "__func__.4",
            ".LC0",
        ] {
            assert!(is_private(name), "{name}");
        }
        for name in ["descriptor", "_rs", "count.1", "my__key.1", "f.count"] {
            assert!(!is_private(name), "{name}");
        }
    }

    #[test]
    fn a_cold_part_has_a_parent() {
        assert_eq!(parent("f.cold"), Some("f"));
        assert_eq!(parent("f.isra.0.cold.3"), Some("f.isra.0"));
        assert_eq!(parent("f.colder"), None);
        assert_eq!(parent("f.part.0"), None);
    }
}
