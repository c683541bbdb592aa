//! What tokens and windows lose of a split, in one sentence each.

use spanwise_artifact::Split;
use spanwise_artifact::settings::WindowsTable;
use spanwise_artifact::windows::WindowCounts;

/// From this share of answers or tokens on, a loss is the first thing to look at.
const LARGE: f64 = 0.1;

/// A loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// What is lost, and what can be done about it where it is large.
    pub sentence: String,
    /// Whether it is to be expected, as a few answers inside of tokens are.
    pub expected: bool,
}

/// Logs what is lost of a split.
pub fn say(split: Split, counts: &WindowCounts, settings: &WindowsTable) {
    for Loss { sentence, expected } in of(split, counts, settings) {
        if expected {
            tracing::info!("{}: {sentence}", split.name());
        } else {
            tracing::warn!("{}: {sentence}", split.name());
        }
    }
}

/// Returns what is lost of a split.
pub fn of(split: Split, counts: &WindowCounts, settings: &WindowsTable) -> Vec<Loss> {
    let mut losses = Vec::new();
    let mut add = |count: usize, expected: bool, sentence: String| {
        if count > 0 {
            losses.push(Loss { sentence, expected });
        }
    };
    let large = |part: usize, all: usize| part as f64 >= LARGE * all as f64;

    let (cut, questions) = (counts.questions_cut, counts.questions);
    let length = settings.max_question_length;
    add(
        cut,
        false,
        format!(
            "{cut} of {questions} questions are cut to {length} tokens and lose their end: raise \
             windows.max_question_length"
        ),
    );

    let (inside, answers) = (counts.answers_not_expressible, counts.answers);
    let many = large(inside, answers);
    let remedy = if many {
        "; checkpoint.split_characters = true makes every character a token of its own"
    } else {
        ""
    };
    add(
        inside,
        !many,
        format!("{inside} of {answers} answers do not end where tokens do{remedy}"),
    );

    let so = match split {
        Split::Train => "they are not learned from",
        Split::Dev | Split::Test => "no window has all of them",
    };
    let long = counts.answers_longer_than_window;
    add(
        long,
        false,
        format!("{long} of {answers} answers are longer than a window: {so}"),
    );
    let without = counts.answers_without_tokens;
    let so = match split {
        Split::Train => "they are not learned from",
        Split::Dev | Split::Test => "no model finds them",
    };
    add(
        without,
        false,
        format!("{without} of {answers} answers have no token: {so}"),
    );

    let (with_unknown, paragraphs) = (counts.paragraphs_with_unknown_tokens, counts.paragraphs);
    let share = 100.0 * counts.unknown_tokens as f64 / counts.tokens.max(1) as f64;
    let many = large(counts.unknown_tokens, counts.tokens);
    let remedy = if many {
        ": is the checkpoint for another language?"
    } else {
        ""
    };
    add(
        with_unknown,
        !many,
        format!(
            "{with_unknown} of {paragraphs} paragraphs have tokens that are not in the vocabulary, \
             {share:.1} % of all tokens{remedy}"
        ),
    );
    let nothing = counts.paragraphs_unknown;
    add(
        nothing,
        false,
        format!("{nothing} of {paragraphs} paragraphs have nothing that is in the vocabulary"),
    );
    losses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_loss_is_a_sentence_and_no_loss_is_none() {
        let check = |split, counts: WindowCounts, expected: &[(bool, &str)]| {
            let found = of(split, &counts, &WindowsTable::default());
            let found: Vec<_> = found
                .iter()
                .map(|loss| (loss.expected, loss.sentence.as_str()))
                .collect();
            assert_eq!(found, expected);
        };
        let none = WindowCounts {
            questions: 20,
            answers: 20,
            paragraphs: 5,
            tokens: 100,
            ..WindowCounts::default()
        };
        check(Split::Train, none, &[]);
        check(
            Split::Dev,
            WindowCounts {
                answers_not_expressible: 1,
                paragraphs_with_unknown_tokens: 1,
                unknown_tokens: 1,
                ..none
            },
            &[
                (true, "1 of 20 answers do not end where tokens do"),
                (
                    true,
                    "1 of 5 paragraphs have tokens that are not in the vocabulary, 1.0 % of all tokens",
                ),
            ],
        );
        let all = WindowCounts {
            questions_cut: 1,
            answers_not_expressible: 2,
            answers_longer_than_window: 3,
            answers_without_tokens: 4,
            paragraphs_with_unknown_tokens: 5,
            paragraphs_unknown: 1,
            unknown_tokens: 10,
            ..none
        };
        let common = |so: &'static str, nor: &'static str| {
            vec![
                (
                    false,
                    "1 of 20 questions are cut to 60 tokens and lose their end: raise \
                     windows.max_question_length"
                        .to_owned(),
                ),
                (
                    false,
                    "2 of 20 answers do not end where tokens do; checkpoint.split_characters = true \
                     makes every character a token of its own"
                        .to_owned(),
                ),
                (
                    false,
                    format!("3 of 20 answers are longer than a window: {so}"),
                ),
                (false, format!("4 of 20 answers have no token: {nor}")),
                (
                    false,
                    "5 of 5 paragraphs have tokens that are not in the vocabulary, 10.0 % of all \
                     tokens: is the checkpoint for another language?"
                        .to_owned(),
                ),
                (
                    false,
                    "1 of 5 paragraphs have nothing that is in the vocabulary".to_owned(),
                ),
            ]
        };
        for (split, so, nor) in [
            (
                Split::Train,
                "they are not learned from",
                "they are not learned from",
            ),
            (
                Split::Dev,
                "no window has all of them",
                "no model finds them",
            ),
        ] {
            let expected = common(so, nor);
            let expected: Vec<_> = expected
                .iter()
                .map(|(expected, sentence)| (*expected, sentence.as_str()))
                .collect();
            check(split, all, &expected);
        }
    }
}
