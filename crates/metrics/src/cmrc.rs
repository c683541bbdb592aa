//! CMRC 2018's metrics (Cui et al., 2019, arXiv:1810.07366), as its script `cmrc2018_evaluate.py`
//! computes them.
//!
//! Texts are lower-cased, stripped, and lose a list of punctuation. F1 is over segments: a Han
//! character is one, and what is between Han characters is cut into words by NLTK's tokenizer. What
//! is shared is their longest common substring. The script cuts texts into English sentences before
//! it cuts them into words; answers are taken to be one sentence.

use crate::{bag, python, treebank};

/// Returns 1 where the normalised answer equals a normalised reference, and 0 elsewhere.
pub fn exact_match(answer: &str, references: &[&str]) -> f64 {
    let answer = normalise(answer);
    let mut references = references.iter();
    f64::from(references.any(|reference| normalise(reference) == answer))
}

/// Returns F1 over segments, the best over the references.
pub fn f1(answer: &str, references: &[&str]) -> f64 {
    let answer = segments(answer);
    let scores = references.iter().map(|reference| {
        let reference = segments(reference);
        let common = longest_common_substring(&answer, &reference);
        bag::f1_of_shared(common, answer.len(), reference.len())
    });
    scores.fold(0.0, f64::max)
}

/// The punctuation that the script removes, character by character. Its list also has `……`, which
/// no character equals.
const PUNCTUATION: &str = "-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』";

fn normalise(text: &str) -> String {
    let text = text.to_lowercase();
    let kept = python::strip(&text).chars();
    kept.filter(|&c| !PUNCTUATION.contains(c)).collect()
}

fn segments(text: &str) -> Vec<String> {
    let mut segments = Vec::new();
    let mut between = String::new();
    for c in normalise(text).chars() {
        if ('\u{4e00}'..='\u{9fa5}').contains(&c) {
            segments.extend(treebank::words(&between));
            between.clear();
            segments.push(c.to_string());
        } else {
            between.push(c);
        }
    }
    segments.extend(treebank::words(&between));
    segments
}

fn longest_common_substring(a: &[String], b: &[String]) -> usize {
    let mut longest = 0;
    // Entry i + 1: length of the longest common substring that ends with this segment of `a` and
    // `b[i]`.
    let mut previous = vec![0usize; b.len() + 1];
    for left in a {
        let mut current = vec![0usize; b.len() + 1];
        for (index, right) in b.iter().enumerate() {
            if left == right {
                current[index + 1] = previous[index] + 1;
                longest = longest.max(current[index + 1]);
            }
        }
        previous = current;
    }
    longest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn official_scores() {
        // What the script returns for these.
        fn check(answer: &str, references: &[&str], expected_exact: f64, expected_f1: f64) {
            assert_eq!(exact_match(answer, references), expected_exact, "{answer}");
            let found = f1(answer, references);
            assert!((found - expected_f1).abs() < 1e-9, "{answer}: {found}");
        }
        check("《Hello World》", &["hello world"], 1.0, 1.0);
        check("李白", &["杜甫"], 0.0, 0.0);
        check("詩人李白", &["李白"], 0.0, 2.0 / 3.0);
        check("", &["李白"], 0.0, 0.0);
        check("。", &["李白"], 0.0, 0.0);
        check(
            "日本漫画家赤",
            &["日本漫画家赤冢不二夫", "（）是日本漫画家赤冢不二夫"],
            0.0,
            0.75,
        );
        // Removed punctuation joins words and does not cut them.
        check(
            "2008-09年马季开始举",
            &["2008-09年马季", " 2008-09年马季，"],
            0.0,
            8.0 / 11.0,
        );
        check("次程可获$4.2车资折扣", &["$4.2车资折扣"], 0.0, 0.75);
        check("3.50 年", &["$3.50 "], 0.0, 0.5);
        check("an't ", &["can't", "한국"], 0.0, 0.5);
        check("a].", &["[a]"], 0.0, 2.0 / 3.0);
        check("Wi-Fi公里...", &["Wi-Fi公里"], 0.0, 6.0 / 7.0);
        check("24:00 \u{3000} 年", &["24:00 \u{3000} "], 0.0, 2.0 / 3.0);
        check(
            "的原中华民国国军——今简称「孤军」",
            &["原中华民国国军——今简称「孤军」"],
            0.0,
            28.0 / 29.0,
        );
        check("李白", &[], 0.0, 0.0);
        // Ends are stripped before marks are removed, and of Python's white space.
        check("\u{1c}李白\u{1f}", &["李白"], 1.0, 1.0);
        check("《 李白 》", &["李白"], 0.0, 1.0);
        check("a\u{1c}b", &["b"], 0.0, 2.0 / 3.0);
    }

    proptest! {
        #[test]
        fn a_text_equals_itself(text in "[a-zA-Z0-9一-十，。 ]{0,12}[一-十]") {
            prop_assert_eq!(exact_match(&text, &[&text]), 1.0);
            prop_assert_eq!(f1(&text, &[&text]), 1.0);
        }

        #[test]
        fn f1_is_symmetric_and_a_share(a in "[ab一-五]{0,8}", b in "[ab一-五]{0,8}") {
            let found = f1(&a, &[&b]);
            prop_assert!((0.0..=1.0).contains(&found));
            prop_assert!((found - f1(&b, &[&a])).abs() < 1e-12);
        }
    }
}
