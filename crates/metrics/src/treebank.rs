//! English words by NLTK's rules, an extension of the Penn Treebank's.
//!
//! The substitutions are those of `NLTKWordTokenizer` in NLTK 3.10.4
//! (`nltk/tokenize/destructive.py`), in its order, for lower-cased text.

use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Patterns and what replaces them, before the text is padded with spaces.
const INSIDE: [(&str, &str); 17] = [
    // Opening quotes.
    ("([«“‘„]|[`]+)", " $1 "),
    ("^\"", "``"),
    ("(``)", " $1 "),
    (r#"([ (\[{<])("|'{2})"#, "$1 `` "),
    (APOSTROPHE, ""),
    // Punctuation.
    (r#"([^.])(\.)([\])}>"'»”’ ]*)\s*$"#, "$1 $2 $3 "),
    (r"([:,])([^\d])", " $1 $2"),
    (r"([:,])$", " $1 "),
    (r"(\.{2,})", " $1 "),
    (r"([;@#$%&])", " $1 "),
    (r"([\x{2012}-\x{2015}])", " $1 "),
    (r#"([^.])(\.)([\])}>"']*)\s*$"#, "$1 $2$3 "),
    (r"([?!])", " $1 "),
    (r"([^'])' ", "$1 ' "),
    (r"([*])", " $1 "),
    (r"([\]\[(){}<>])", " $1 "),
    (r"--", " -- "),
];

/// An apostrophe before a word and after none. It is cut off unless the word is one of [`CLITICS`].
const APOSTROPHE: &str = r"\B'(\w+)";

/// What an apostrophe stays with.
const CLITICS: [&str; 8] = ["re", "ve", "ll", "m", "t", "s", "d", "n"];

/// Patterns and what replaces them, after the text is padded with spaces.
const PADDED: [(&str, &str); 16] = [
    // Closing quotes.
    ("([»”’])", " $1 "),
    ("''", " '' "),
    ("\"", " '' "),
    (r"\s+", " "),
    (r"([^' ])('s|'m|'d|') ", "$1 $2 "),
    (r"([^' ])('ll|'re|'ve|n't) ", "$1 $2 "),
    // Contractions.
    (r"\b(can)(not)\b", " $1 $2 "),
    (r"\b(d)('ye)\b", " $1 $2 "),
    (r"\b(gim)(me)\b", " $1 $2 "),
    (r"\b(gon)(na)\b", " $1 $2 "),
    (r"\b(got)(ta)\b", " $1 $2 "),
    (r"\b(lem)(me)\b", " $1 $2 "),
    (r"\b(more)('n)\b", " $1 $2 "),
    (r"\b(wan)(na)\s", " $1 $2  "),
    (r" ('t)(is)\b", " $1 $2 "),
    (r" ('t)(was)\b", " $1 $2 "),
];

type Rule = (Regex, &'static str);

static RULES: LazyLock<(Vec<Rule>, Vec<Rule>)> = LazyLock::new(|| {
    let compile = |(pattern, replacement): &(&str, &'static str)| {
        (Regex::new(pattern).expect("a valid pattern"), *replacement)
    };
    (
        INSIDE.iter().map(compile).collect(),
        PADDED.iter().map(compile).collect(),
    )
});

/// Returns the words of a lower-cased sentence.
pub(crate) fn words(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    let (inside, padded) = &*RULES;
    let substitute = |text: String, (pattern, replacement): &Rule| {
        if pattern.as_str() == APOSTROPHE {
            pattern.replace_all(&text, cut_apostrophe).into_owned()
        } else {
            pattern.replace_all(&text, *replacement).into_owned()
        }
    };
    let text = inside.iter().fold(text.to_owned(), substitute);
    let text = padded.iter().fold(format!(" {text} "), substitute);
    text.split_whitespace().map(str::to_owned).collect()
}

fn cut_apostrophe(found: &Captures) -> String {
    let word = &found[1];
    if CLITICS.contains(&word) {
        found[0].to_owned()
    } else {
        format!("' {word}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_nltk_cuts_them() {
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(words(text), expected, "{text}");
        }
        check(
            "good muffins cost $3.88 (roughly 3,36 euros)",
            &[
                "good", "muffins", "cost", "$", "3.88", "(", "roughly", "3,36", "euros", ")",
            ],
        );
        check(
            "in new york. thanks.",
            &["in", "new", "york.", "thanks", "."],
        );
        check(
            "can't won't cannot it's",
            &["ca", "n't", "wo", "n't", "can", "not", "it", "'s"],
        );
        check("'tis gonna", &["'", "tis", "gon", "na"]);
        check("'a'b 'n x'y", &["'", "a'b", "'n", "x'y"]);
        check(
            "say \"hello\", 'world'",
            &["say", "``", "hello", "''", ",", "'", "world", "'"],
        );
        check("x... y", &["x", "...", "y"]);
        check("a——b", &["a", "—", "—", "b"]);
        check("wanna wanna", &["wan", "na", "wan", "na"]);
        check("", &[]);
    }
}
