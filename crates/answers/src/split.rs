//! A split's questions with their scores.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, ensure};
use spanwise_artifact::ensemble::{open_ranked_spans, ranked_spans_file};
use spanwise_artifact::error::damaged;
use spanwise_artifact::lines::Lines;
use spanwise_artifact::question_file::{QuestionAndText, QuestionFile};
use spanwise_artifact::scores::{self, ScoreBlock, ScoreFile, ScoresView, Span};
use spanwise_artifact::{Question, Split, UserError};
use spanwise_program::parallel;
use spanwise_spans::{best_spans, best_spans_by_limit, task_exact_match};

/// Characters of the paragraphs that are read at a time, where little is kept of each question.
pub const CHARACTERS: usize = 1 << 17;

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

    /// Returns whether an answer is exact by the task's definition.
    pub fn is_exact(&self, answer: &str) -> bool {
        task_exact_match(answer, self.question.answers().iter().map(|a| &*a.text))
    }

    /// Whether there are reference answers.
    pub fn is_labelled(&self) -> bool {
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
    /// Where the scores are, for messages.
    directory: std::path::PathBuf,
}

impl ScoredSplit {
    /// Opens a split of a data artifact and of a prediction or ensemble artifact; `None` where
    /// either has no such split.
    ///
    /// # Errors
    /// Where they have other numbers of questions.
    pub fn open(data: &Path, scores: &Path, split: Split) -> Result<Option<Self>> {
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
            directory: scores.to_owned(),
        }))
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
        })
    }
}

/// Consecutive questions.
struct Block {
    texts: Vec<QuestionAndText>,
    scores: ScoreBlock,
    ranked: Option<Vec<Vec<Span>>>,
}

impl Block {
    fn questions(&self) -> Vec<ScoredQuestion<'_>> {
        let texts = self.texts.iter().enumerate();
        let questions = texts.map(|(index, text)| ScoredQuestion {
            question: &text.question,
            paragraph: &text.paragraph,
            scores: self.scores.get(index),
            ranked: self.ranked.as_ref().map(|ranked| &*ranked[index]),
        });
        questions.collect()
    }
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::questions::Questions;
    use spanwise_artifact::scores::{ScoreWriter, Scores};
    use spanwise_artifact::{Answer, Paragraph, Reference, jsonl};

    use super::*;

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
                writer.push(Scores::none(length).view())?;
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
                let split = ScoredSplit::open(path, path, Split::Dev)?.expect("there");
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
