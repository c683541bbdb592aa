//! Character offsets into UTF-8 text.

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

#[cfg(test)]
mod tests {
    use super::Characters;

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
