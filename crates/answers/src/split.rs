//! A split's questions with their scores, and their answers.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, ensure};
use spanwise_artifact::answers::{AnswerRecord, SplitMetrics};
use spanwise_artifact::ensemble::read_ranked_spans;
use spanwise_artifact::questions::{Question, Questions};
use spanwise_artifact::scores::{ScoreFile, ScoresView, Span};
use spanwise_artifact::{Characters, Split};
use spanwise_spans::{best_spans, task_exact_match};

use crate::fit::Fitted;
use crate::metrics;

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

    /// Returns whether an answer is exact by the task's definition.
    pub fn is_exact(&self, answer: &str) -> bool {
        task_exact_match(answer, self.question.answers.iter().map(|a| &*a.text))
    }

    /// Whether there are reference answers.
    pub fn is_labelled(&self) -> bool {
        !self.question.answers.is_empty()
    }
}

/// A split's questions with their scores.
pub struct ScoredSplit {
    split: Split,
    questions: Questions,
    scores: ScoreFile,
    ranked: Option<Vec<Vec<Span>>>,
}

impl ScoredSplit {
    /// Reads a split from a data artifact and a prediction or ensemble artifact; `None` where
    /// either has no such split.
    pub fn read(data: &Path, scores: &Path, split: Split) -> Result<Option<Self>> {
        let (questions, ranked) = (
            Questions::read(data, split)?,
            read_ranked_spans(scores, split)?,
        );
        let Some((questions, scores)) = questions.zip(ScoreFile::open(scores, split)?) else {
            return Ok(None);
        };
        let count = questions.questions.len();
        let ranked_count = ranked.as_ref().map_or(count, Vec::len);
        ensure!(
            (scores.questions(), ranked_count) == (count, count),
            "{}: {count} questions, but scores of {} and ranked spans of {ranked_count}",
            split.name(),
            scores.questions(),
        );
        Ok(Some(Self {
            split,
            questions,
            scores,
            ranked,
        }))
    }

    /// All questions, in order.
    pub fn questions(&self) -> impl Iterator<Item = ScoredQuestion<'_>> {
        let questions = self.questions.questions.iter().enumerate();
        questions.map(|(index, question)| ScoredQuestion {
            question,
            paragraph: self.questions.paragraph(question),
            scores: self.scores.get(index),
            ranked: self.ranked.as_ref().map(|ranked| &*ranked[index]),
        })
    }

    /// Answers every question. Nothing is fitted here.
    pub fn answer(&self, fitted: &Fitted) -> AnsweredSplit<'_> {
        let answers = self.questions().map(|question| {
            let (range, candidates) = fitted.answer(&question);
            let paragraph = Characters::new(question.paragraph);
            let answer = paragraph.get(range.clone()).unwrap_or_default();
            let references = question.question.answers.iter();
            let references: Vec<&str> = references.map(|answer| &*answer.text).collect();
            let record = AnswerRecord {
                split: self.split,
                id: question.question.id.clone(),
                question: question.question.text.clone(),
                answer: answer.to_owned(),
                metrics: metrics::of_answer(answer, &references),
                references: references.into_iter().map(str::to_owned).collect(),
                candidates,
            };
            Answered {
                question,
                range,
                record,
            }
        });
        let answers: Vec<Answered> = answers.collect();
        let labelled: Vec<ScoredQuestion> = self
            .questions()
            .filter(ScoredQuestion::is_labelled)
            .collect();
        let metrics = (!labelled.is_empty()).then(|| SplitMetrics {
            max_answer_length: fitted.length_on(&labelled),
            rules: fitted.rules_on(&labelled),
            ..metrics::of_split(answers.iter().map(|answered| &answered.record))
        });
        AnsweredSplit {
            split: self.split,
            answers,
            metrics,
        }
    }
}

/// An answered question.
#[derive(Debug)]
pub struct Answered<'a> {
    /// The question.
    pub question: ScoredQuestion<'a>,
    /// The answer's characters in the paragraph; empty where the question is left unanswered.
    pub range: Range<usize>,
    /// The line of `answers.jsonl`.
    pub record: AnswerRecord,
}

/// A split's answers.
pub struct AnsweredSplit<'a> {
    /// The split.
    pub split: Split,
    /// The answer of every question, in order.
    pub answers: Vec<Answered<'a>>,
    /// How good they are; `None` where no question has a reference answer.
    pub metrics: Option<SplitMetrics>,
}

impl AnsweredSplit<'_> {
    /// The lines of `answers.jsonl`.
    pub fn records(&self) -> impl Iterator<Item = &AnswerRecord> {
        self.answers.iter().map(|answered| &answered.record)
    }

    /// Number of questions that are left unanswered.
    pub fn empty(&self) -> usize {
        self.records()
            .filter(|record| record.answer.is_empty())
            .count()
    }

    /// Logs how good the answers are and what was done to them.
    pub fn log(&self) {
        let split = self.split.name();
        tracing::info!(
            "{split}: {} answers, {} of them empty",
            self.answers.len(),
            self.empty()
        );
        let Some(metrics) = &self.metrics else {
            return;
        };
        tracing::info!(
            "{split}: task exact match {:.3} (standard error {:.3}), CMRC F1 {:.3}, on {} questions",
            metrics.task_exact_match,
            metrics.task_exact_match_standard_error,
            metrics.cmrc_f1,
            metrics.questions,
        );
        let length = metrics.max_answer_length.iter().map(|fitted| {
            let name = format!("a limit of {} characters", fitted.characters);
            (name, fitted.effect)
        });
        let rules = metrics.rules.iter();
        let rules = rules.map(|(rule, effect)| (format!("rule {}", rule.name()), *effect));
        for (name, effect) in length.chain(rules).filter(|(_, effect)| effect.applied) {
            tracing::info!(
                "{split}: {name} changes {} answers, fixes {}, breaks {}",
                effect.changed,
                effect.fixed,
                effect.broken,
            );
        }
    }
}
