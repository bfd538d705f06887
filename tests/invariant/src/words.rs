// SPDX-License-Identifier: GPL-2.0

//! The words of the language: names, numbers of lines, and signs.

/// A word, with the line that it is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    pub line: usize,
    pub text: &'a str,
}

/// Splits a text into words. A comment begins with `#`. What is in quotes is one word.
pub fn split(text: &str) -> Vec<Word<'_>> {
    let mut words = Vec::new();
    for (line, content) in (1..).zip(text.lines()) {
        let mut rest = content;
        loop {
            rest = rest.trim_start();
            let length = length(rest);
            if length == 0 {
                break;
            }
            let (text, after) = rest.split_at(length);
            words.push(Word { line, text });
            rest = after;
        }
    }
    words
}

/// Returns the length of the first word. 0: there is none.
fn length(rest: &str) -> usize {
    let is_of_name = |sign: char| sign.is_alphanumeric() || sign == '_';
    let name = rest.find(|sign| !is_of_name(sign)).unwrap_or(rest.len());
    match rest.chars().next() {
        None | Some('#') => 0,
        Some('"') => rest[1..].find('"').map_or(rest.len(), |end| end + 2),
        // A name with a prime stands for the state after the step.
        _ if name > 0 => name + usize::from(rest[name..].starts_with('\'')),
        Some(first) => ["<->", "->", "!=", ":="]
            .iter()
            .find(|sign| rest.starts_with(**sign))
            .map_or(first.len_utf8(), |sign| sign.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_have_lines() {
        let words = split("a(b')->c # no\n  \"x y\" != {d}\n\n:=");
        let words: Vec<_> = words.iter().map(|word| (word.line, word.text)).collect();
        let first = ["a", "(", "b'", ")", "->", "c"].map(|text| (1, text));
        let second = ["\"x y\"", "!=", "{", "d", "}"].map(|text| (2, text));
        assert_eq!(words, [&first[..], &second, &[(4, ":=")]].concat());
    }
}
