//! MLQA's metrics (Lewis et al., 2020, arXiv:1910.07475), as its script `mlqa_evaluation_v1.py`
//! computes them.
//!
//! Texts are lower-cased and lose the punctuation of every script, their language's articles and
//! superfluous white space. A word ends at white space; in Chinese, a Han character is one.

use spanwise_artifact::settings::MlqaLanguage;

use crate::{bag, python};

/// Returns 1 where the normalised answer equals a normalised reference, and 0 elsewhere.
pub fn exact_match(language: MlqaLanguage, answer: &str, references: &[&str]) -> f64 {
    scores(language, answer, references).0
}

/// Returns F1 over words, the best over the references.
pub fn f1(language: MlqaLanguage, answer: &str, references: &[&str]) -> f64 {
    scores(language, answer, references).1
}

/// Returns exact match and F1.
pub(crate) fn scores(language: MlqaLanguage, answer: &str, references: &[&str]) -> (f64, f64) {
    bag::scores(answer, references, |text| words(language, text))
}

/// The words of the normalised text.
fn words(language: MlqaLanguage, text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace(python::is_punctuation, "");
    let without = |articles: &[&str]| python::without_articles(&text, articles);
    let text = match language {
        // The script's pattern cuts the article out of the middle of words, too.
        MlqaLanguage::Arabic => text.replace("ال", " "),
        MlqaLanguage::German => without(&[
            "ein", "eine", "einen", "einem", "eines", "einer", "der", "die", "das", "den", "dem",
            "des",
        ]),
        MlqaLanguage::English => without(&["a", "an", "the"]),
        MlqaLanguage::Spanish => without(&["un", "una", "unos", "unas", "el", "la", "los", "las"]),
        MlqaLanguage::Vietnamese => without(&["của", "là", "cái", "chiếc", "những"]),
        MlqaLanguage::Chinese => with_han_apart(&text),
        MlqaLanguage::Hindi => text,
    };
    python::split(&text)
}

/// The text with spaces around each Han character of the first block.
fn with_han_apart(text: &str) -> String {
    let mut apart = String::with_capacity(text.len());
    for c in text.chars() {
        if ('\u{4e00}'..='\u{9fa5}').contains(&c) {
            apart.extend([' ', c, ' ']);
        } else {
            apart.push(c);
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_by_language() {
        fn check(language: MlqaLanguage, text: &str, expected: &[&str]) {
            assert_eq!(words(language, text), expected, "{language:?} {text}");
        }
        check(MlqaLanguage::English, "The «cat», a Dog!", &["cat", "dog"]);
        check(
            MlqaLanguage::German,
            "Die Größe eines Hauses",
            &["größe", "hauses"],
        );
        check(
            MlqaLanguage::Spanish,
            "¿La casa de los Ríos?",
            &["casa", "de", "ríos"],
        );
        check(
            MlqaLanguage::Vietnamese,
            "Là thủ đô của nước",
            &["thủ", "đô", "nước"],
        );
        // Decomposed, it is no article: a mark ends a word, and the letter is another.
        check(MlqaLanguage::Vietnamese, "la\u{300}", &["la\u{300}"]);
        check(
            MlqaLanguage::Arabic,
            "البيت، والكتاب",
            &["بيت", "و", "كتاب"],
        );
        check(MlqaLanguage::Hindi, "राजा।", &["राजा"]);
        check(
            MlqaLanguage::Chinese,
            "第9年（the Year）㐀",
            &["第", "9", "年", "the", "year㐀"],
        );
    }
}
