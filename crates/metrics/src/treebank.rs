//! English words by NLTK's rules, an extension of the Penn Treebank's.
//!
//! The substitutions are those of `NLTKWordTokenizer` in NLTK 3.10.4
//! (`nltk/tokenize/destructive.py`), in its order, for lower-cased text.

use std::sync::LazyLock;

use regex::{Captures, Regex};

use crate::python;

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
const PADDED: [(&str, &str); 6] = [
    // Closing quotes.
    ("([»”’])", " $1 "),
    ("''", " '' "),
    ("\"", " '' "),
    (r"\s+", " "),
    (r"([^' ])('s|'m|'d|') ", "$1 $2 "),
    (r"([^' ])('ll|'re|'ve|n't) ", "$1 $2 "),
];

/// The two parts of contractions, and what stands before and behind them.
const CONTRACTIONS: [(&str, &str, Edge, Edge); 10] = [
    ("can", "not", Edge::Word, Edge::Word),
    ("d", "'ye", Edge::Word, Edge::Word),
    ("gim", "me", Edge::Word, Edge::Word),
    ("gon", "na", Edge::Word, Edge::Word),
    ("got", "ta", Edge::Word, Edge::Word),
    ("lem", "me", Edge::Word, Edge::Word),
    ("more", "'n", Edge::Word, Edge::Word),
    ("wan", "na", Edge::Word, Edge::Space),
    ("'t", "is", Edge::Space, Edge::Word),
    ("'t", "was", Edge::Space, Edge::Word),
];

/// Where a contraction begins or ends. NLTK finds contractions with Python's module `re` and
/// everything else with the module `regex`, whose words are those of Rust's `regex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    /// No further character of the word.
    Word,
    /// White space.
    Space,
}

impl Edge {
    /// Whether a contraction can be beside this character, or beside an end of the text.
    fn is_at(self, beside: Option<char>) -> bool {
        match self {
            Self::Word => !beside.is_some_and(python::is_word),
            Self::Space => beside.is_some_and(python::is_space),
        }
    }
}

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

/// Returns the words of a lower-cased sentence. As NLTK's cutting into sentences has it, white space
/// at its end is none of it.
pub(crate) fn words(text: &str) -> Vec<String> {
    let text = text.trim_end_matches(python::is_space);
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
    python::split(&CONTRACTIONS.into_iter().fold(text, cut_contraction))
}

/// Puts spaces around both parts of a contraction wherever it stands.
fn cut_contraction(text: String, (left, right, before, after): (&str, &str, Edge, Edge)) -> String {
    let mut cut = String::with_capacity(text.len());
    let mut previous = None;
    let mut rest = &*text;
    while let Some(c) = rest.chars().next() {
        let found = after_prefix(rest, left)
            .and_then(|middle| Some((middle, after_prefix(middle, right)?)))
            .filter(|(_, end)| before.is_at(previous) && after.is_at(end.chars().next()));
        let end = match found {
            Some((middle, end)) => {
                let (left, right) = (without(rest, middle), without(middle, end));
                cut.extend([" ", left, " ", right, " "]);
                end
            }
            None => {
                cut.push(c);
                &rest[c.len_utf8()..]
            }
        };
        previous = without(rest, end).chars().next_back();
        rest = end;
    }
    cut
}

/// What a text has before its end.
fn without<'a>(text: &'a str, end: &str) -> &'a str {
    &text[..text.len() - end.len()]
}

/// What follows a prefix, where the text has it, as Python compares lower-cased text when case does
/// not count: a long s is an s, a dotless i an i.
fn after_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let mut rest = text.chars();
    let fold = |c| match c {
        'ſ' => 's',
        'ı' => 'i',
        c => c,
    };
    let same = prefix.chars().all(|c| rest.next().map(fold) == Some(c));
    same.then_some(rest.as_str())
}

fn cut_apostrophe(found: &Captures) -> String {
    let word = &found[1];
    // Case does not count, and a long s is a lower-case s.
    if CLITICS.contains(&word) || word == "ſ" {
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
        check(
            "cannot'tis more'n d'ye",
            &["can", "not", "'t", "is", "more", "'n", "d", "'ye"],
        );
        // A mark ends a word for contractions, but not for apostrophes.
        check(
            "gonna\u{301} \u{301}'a",
            &["gon", "na", "\u{301}", "\u{301}'a"],
        );
        check("cannot² cannot_", &["cannot²", "cannot_"]);
        check("'ſ 'tıs gımme", &["'ſ", "'", "tıs", "gım", "me"]);
        check("a\u{1c}b.\u{1f}", &["a", "b", "."]);
        check("", &[]);
    }
}
