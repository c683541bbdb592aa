//! A split's questions with their scores.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, ensure};
use spanwise_artifact::ensemble::{open_ranked_spans, ranked_spans_file};
use spanwise_artifact::error::damaged;
use spanwise_artifact::lines::Lines;
use spanwise_artifact::question_file::{QuestionAndText, QuestionFile};
use spanwise_artifact::scores::{self, ScoreBlock, ScoreFile, ScoresView, Span, Whole};
use spanwise_artifact::{Characters, Question, Reference, Split, UserError};
use spanwise_metrics::Score;
use spanwise_program::parallel;
use spanwise_spans::{best_spans, best_spans_by_limit};

use crate::metrics::Headline;

/// Characters of the paragraphs that are read at a time, where little is kept of each question.
pub const CHARACTERS: usize = 1 << 17;

/// Parts of dev that are held out in turn: what is fitted on the others is measured on one.
pub const PARTS: usize = 5;

/// A question with the scores of its paragraph.
#[derive(Debug, Clone, Copy)]
pub struct ScoredQuestion<'a> {
    /// The question, with its reference answers if it is labelled.
    pub question: &'a Question,
    /// The text that it is about.
    pub paragraph: &'a str,
    /// The scores of the paragraph's characters.
    pub scores: ScoresView<'a>,
    /// Spans that the ensemble ranks by more than their scores, best first.
    pub ranked: Option<&'a [Span]>,
    /// The score of no answer, and the best window.
    pub whole: Whole,
    /// The metric in use.
    pub headline: Headline,
}

impl ScoredQuestion<'_> {
    /// Returns the `count` best spans of at most `max_length` characters, best first: as the
    /// ensemble ranks them, or by their scores.
    pub fn best_spans(&self, max_length: usize, count: usize) -> Vec<Span> {
        let Some(ranked) = self.ranked else {
            return best_spans(self.scores, max_length, count);
        };
        let short_enough = ranked
            .iter()
            .filter(|span| span.range().len() <= max_length);
        short_enough.take(count).copied().collect()
    }

    /// Returns what [`Self::best_spans`] returns for every limit from 1 to `longest`, in that order.
    pub fn best_spans_by_limit(&self, longest: usize, count: usize) -> Vec<Vec<Span>> {
        if self.ranked.is_none() {
            return best_spans_by_limit(self.scores, longest, count);
        }
        let limits = 1..=longest;
        limits.map(|limit| self.best_spans(limit, count)).collect()
    }

    /// Returns the score of no answer, where a window has one.
    pub fn null_score(&self) -> Option<f32> {
        Some(self.whole.null).filter(|null| null.is_finite())
    }

    /// Returns an answer's text.
    pub fn slice(&self, range: &Range<usize>) -> &str {
        let paragraph = Characters::new(self.paragraph);
        paragraph.get(range.clone()).unwrap_or_default()
    }

    /// Scores an answer by the metric in use; 0 where the question is unlabelled.
    pub fn score(&self, answer: &str) -> Score {
        self.headline.score(answer, self.question)
    }

    /// Returns whether an answer is exact by the metric in use.
    pub fn is_exact(&self, answer: &str) -> bool {
        self.score(answer).exact_match >= 1.0
    }

    /// Whether there are reference answers, or it is known that there is none.
    pub fn is_labelled(&self) -> bool {
        self.question.reference != Reference::Unknown
    }

    /// Whether there are reference answers.
    pub fn has_references(&self) -> bool {
        !self.question.answers().is_empty()
    }
}

/// A split's questions with their scores, read some at a time.
pub struct ScoredSplit {
    /// The split.
    pub split: Split,
    questions: QuestionFile,
    scores: ScoreFile,
    ranked: Option<Lines<Vec<Span>>>,
    headline: Headline,
    /// Where the scores are, for messages.
    directory: std::path::PathBuf,
}

impl ScoredSplit {
    /// Opens a split of a data artifact and of a prediction or ensemble artifact; `None` where
    /// either has no such split.
    ///
    /// # Errors
    /// Where they have other numbers of questions.
    pub fn open(
        data: &Path,
        scores: &Path,
        split: Split,
        headline: Headline,
    ) -> Result<Option<Self>> {
        let (questions, ranked) = (
            QuestionFile::open(data, split)?,
            open_ranked_spans(scores, split)?,
        );
        let Some((questions, file)) = questions.zip(ScoreFile::open(scores, split)?) else {
            return Ok(None);
        };
        let count = questions.len();
        let ranked_count = ranked.as_ref().map_or(count, Lines::len);
        ensure!(
            (file.questions(), ranked_count) == (count, count),
            UserError::new(format!(
                "{}: {count} questions, but scores of {} and ranked spans of {ranked_count}",
                split.name(),
                file.questions(),
            ))
        );
        Ok(Some(Self {
            split,
            questions,
            scores: file,
            ranked,
            headline,
            directory: scores.to_owned(),
        }))
    }

    /// The metric in use.
    pub fn headline(&self) -> Headline {
        self.headline
    }

    /// Number of questions.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether there is no question.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands all questions to `work`, some at a time and with the index of the first, on all cores,
    /// and the results to `take` in order. `characters`: of the paragraphs that are read at a time.
    ///
    /// # Errors
    /// Fails if the split cannot be read, or `work` or `take` fails.
    pub fn in_order<R: Send>(
        &self,
        characters: usize,
        work: impl Fn(usize, &[ScoredQuestion]) -> Result<R> + Sync,
        take: impl FnMut(R) -> Result<()>,
    ) -> Result<()> {
        let ranges = scores::ranges(self.scores.lengths(), characters);
        let work = |range: Range<usize>| work(range.start, &self.read(range)?.questions());
        parallel::in_order(ranges, work, take)
    }

    /// Hands one question to `work`.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn with_question<R>(
        &self,
        question: usize,
        work: impl FnOnce(&ScoredQuestion) -> R,
    ) -> Result<R> {
        let block = self.read(question..question + 1)?;
        Ok(work(&block.questions()[0]))
    }

    /// Whether the best window of the first question with a token is known: that of several models'
    /// scores is not.
    ///
    /// # Errors
    /// Fails if the split cannot be read.
    pub fn has_windows(&self) -> Result<bool> {
        for range in scores::ranges(self.scores.lengths(), CHARACTERS) {
            let block = self.scores.read(range.clone())?;
            let is_token = |score: &f32| score.is_finite();
            for index in 0..range.len() {
                if block.get(index).start.iter().any(is_token) {
                    return Ok(block.whole(index).window.score.is_finite());
                }
            }
        }
        Ok(true)
    }

    fn read(&self, questions: Range<usize>) -> Result<Block> {
        let texts = self.questions.read(questions.clone())?;
        let scores = self.scores.read(questions.clone())?;
        let ranked = match &self.ranked {
            Some(lines) => {
                let lines = lines.read(questions.clone())?;
                let lines = (0..questions.len()).map(|index| lines.get(index));
                Some(lines.collect::<Result<Vec<_>>>()?)
            }
            None => None,
        };
        for (index, text) in texts.iter().enumerate() {
            let question = questions.start + index + 1;
            let wrong = |file: &str, what: &str| {
                damaged(
                    &self.directory.join(file),
                    &format!("question {question} {what}"),
                )
            };
            let length = text.paragraph.chars().count();
            ensure!(
                scores.get(index).start.len() == length,
                wrong(
                    &scores::file_name(self.split),
                    "has scores of another paragraph"
                )
            );
            let mut spans = ranked.iter().flat_map(|ranked| &ranked[index]);
            ensure!(
                spans.all(|span| span.start < span.end && span.end <= length),
                wrong(
                    &ranked_spans_file(self.split),
                    "has a span that is not within its paragraph"
                )
            );
        }
        Ok(Block {
            texts,
            scores,
            ranked,
            headline: self.headline,
        })
    }
}

/// Consecutive questions.
struct Block {
    texts: Vec<QuestionAndText>,
    scores: ScoreBlock,
    ranked: Option<Vec<Vec<Span>>>,
    headline: Headline,
}

impl Block {
    fn questions(&self) -> Vec<ScoredQuestion<'_>> {
        let texts = self.texts.iter().enumerate();
        let questions = texts.map(|(index, text)| ScoredQuestion {
            question: &text.question,
            paragraph: &text.paragraph,
            scores: self.scores.get(index),
            ranked: self.ranked.as_ref().map(|ranked| &*ranked[index]),
            whole: self.scores.whole(index),
            headline: self.headline,
        });
        questions.collect()
    }
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::questions::Questions;
    use spanwise_artifact::scores::{ScoreWriter, Scores};
    use spanwise_artifact::{Answer, Paragraph, jsonl};

    use super::*;
    use crate::testing::TASK;

    #[test]
    fn what_does_not_fit_together_ends_in_a_sentence() -> Result<()> {
        fn check(lengths: &[usize], ranked: &[(usize, usize)], expected: &str) -> Result<()> {
            let directory = tempfile::tempdir()?;
            let path = directory.path();
            Questions {
                paragraphs: vec![Paragraph {
                    text: "李白是詩人".to_owned(),
                    article: None,
                }],
                questions: vec![Question {
                    id: "1".to_owned(),
                    paragraph: 0,
                    text: "誰?".to_owned(),
                    reference: Reference::Spans(vec![Answer {
                        text: "李白".to_owned(),
                        start: 0,
                    }]),
                }],
            }
            .write(path, Split::Dev)?;
            let mut writer = ScoreWriter::create(path, Split::Dev, lengths.to_vec())?;
            for &length in lengths {
                writer.push(Scores::none(length).view(), Whole::NONE)?;
            }
            writer.finish()?;
            let ranked = ranked.iter().map(|&(start, end)| Span {
                start,
                end,
                score: 1.0,
            });
            let ranked: Vec<Span> = ranked.collect();
            jsonl::write(&path.join(ranked_spans_file(Split::Dev)), [ranked])?;
            let read = || -> Result<()> {
                let split = ScoredSplit::open(path, path, Split::Dev, TASK)?.expect("there");
                split.with_question(0, |_| ())
            };
            let found = match read() {
                Ok(()) => String::new(),
                Err(error) => {
                    assert!(error.is::<UserError>(), "{error:#}");
                    error.to_string()
                }
            };
            assert!(found.ends_with(expected), "{found}");
            Ok(())
        }
        check(&[5], &[(0, 2), (4, 5)], "")?;
        check(&[4], &[], "question 1 has scores of another paragraph")?;
        check(
            &[5, 5],
            &[],
            "1 questions, but scores of 2 and ranked spans of 1",
        )?;
        let outside = "question 1 has a span that is not within its paragraph";
        check(&[5], &[(4, 6)], outside)?;
        check(&[5], &[(3, 3)], outside)?;
        check(&[5], &[(4, 3)], outside)
    }
}
