// SPDX-License-Identifier: GPL-2.0
//! A table as reStructuredText has it, which people can read too.

/// Returns a simple table whose first line is its head.
pub fn aligned<const N: usize>(lines: &[[String; N]]) -> String {
    let mut widths = [0; N];
    for line in lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.len().max(*width);
        }
    }
    let rule = widths.map(|width| "=".repeat(width)).join("  ");
    let mut text = format!("{rule}\n");
    for (index, line) in lines.iter().enumerate() {
        let cells: Vec<_> = line
            .iter()
            .zip(widths)
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        text += cells.join("  ").trim_end();
        text += "\n";
        if index == 0 {
            text += &format!("{rule}\n");
        }
    }
    text + &rule + "\n"
}
