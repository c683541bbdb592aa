//! Character offsets into UTF-8 text, and texts in messages.

use std::fmt::Display;
use std::ops::Range;

/// A text addressed by characters (Unicode scalar values), the unit of every offset in this
/// project.
pub struct Characters<'a> {
    text: &'a str,
    /// Byte offset of every character, and the text's length at the end.
    bytes: Vec<usize>,
}

impl<'a> Characters<'a> {
    /// Indexes `text`.
    pub fn new(text: &'a str) -> Self {
        let bytes = text
            .char_indices()
            .map(|(byte, _)| byte)
            .chain([text.len()])
            .collect();
        Self { text, bytes }
    }

    /// Number of characters.
    pub fn len(&self) -> usize {
        self.bytes.len() - 1
    }

    /// Whether the text has no character.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The substring of a character range; `None` if the range is reversed or runs past the end.
    pub fn get(&self, range: Range<usize>) -> Option<&'a str> {
        if range.start > range.end {
            return None;
        }
        Some(&self.text[*self.bytes.get(range.start)?..*self.bytes.get(range.end)?])
    }
}

/// How many of many names a message has.
const NAMED: usize = 3;

/// Returns the first few of some names and the number of the others. Names may come from files that
/// anyone has written: control characters are shown as such.
pub fn some_of(names: &[impl Display]) -> String {
    let first = names.iter().take(NAMED);
    let mut some: Vec<String> = first
        .map(|name| name.to_string().escape_debug().collect())
        .collect();
    if names.len() > NAMED {
        some.push(format!("and {} others", names.len() - NAMED));
    }
    some.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_names_are_counted() {
        let check = |names: &[&str], expected: &str| assert_eq!(some_of(names), expected);
        check(&[], "");
        check(&["a", "b", "c"], "a, b, c");
        check(&["a", "b", "c", "d", "e"], "a, b, c, and 2 others");
        check(&["\x1b[2J\u{202e}"], "\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn slices_by_scalar_value() {
        let characters = Characters::new("a𠮷é國");
        assert_eq!(characters.len(), 4);
        assert_eq!(characters.get(1..3), Some("𠮷é"));
        assert_eq!(characters.get(4..4), Some(""));
        assert_eq!(characters.get(3..5), None);
        #[expect(
            clippy::reversed_empty_ranges,
            reason = "the refusal is what is tested"
        )]
        let reversed = characters.get(2..1);
        assert_eq!(reversed, None);
    }
}
