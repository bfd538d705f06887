// SPDX-License-Identifier: GPL-2.0
//! Whether two versions of a C file differ in more than comments and white space.
//!
//! A file that includes either reads the same tokens then. Only the numbers of lines may differ, and
//! these are no change to the patch engine either. Where it is not plain what a comment is, the files
//! count as different.

/// Whether two files have the same code, except for numbers of lines.
pub fn only_comments_differ(one: &[u8], other: &[u8]) -> bool {
    code(one).is_some_and(|one| code(other).is_some_and(|other| one == other))
}

/// Returns the lines that have code, without comments and indentation, and with one space in place
/// of several. Returns nothing if a literal or a comment has no end.
fn code(text: &[u8]) -> Option<Vec<u8>> {
    let text = spliced(text);
    let (mut code, mut rest) = (Vec::new(), &*text);
    while let Some(&byte) = rest.first() {
        let length = match byte {
            _ if rest.starts_with(b"/*") => {
                space(&mut code);
                4 + find(rest.get(2..)?, b"*/")?
            }
            _ if rest.starts_with(b"//") => find(rest, b"\n").unwrap_or(rest.len()),
            b'"' | b'\'' => literal(rest)?,
            b'<' if includes(&code) => 1 + find(rest, b">")?,
            b'\n' => {
                end(&mut code);
                1
            }
            _ if is_space(byte) => {
                space(&mut code);
                1
            }
            _ => 1,
        };
        let (part, after) = rest.split_at_checked(length)?;
        let is_comment = part.starts_with(b"/*") || part.starts_with(b"//");
        if !(is_comment || is_space(byte)) {
            code.extend(part);
        }
        rest = after;
    }
    end(&mut code);
    Some(code)
}

/// Joins lines of which one ends in a backslash with the next one.
fn spliced(text: &[u8]) -> Vec<u8> {
    let mut joined: Vec<u8> = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        // gcc takes white space behind the backslash too.
        match line.trim_ascii_end().strip_suffix(b"\\") {
            Some(line) => joined.extend(line),
            None => joined.extend(line),
        }
    }
    joined
}

fn is_space(byte: u8) -> bool {
    // A vertical tab is no ASCII white space to Rust.
    byte.is_ascii_whitespace() || byte == 0x0b
}

/// Adds a space, unless there is one or the line begins.
fn space(code: &mut Vec<u8>) {
    if !matches!(code.last(), None | Some(b' ' | b'\n')) {
        code.push(b' ');
    }
}

/// Ends a line, unless it is empty.
fn end(code: &mut Vec<u8>) {
    if code.last() == Some(&b' ') {
        code.pop();
    }
    if !matches!(code.last(), None | Some(b'\n')) {
        code.push(b'\n');
    }
}

/// Whether the line that ends here names a file to include, which may look like a comment.
fn includes(code: &[u8]) -> bool {
    let line = code.rsplit(|&byte| byte == b'\n').next().unwrap_or(code);
    line.starts_with(b"#") && find(line, b"include").is_some()
}

/// Returns the length of the literal that begins here, if it ends on its line.
fn literal(text: &[u8]) -> Option<usize> {
    let (&quote, rest) = text.split_first()?;
    let mut escaped = false;
    for (at, &byte) in rest.iter().enumerate() {
        match byte {
            b'\n' => return None,
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return Some(at + 2),
            _ => {}
        }
    }
    None
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(one: &str, other: &str) -> bool {
        let same = only_comments_differ(one.as_bytes(), other.as_bytes());
        assert_eq!(same, only_comments_differ(other.as_bytes(), one.as_bytes()));
        same
    }

    #[test]
    fn comments_and_white_space_are_no_code() {
        for (one, other) in [
            ("int a;\n", "int a; // one\n"),
            ("int a;\n", "/* one\n * two \"\n */\n\nint a;"),
            ("\tint  a;\n", "int a;\n"),
            ("#define A 1\n", "#define A \\\n\t1 /* one\n two */\n"),
            ("int a;\n", "// one \\ \n two\nint a;\n"),
            ("a b\n", "a/**/b\n"),
            (
                "f(\"//\", '\\'', '\"');\n",
                "f(\"//\", '\\'', '\"'); // don't\n",
            ),
        ] {
            assert!(same(one, other), "{one}{other}");
        }
    }

    #[test]
    fn all_else_is_code() {
        for (one, other) in [
            ("int a;\n", "int b;\n"),
            ("int a;\n", "/* int a; */\n"),
            ("f(\"a /* b */\");\n", "f(\"a\");\n"),
            ("f(\"a  b\");\n", "f(\"a b\");\n"),
            ("f(\"a // b\");\n", "f(\"a // c\");\n"),
            ("f(\"\\\"/*\"); a(); /* */\n", "f(\"\\\"/*\"); b(); /* */\n"),
            ("#include <a//b.h>\n", "#include <a//c.h>\n"),
            ("#define A\n1\n", "#define A 1\n"),
            ("ab\n", "a/**/b\n"),
            // The comment goes on.
            ("// \\\nint a;\n", "//\nint a;\n"),
        ] {
            assert!(!same(one, other), "{one}{other}");
        }
    }

    #[test]
    fn where_a_literal_or_a_comment_has_no_end_files_differ() {
        for text in [
            "# don't\n",
            "f(\"a\n\");\n",
            "int a; /* one\n",
            "#include <a\n",
        ] {
            assert!(!same(text, text), "{text}");
        }
    }
}
