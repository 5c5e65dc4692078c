//! Unified diffs of texts.

use similar::TextDiff;

use super::{escape, paint, style};

/// A unified diff, empty when the two are equal.
pub fn unified(old: &str, new: &str, old_name: &str, new_name: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let plain = diff.unified_diff().context_radius(3).header(&escape(old_name), &escape(new_name)).to_string();
    let mut text = String::with_capacity(plain.len());
    for line in plain.lines() {
        let shown = escape(line);
        text.push_str(&match line.as_bytes().first() {
            Some(b'+') => paint(style::GOOD, shown),
            Some(b'-') => paint(style::BAD, shown),
            Some(b'@') => paint(style::DIM, shown),
            _ => shown,
        });
        text.push('\n');
    }
    text
}
