// SPDX-License-Identifier: GPL-2.0

//! Names of klp sections and symbols against models of the C code.
//!
//! To test ten million inputs instead of a few thousand (minutes in a release build):
//!
//! ```text
//! PROPTEST_CASES=10000000 cargo test --release -p host-tests --test names
//! ```
#![cfg(not(loom))]

use livepatch_core::relocation::{
    parse_section, parse_symbol, SymbolName, MAX_OBJECT, MAX_SYMBOL, SECTION_PREFIX, SYMBOL_PREFIX,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// A cursor over a C string, with the conversions of the kernel's `sscanf()` that the formats use.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn literal(&mut self, text: &[u8]) -> Option<()> {
        for &byte in text {
            let (&first, rest) = self.0.split_first()?;
            if first != byte {
                return None;
            }
            self.0 = rest;
        }
        Some(())
    }

    /// `%<width>[^<stop>]`
    fn until(&mut self, stop: u8, width: usize) -> Option<&'a [u8]> {
        let mut length = 0;
        while length < width && length < self.0.len() && self.0[length] != stop {
            length += 1;
        }
        let (field, rest) = self.0.split_at(length);
        self.0 = rest;
        (length > 0).then_some(field)
    }

    /// `%lu`. `Err` marks input that the kernel takes and the core refuses by design.
    fn number(&mut self) -> Option<Result<usize, ()>> {
        let space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b || *byte == 0xa0;
        let spaces = self.0.iter().take_while(|byte| space(byte)).count();
        let digits = &self.0[spaces..];
        let count = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if count == 0 {
            return None;
        }
        let value = std::str::from_utf8(&digits[..count]).unwrap().parse();
        let strict = spaces == 0 && count == digits.len();
        Some(match value {
            Ok(value) if strict => Ok(value),
            _ => Err(()),
        })
    }
}

/// `sscanf(name, ".klp.rela.%55[^.]", object)`
fn scan_section(name: &[u8]) -> Option<&[u8]> {
    let mut scan = Scan(name);
    scan.literal(b".klp.rela.")?;
    scan.until(b'.', 55)
}

/// `sscanf(name, ".klp.sym.%55[^.].%511[^,],%lu", object, symbol, &position)`
fn scan_symbol(name: &[u8]) -> Option<Result<SymbolName<'_>, ()>> {
    let mut scan = Scan(name);
    scan.literal(b".klp.sym.")?;
    let object = scan.until(b'.', 55)?;
    scan.literal(b".")?;
    let name = scan.until(b',', 511)?;
    scan.literal(b",")?;
    let position = scan.number()?;
    Some(position.map(|position| SymbolName {
        object,
        name,
        position,
    }))
}

fn compare(name: &[u8]) {
    assert_eq!(parse_section(name), scan_section(name));
    match scan_symbol(name) {
        Some(Ok(parsed)) => assert_eq!(parse_symbol(name), Some(parsed)),
        // Only C takes the former, and neither takes the latter.
        Some(Err(())) | None => assert_eq!(parse_symbol(name), None),
    }
}

/// Bytes of a C string. The bytes that matter to the formats come more often.
fn byte() -> impl Strategy<Value = u8> {
    prop_oneof![
        4 => Just(b'.'),
        4 => Just(b','),
        3 => b'0'..=b'9',
        3 => b'a'..=b'z',
        1 => Just(b' '),
        1 => 1..=255u8,
    ]
}

/// Something like a name: parts of the format in some order, with some bytes in between.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        4 => vec(byte(), 0..8),
        2 => Just(SYMBOL_PREFIX.to_vec()),
        1 => Just(SECTION_PREFIX.to_vec()),
        1 => (0usize..600).prop_map(|length| vec![b'x'; length]),
        1 => (54usize..58).prop_map(|length| vec![b'x'; length]),
        1 => (510usize..514).prop_map(|length| vec![b'x'; length]),
        1 => any::<usize>().prop_map(|number| number.to_string().into_bytes()),
        1 => Just(b".vmlinux".to_vec()),
        1 => Just(b"18446744073709551616".to_vec()),
    ];
    let start = prop_oneof![
        3 => Just(SYMBOL_PREFIX),
        2 => Just(SECTION_PREFIX),
        1 => Just(b"".as_slice()),
    ];
    (start, vec(part, 0..6)).prop_map(|(start, parts)| {
        let mut name = start.to_vec();
        parts.iter().for_each(|part| name.extend_from_slice(part));
        name
    })
}

fn field(stop: u8, longest: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(1..=255u8, 1..=longest).prop_map(move |mut field| {
        for byte in &mut field {
            if *byte == stop {
                *byte = b'_';
            }
        }
        field
    })
}

/// Bytes that stand for all others: the parsers tell apart only separators, digits and the rest, and
/// the model tells apart spaces.
const BYTES: &[u8] = b".,09a \xff";

/// The longest text of these bytes that is tried.
const LONGEST: usize = 7;

/// Calls `each` with every text of [`BYTES`] up to [`LONGEST`].
fn every_text(each: &mut impl FnMut(&[u8])) -> usize {
    fn grow(text: &mut Vec<u8>, each: &mut impl FnMut(&[u8])) -> usize {
        each(text);
        let mut count = 1;
        if text.len() < LONGEST {
            for &byte in BYTES {
                text.push(byte);
                count += grow(text, each);
                text.pop();
            }
        }
        count
    }
    grow(&mut Vec::new(), each)
}

#[test]
fn every_short_text_is_taken_as_in_c() {
    for prefix in [SYMBOL_PREFIX, SECTION_PREFIX, b""] {
        let mut name = prefix.to_vec();
        let count = every_text(&mut |text| {
            name.truncate(prefix.len());
            name.extend_from_slice(text);
            compare(&name);
        });
        // 1 + 7 + 7^2 + ... + 7^7
        assert_eq!(count, 960_800);
    }
}

#[test]
fn every_byte_of_a_prefix_counts() {
    for prefix in [SYMBOL_PREFIX, SECTION_PREFIX] {
        for index in 0..prefix.len() {
            for byte in 1..=255 {
                let mut name = prefix.to_vec();
                name[index] = byte;
                compare(&name[..=index]);
                name.extend_from_slice(b"ext4.name,1");
                compare(&name);
            }
        }
    }
}

#[test]
fn names_of_every_length_are_taken_as_in_c() {
    let mut taken = 0;
    for object in 0..=MAX_OBJECT + 2 {
        for symbol in 0..=MAX_SYMBOL + 2 {
            let mut name = SYMBOL_PREFIX.to_vec();
            name.resize(name.len() + object, b'o');
            name.push(b'.');
            name.resize(name.len() + symbol, b's');
            compare(&name);
            name.extend_from_slice(b",1");
            compare(&name);
            taken += usize::from(parse_symbol(&name).is_some());
        }
    }
    assert_eq!(taken, MAX_OBJECT * MAX_SYMBOL);
}

#[test]
fn positions_around_the_limit_are_taken_as_in_c() {
    let limit = usize::MAX.to_string();
    for length in 0..=limit.len() {
        for last in 0..100 {
            let position = format!("{}{last}", &limit[..length]);
            let name = [b".klp.sym.o.n,", position.as_bytes()].concat();
            compare(&name);
            let fits = position.parse::<usize>().is_ok();
            assert_eq!(parse_symbol(&name).is_some(), fits, "{position}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_taken_as_in_c(name in vec(byte(), 0..64)) {
        compare(&name);
    }

    #[test]
    fn near_misses_are_taken_as_in_c(name in nearly()) {
        compare(&name);
    }

    #[test]
    fn well_formed_symbols_come_back(
        object in field(b'.', MAX_OBJECT),
        name in field(b',', MAX_SYMBOL),
        position: usize,
    ) {
        let mut text = SYMBOL_PREFIX.to_vec();
        text.extend_from_slice(&object);
        text.push(b'.');
        text.extend_from_slice(&name);
        text.extend_from_slice(format!(",{position}").as_bytes());
        let parsed = SymbolName { object: &object, name: &name, position };
        prop_assert_eq!(parse_symbol(&text), Some(parsed));
    }

    #[test]
    fn well_formed_sections_come_back(object in field(b'.', MAX_OBJECT), rest in vec(byte(), 0..9)) {
        let mut text = SECTION_PREFIX.to_vec();
        text.extend_from_slice(&object);
        text.push(b'.');
        text.extend_from_slice(&rest);
        prop_assert_eq!(parse_section(&text), Some(object.as_slice()));
    }
}
