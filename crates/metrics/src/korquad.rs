//! KorQuAD 1.0's metrics (Lim et al., 2019, arXiv:1909.07005), as its script `evaluate-v1.0.py`
//! computes them.
//!
//! Quotation marks and brackets become spaces, texts are lower-cased and lose ASCII punctuation
//! and superfluous white space. F1 is over characters.

use crate::{bag, python};

/// The quotation marks and brackets that become spaces.
const TO_SPACE: &str = "'\"《》<>〈〉()‘’";

/// Returns 1 where the normalised answer equals a normalised reference, and 0 elsewhere.
pub fn exact_match(answer: &str, references: &[&str]) -> f64 {
    scores(answer, references).0
}

/// Returns F1 over characters, the best over the references.
pub fn f1(answer: &str, references: &[&str]) -> f64 {
    scores(answer, references).1
}

/// Returns exact match and F1.
pub(crate) fn scores(answer: &str, references: &[&str]) -> (f64, f64) {
    let (exact, _) = bag::scores(answer, references, words);
    let answer = characters(answer);
    let f1 = references
        .iter()
        .map(|reference| bag::f1(&answer, &characters(reference)));
    (exact, f1.fold(0.0, f64::max))
}

fn words(text: &str) -> Vec<String> {
    let text = text.replace(|c| TO_SPACE.contains(c), " ").to_lowercase();
    python::split(&text.replace(|c: char| c.is_ascii_punctuation(), ""))
}

fn characters(text: &str) -> Vec<char> {
    let words = words(text);
    words.iter().flat_map(|word| word.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_cut_words_and_other_marks_join_them() {
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(words(text), expected, "{text}");
        }
        check("《한국》의 <수도>", &["한국", "의", "수도"]);
        check("1,000-A [b]", &["1000a", "b"]);
        check("don't “x” 「y」", &["don", "t", "“x”", "「y」"]);
        check(" ''. ", &[]);
    }

    #[test]
    fn f1_is_over_characters_whatever_the_words() {
        assert_eq!(scores("서울 시", &["서울시"]), (0.0, 1.0));
        assert_eq!(scores("울서", &["서울시"]), (0.0, 0.8));
        assert_eq!(scores("", &["()"]), (1.0, 0.0));
    }
}
