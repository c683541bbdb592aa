//! SQuAD 1.1's metrics (Rajpurkar et al., 2016, arXiv:1606.05250), as its script
//! `evaluate-v1.1.py` computes them.
//!
//! Texts are lower-cased and lose ASCII punctuation, the English articles and superfluous white
//! space.

use crate::{bag, python};

/// Returns 1 where the normalised answer equals a normalised reference, and 0 elsewhere.
pub fn exact_match(answer: &str, references: &[&str]) -> f64 {
    scores(answer, references).0
}

/// Returns F1 over words, the best over the references; 0 where no word is shared, and so also
/// where there is none on either side.
pub fn f1(answer: &str, references: &[&str]) -> f64 {
    scores(answer, references).1
}

/// Returns exact match and F1.
pub(crate) fn scores(answer: &str, references: &[&str]) -> (f64, f64) {
    bag::scores(answer, references, words)
}

/// The words of the normalised text.
pub(crate) fn words(text: &str) -> Vec<String> {
    let text = text
        .to_lowercase()
        .replace(|c: char| c.is_ascii_punctuation(), "");
    python::split(&python::without_articles(&text, &["a", "an", "the"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalised_words() {
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(words(text), expected, "{text}");
        }
        check("The  Cat's \t(a) Theatre.", &["cats", "theatre"]);
        check("rock-and-roll", &["rockandroll"]);
        check("A,n apple", &["apple"]);
        check("“Quoted”, $1,000", &["“quoted”", "1000"]);
        check(" .,! the", &[]);
        check("ΟΔΟΣ İ", &["οδος", "i\u{307}"]);
    }

    #[test]
    fn what_normalises_to_nothing_is_equal_and_shares_nothing() {
        assert_eq!(scores("the", &["."]), (1.0, 0.0));
        assert_eq!(scores("", &["cat"]), (0.0, 0.0));
        assert_eq!(scores("cat", &[]), (0.0, 0.0));
    }
}
