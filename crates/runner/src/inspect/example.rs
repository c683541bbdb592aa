//! A question in its paragraph, token by token, with the answer marked. Short whatever is long.

use std::ops::Range;

use serde::Serialize;
use spanwise_artifact::{Answer, Question};

use super::tokens::QuestionTokens;

/// Characters shown of a paragraph on either side of the answer.
const AROUND: usize = 80;

/// Characters shown at either end of a long answer.
const INSIDE: usize = 60;

/// Characters shown of any other text.
const TEXT: usize = 200;

/// A question as the page shows it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Example {
    pub(super) id: String,
    pub(super) question: String,
    /// Tokens of the question, once it is cut; `None` without a checkpoint.
    pub(super) question_tokens: Option<usize>,
    /// The first reference answer, where there is one.
    pub(super) answer: Option<String>,
    /// The paragraph around the answer.
    pub(super) paragraph: Vec<Part>,
}

/// A part of a paragraph.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Part {
    pub(super) kind: Kind,
    /// Number of tokens that cover just these characters: one, but for characters of several bytes
    /// that have a token each. None of what is no token.
    pub(super) tokens: usize,
    pub(super) pieces: Vec<Piece>,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// A token of the vocabulary.
    Token,
    /// A token that the vocabulary lacks.
    Unknown,
    /// Characters that no token covers, such as white space; all of them without a checkpoint.
    Text,
    /// Something that is not shown.
    Gap,
}

/// Characters of a part, all of the answer or none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) is_answer: bool,
}

impl Example {
    pub(super) fn new(
        question: &Question,
        paragraph: &str,
        tokens: Option<QuestionTokens>,
    ) -> Self {
        let answer = question.answers().first();
        let parts = tokens.as_ref().map_or(&[][..], |tokens| &tokens.paragraph);
        Self {
            id: beginning(&question.id),
            question: beginning(&question.text),
            question_tokens: tokens.as_ref().map(|tokens| tokens.question),
            answer: answer.map(|answer| beginning(&answer.text)),
            paragraph: excerpt(paragraph, answer, parts),
        }
    }
}

/// Returns the beginning of a text, and how much is left out.
pub(super) fn beginning(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        None => text.to_owned(),
        Some((byte, _)) => {
            let (shown, rest) = text.split_at(byte);
            format!("{shown}… ({} more characters)", rest.chars().count())
        }
    }
}

/// Returns the paragraph around the answer, or its beginning, cut into tokens; what lies farther
/// away, and the middle of a long answer, is left out.
fn excerpt(paragraph: &str, answer: Option<&Answer>, tokens: &[(Range<usize>, bool)]) -> Vec<Part> {
    let answer = answer.map_or(0..0, Answer::range);
    let is_shown = |index: usize| {
        let is_around = index + AROUND >= answer.start && index < answer.end + AROUND;
        let (first, last) = (answer.start + INSIDE, answer.end.saturating_sub(INSIDE));
        is_around && (index < first || index >= last)
    };
    let mut parts: Vec<Part> = Vec::new();
    let mut tokens = tokens.iter().peekable();
    // The last token so far, and where it ends.
    let (mut token, mut end) = (Kind::Token, 0);
    for (index, character) in paragraph.chars().enumerate() {
        let mut begins = false;
        while let Some((range, is_unknown)) =
            tokens.next_if(|(range, _)| range.start.max(end) <= index)
        {
            if range.end > end {
                begins = true;
                end = range.end;
                token = if *is_unknown {
                    Kind::Unknown
                } else {
                    Kind::Token
                };
            } else {
                count_covered(&mut parts);
            }
        }
        let kind = match () {
            () if !is_shown(index) => Kind::Gap,
            () if index < end => token,
            () => Kind::Text,
        };
        let is_new = begins && kind != Kind::Gap;
        if is_new || parts.last().is_none_or(|last| last.kind != kind) {
            parts.push(Part {
                kind,
                tokens: usize::from(matches!(kind, Kind::Token | Kind::Unknown)),
                pieces: Vec::new(),
            });
        }
        if let Some(last) = parts.last_mut().filter(|_| kind != Kind::Gap) {
            last.push(character, answer.contains(&index));
        }
    }
    tokens.for_each(|_| count_covered(&mut parts));
    parts
}

/// Counts a token whose characters the one before it covers.
fn count_covered(parts: &mut [Part]) {
    if let Some(last) = parts.last_mut().filter(|last| last.tokens > 0) {
        last.tokens += 1;
    }
}

impl Part {
    fn push(&mut self, character: char, is_answer: bool) {
        match self.pieces.last_mut() {
            Some(last) if last.is_answer == is_answer => last.text.push(character),
            _ => self.pieces.push(Piece {
                text: character.to_string(),
                is_answer,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Parts as text: tokens in brackets, unknown ones in braces, answers in asterisks.
    fn shown(parts: &[Part]) -> String {
        let part = |part: &Part| {
            let mut text = String::new();
            for piece in &part.pieces {
                let mark = if piece.is_answer { "*" } else { "" };
                text.extend([mark, &piece.text, mark]);
            }
            let text = match part.tokens {
                0 | 1 => text,
                tokens => format!("{text}×{tokens}"),
            };
            match part.kind {
                Kind::Token => format!("[{text}]"),
                Kind::Unknown => format!("{{{text}}}"),
                Kind::Text => text,
                Kind::Gap => "…".to_owned(),
            }
        };
        parts.iter().map(part).collect()
    }

    fn answer(text: &str, start: usize) -> Answer {
        Answer {
            text: text.to_owned(),
            start,
        }
    }

    #[test]
    fn the_answer_is_marked_across_tokens() {
        let check =
            |text: &str, marked: Option<Answer>, tokens: &[(usize, usize, bool)], expected| {
                let tokens: Vec<_> = tokens
                    .iter()
                    .map(|&(start, end, is_unknown)| (start..end, is_unknown))
                    .collect();
                assert_eq!(shown(&excerpt(text, marked.as_ref(), &tokens)), expected);
            };
        check("a dog", None, &[], "a dog");
        check("a dog", Some(answer("dog", 2)), &[], "a *dog*");
        let tokens = [(0, 1, false), (2, 5, true)];
        check("a dog", Some(answer("dog", 2)), &tokens, "[a] {*dog*}");
        check("a dog.", Some(answer("do", 2)), &tokens, "[a] {*do*g}.");
        let adjacent = [(0, 2, false), (2, 4, false), (4, 5, false)];
        check(
            "1926年",
            Some(answer("26年", 2)),
            &adjacent,
            "[19][*26*][*年*]",
        );
        // Three bytes of a character are a token each; the next token covers part of it as well.
        let bytes = [
            (0, 1, false),
            (0, 1, false),
            (0, 1, false),
            (0, 2, false),
            (1, 2, false),
        ];
        check("國家", Some(answer("家", 1)), &bytes, "[國×3][*家*×2]");
        check("", None, &[], "");
    }

    #[test]
    fn what_is_far_is_left_out() {
        let lengths = |length: usize, marked: Option<(usize, usize)>, tokens: &[_]| -> Vec<_> {
            let text = "字".repeat(length);
            let marked = marked.map(|(start, end)| answer(&"字".repeat(end - start), start));
            let parts = excerpt(&text, marked.as_ref(), tokens);
            parts
                .iter()
                .flat_map(|part| {
                    let pieces = part.pieces.iter();
                    let lengths: Vec<_> = pieces
                        .map(|piece| (piece.text.chars().count(), piece.is_answer))
                        .collect();
                    match part.kind {
                        Kind::Gap => vec![(0, false)],
                        _ => lengths,
                    }
                })
                .collect()
        };
        let gap = (0, false);
        assert_eq!(lengths(500, None, &[]), [(AROUND, false), gap]);
        assert_eq!(
            lengths(500, Some((200, 203)), &[]),
            [gap, (AROUND, false), (3, true), (AROUND, false), gap]
        );
        assert_eq!(
            lengths(1000, Some((100, 900)), &[]),
            [
                gap,
                (AROUND, false),
                (INSIDE, true),
                gap,
                (INSIDE, true),
                (AROUND, false),
                gap
            ]
        );
        // A token of a whole paragraph is cut as well.
        assert_eq!(
            lengths(500, Some((200, 203)), &[(0..500, true)]),
            [gap, (AROUND, false), (3, true), (AROUND, false), gap]
        );
        assert_eq!(beginning(&"字".repeat(TEXT)), "字".repeat(TEXT));
        let cut = format!("{}… (1 more characters)", "字".repeat(TEXT));
        assert_eq!(beginning(&"字".repeat(TEXT + 1)), cut);
    }
}
