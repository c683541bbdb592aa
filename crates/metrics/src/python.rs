//! Characters as Python knows them, in which the published scripts are written.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

/// Whether `str.isspace` holds and `str.split` splits here: Unicode's white space and the four
/// information separators.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Whether `\w` of the module `re` matches: a letter, a number or `_`. Marks that combine with a
/// letter do not count.
pub(crate) fn is_word(c: char) -> bool {
    use GeneralCategoryGroup::{Letter, Number};
    c == '_' || matches!(c.general_category_group(), Letter | Number)
}

/// Whether a character is punctuation in any script, or one of ASCII's symbols.
pub(crate) fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.general_category_group() == GeneralCategoryGroup::Punctuation
}

/// `str.strip`.
pub(crate) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `str.split`: the words between white space.
pub(crate) fn split(text: &str) -> Vec<String> {
    let words = text.split(is_space).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Replaces the words that are articles with a space, as `\b(a|an|the)\b` finds them.
pub(crate) fn without_articles(text: &str, articles: &[&str]) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_inside = |c: char| is_word(c) == is_word(first);
        let (run, after) = rest.split_at(rest.find(|c| !is_inside(c)).unwrap_or(rest.len()));
        kept.push_str(if articles.contains(&run) { " " } else { run });
        rest = after;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_is_pythons() {
        assert_eq!(split("\u{1c}a\u{1f}b\u{3000}\u{85}c \n"), ["a", "b", "c"]);
        assert_eq!(split("a\u{200b}b\u{180e}"), ["a\u{200b}b\u{180e}"]);
        assert_eq!(split(" \u{1d}"), [""; 0]);
        assert_eq!(strip("\u{1e} a b\u{a0}"), "a b");
    }

    #[test]
    fn articles_are_whole_words() {
        fn check(text: &str, expected: &str) {
            assert_eq!(
                without_articles(text, &["a", "an", "the"]),
                expected,
                "{text}"
            );
        }
        check("the cat", "  cat");
        check("theatre", "theatre");
        check("a", " ");
        check("a_ _a a1 a² aé", "a_ _a a1 a² aé");
        // A mark is no part of a word, and neither are a joiner and a circled letter.
        check("a\u{301} a\u{200d}b ⓐa", " \u{301}  \u{200d}b ⓐ ");
        check("a，the的", " ，the的");
        check("", "");
    }

    #[test]
    fn punctuation_is_that_of_every_script_and_ascii_symbols() {
        for c in "$+<=>^`|~!_-—‿«»‹›（）〽·،।჻၊".chars() {
            assert!(is_punctuation(c), "{c}");
        }
        for c in "€©°±²ー々 \u{301}".chars() {
            assert!(!is_punctuation(c), "{c}");
        }
    }
}
