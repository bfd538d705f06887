// SPDX-License-Identifier: GPL-2.0
//! What a part of the verification found.

/// What a part found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Whether the part passed.
    pub passed: bool,
    /// The figures, one line each.
    pub figures: Vec<String>,
}

impl Findings {
    /// Returns findings with one line.
    pub fn one(passed: bool, figures: String) -> Self {
        Self {
            passed,
            figures: vec![figures],
        }
    }
}

/// Formats a number with its thousands apart.
pub fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1000), "1 000");
        assert_eq!(thousands(1234567), "1 234 567");
    }
}
