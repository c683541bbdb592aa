//! The numbers of a split, of one pass over its texts.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use spanwise_artifact::error::damaged;
use spanwise_artifact::questions::{ParagraphReader, QuestionCounts};
use spanwise_artifact::{Paragraph, Question, Split, jsonl};
use spanwise_program::signals;
use spanwise_spans::sample::in_sample;

use super::example::Example;
use super::lengths::{Distribution, Lengths};
use super::shared::Texts;
use super::tokens::{SplitTokens, TokenNumbers};
use super::{Recognised, Wrong};

/// Examples shown of a split.
const EXAMPLES: usize = 3;

/// What is found out about a split.
#[derive(Debug, Default, Serialize)]
pub(super) struct SplitNumbers {
    pub(super) name: &'static str,
    pub(super) files: Vec<Recognised>,
    #[serde(flatten)]
    pub(super) counts: QuestionCounts,
    /// Share of answered questions among those of which it is known whether they have an answer;
    /// `None` where it is known of none.
    pub(super) answerable_share: Option<f64>,
    /// Questions that the split has more than once, about the same paragraph, but for the first.
    pub(super) repeated_questions: usize,
    /// Lengths in characters.
    pub(super) characters: TextLengths,
    /// `None` without a checkpoint.
    pub(super) tokens: Option<TokenNumbers>,
    /// The first wrong records.
    pub(super) wrong: Vec<Wrong>,
    pub(super) examples: Vec<Example>,
}

/// Lengths of a split's texts.
#[derive(Debug, Default, Serialize)]
pub(super) struct TextLengths {
    pub(super) paragraphs: Distribution,
    pub(super) questions: Distribution,
    /// Of each answered question the first reference answer, which is the one that is trained on.
    pub(super) answers: Distribution,
}

impl SplitNumbers {
    /// What the data stage has counted of a split.
    pub(super) fn new(name: &'static str, counts: QuestionCounts) -> Self {
        let known = counts.answered + counts.unanswerable;
        Self {
            name,
            counts,
            answerable_share: (known > 0).then(|| counts.answered as f64 / known as f64),
            ..Self::default()
        }
    }

    /// Adds what the texts of the split show, which are in the data artifact `data`; returns what is
    /// compared with other splits.
    pub(super) fn measure(
        &mut self,
        data: &Path,
        split: Split,
        tokens: Option<SplitTokens>,
    ) -> Result<Texts> {
        let mut texts = Texts::default();
        let path = data.join(split.paragraphs_file());
        let mut lengths = Lengths::default();
        for paragraph in jsonl::read::<Paragraph>(&path)? {
            signals::check("")?;
            let text = paragraph?.text;
            lengths.add(text.chars().count());
            texts.push_paragraph(&text);
        }
        self.characters.paragraphs = lengths.finish();

        let mut paragraphs = ParagraphReader::open(&path)?;
        let path = data.join(split.questions_file());
        let (mut lengths, mut answers) = (Lengths::default(), Lengths::default());
        let mut seen = 0;
        for (index, question) in jsonl::read::<Question>(&path)?.enumerate() {
            signals::check("")?;
            let question = question?;
            lengths.add(question.text.chars().count());
            let answer = question.answers().first();
            if let Some(answer) = answer {
                answers.add(answer.range().len());
            }
            let missing = || damaged(&path, "a question has no paragraph");
            texts
                .push_question(&question.text, question.paragraph)
                .with_context(missing)?;
            // Those with an answer show more.
            let all = match self.counts.answered {
                0 => self.counts.questions,
                answered => answered,
            };
            if self.counts.answered == 0 || answer.is_some() {
                if in_sample(seen, EXAMPLES.min(all), all) {
                    let paragraph = paragraphs.get(question.paragraph)?;
                    let tokens = tokens.as_ref().map(|tokens| tokens.of(index));
                    let example = Example::new(&question, &paragraph.text, tokens);
                    self.examples.push(example);
                }
                seen += 1;
            }
        }
        self.characters.questions = lengths.finish();
        self.characters.answers = answers.finish();
        self.tokens = tokens.as_ref().map(SplitTokens::numbers).transpose()?;
        texts.finish();
        self.repeated_questions = texts.repeated_questions();
        Ok(texts)
    }
}
