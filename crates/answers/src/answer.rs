//! The answers to a split's questions, and how good they are.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use spanwise_artifact::answers::{
    AnswerRecord, Candidate, Effect, Entries, FittedLength, NBest, SplitMetrics,
};
use spanwise_artifact::settings::Rule;
use spanwise_artifact::{Characters, Split};
use spanwise_spans::softmax::softmax;

use crate::fit::Fitted;
use crate::metrics;
use crate::report::{Labelled, SplitReport, Statistics, WrongAnswer};
use crate::rules::{self, Effects};
use crate::split::{CHARACTERS, ScoredQuestion, ScoredSplit};

/// The answers to some consecutive questions, as they are written.
#[derive(Debug, Default)]
pub struct Answers {
    /// Lines of `answers.jsonl`.
    pub lines: Vec<u8>,
    /// Rows of `submission.csv`: id and answer.
    pub rows: Vec<[String; 2]>,
    /// Entries of `predictions.json`.
    pub predictions: Entries,
    /// Entries of `nbest.json`.
    pub nbest: Entries,
}

/// A split's answers, counted.
pub struct AnsweredSplit {
    /// The split.
    pub split: Split,
    /// Number of answers.
    pub answers: usize,
    /// Number of questions that are left unanswered.
    pub empty: usize,
    /// How good the answers are; `None` where no question has a reference answer.
    pub metrics: Option<SplitMetrics>,
    /// The longest answer in characters; `None` where there is no limit.
    pub max_answer_length: Option<usize>,
    /// What the page shows of the split.
    pub report: SplitReport,
}

/// Answers every question of a split, and hands the answers to `take`, some at a time and in order.
/// Nothing is fitted here.
///
/// # Errors
/// Fails if the split cannot be read, or `take` fails.
pub fn answer(
    split: &ScoredSplit,
    fitted: &Fitted,
    mut take: impl FnMut(Answers) -> Result<()>,
) -> Result<AnsweredSplit> {
    let mut counts = Counts::new(fitted);
    // Every answer is held with its candidates until it is written.
    let characters = CHARACTERS / (1 + fitted.decoder.count / 10);
    split.in_order(
        characters,
        |first, questions| {
            let mut some = Part::new(fitted);
            for (index, question) in questions.iter().enumerate() {
                some.answer(split.split, first + index, question, fitted)?;
            }
            Ok(some)
        },
        |some| {
            counts.add(&some);
            take(some.answers)
        },
    )?;
    let shown = counts.statistics.shown();
    let shown = shown.map(|index| {
        split.with_question(index, |question| {
            let (range, record) = record(split.split, question, fitted);
            WrongAnswer::of(question, &range, &record)
        })
    });
    let shown = shown.collect::<Result<Vec<_>>>()?;
    let metrics = counts.metrics(fitted);
    Ok(AnsweredSplit {
        split: split.split,
        answers: split.len(),
        empty: counts.empty,
        max_answer_length: fitted.max_answer_length(),
        report: SplitReport::new(
            split.split,
            split.len(),
            counts.empty,
            fitted.max_answer_length(),
            metrics
                .as_ref()
                .map(|metrics| (metrics, &mut counts.statistics, shown)),
        ),
        metrics,
    })
}

/// Returns the answer's characters in the paragraph, empty where the question is left unanswered,
/// and its line in `answers.jsonl`.
fn record(
    split: Split,
    question: &ScoredQuestion,
    fitted: &Fitted,
) -> (Range<usize>, AnswerRecord) {
    let (range, candidates) = fitted.answer(question);
    let paragraph = Characters::new(question.paragraph);
    let answer = paragraph.get(range.clone()).unwrap_or_default();
    let references = question.question.answers().iter();
    let references: Vec<&str> = references.map(|answer| &*answer.text).collect();
    let record = AnswerRecord {
        split,
        id: question.question.id.clone(),
        question: question.question.text.clone(),
        answer: answer.to_owned(),
        metrics: metrics::of_answer(answer, &references),
        references: references.into_iter().map(str::to_owned).collect(),
        candidates,
    };
    (range, record)
}

/// Returns a question's candidates with their probabilities, best first; one without a text where
/// there are none, since those who read the file expect one.
///
/// As in BERT's `run_squad.py`, the probabilities are a softmax over the candidates alone.
fn nbest(question: &ScoredQuestion, candidates: &[Candidate]) -> Vec<NBest> {
    let scores: Vec<f32> = candidates
        .iter()
        .map(|candidate| candidate.score.unwrap_or(0.0))
        .collect();
    let probabilities = softmax(&scores, 1.0);
    let nbest = candidates.iter().zip(probabilities);
    let nbest = nbest.map(|(candidate, probability)| {
        let logit = |scores: &[f32], character: Option<usize>| {
            let score = scores.get(character?).copied();
            score.filter(|score| score.is_finite())
        };
        let last = candidate.end.checked_sub(1);
        NBest {
            text: candidate.text.clone(),
            probability,
            start_logit: logit(question.scores.start, Some(candidate.start)).unwrap_or(0.0),
            end_logit: logit(question.scores.end, last).unwrap_or(0.0),
        }
    });
    let nbest: Vec<NBest> = nbest.collect();
    if nbest.is_empty() {
        return vec![NBest {
            text: String::new(),
            probability: 1.0,
            start_logit: 0.0,
            end_logit: 0.0,
        }];
    }
    nbest
}

/// Answers to some questions, and what is counted of each.
struct Part {
    answers: Answers,
    counted: Vec<Counted>,
    length: Effect,
    rules: Effects,
}

/// What is counted of one answer.
struct Counted {
    question: usize,
    is_empty: bool,
    labelled: Option<Labelled>,
}

impl Part {
    fn new(fitted: &Fitted) -> Self {
        Self {
            answers: Answers::default(),
            counted: Vec::new(),
            length: Effect::default(),
            rules: Effects::new(fitted.switches()),
        }
    }

    fn answer(
        &mut self,
        split: Split,
        index: usize,
        question: &ScoredQuestion,
        fitted: &Fitted,
    ) -> Result<()> {
        let (range, record) = record(split, question, fitted);
        if question.is_labelled() {
            if let Some(length) = &fitted.length {
                rules::add(&mut self.length, length.effect(question, fitted.decoder));
            }
            let best = record.candidates.first();
            if let Some(best) = best.filter(|best| best.start < best.end) {
                self.rules.count(question, best.start..best.end);
            }
        }
        self.counted.push(Counted {
            question: index,
            is_empty: record.answer.is_empty(),
            labelled: Labelled::of(question, &range, &record),
        });
        let answers = &mut self.answers;
        serde_json::to_writer(&mut answers.lines, &record)?;
        answers.lines.push(b'\n');
        answers.predictions.push(&record.id, &record.answer)?;
        let nbest = nbest(question, &record.candidates);
        answers.nbest.push(&record.id, &nbest)?;
        answers.rows.push([record.id, record.answer]);
        Ok(())
    }
}

/// What is counted of all answers.
struct Counts {
    empty: usize,
    /// Sums of metrics.
    sums: SplitMetrics,
    longest: Option<usize>,
    length: Effect,
    rules: Effects,
    statistics: Statistics,
}

impl Counts {
    fn new(fitted: &Fitted) -> Self {
        Self {
            empty: 0,
            sums: SplitMetrics::default(),
            longest: fitted.max_answer_length(),
            length: Effect::default(),
            rules: Effects::new(fitted.switches()),
            statistics: Statistics::default(),
        }
    }

    fn add(&mut self, some: &Part) {
        for counted in &some.counted {
            self.empty += usize::from(counted.is_empty);
            let labelled = counted.labelled.as_ref();
            let metrics = labelled.map(|labelled| &labelled.metrics);
            // One after the other: a sum's last digits depend on the order.
            metrics::add(&mut self.sums, metrics, counted.is_empty);
            if let Some(labelled) = labelled {
                let shortest = labelled.shortest_reference;
                let is_longer = self.longest.is_some_and(|longest| shortest > longest);
                self.sums.longer_than_max_answer_length += usize::from(is_longer);
                self.statistics.add(counted.question, labelled);
            }
        }
        rules::add(&mut self.length, some.length);
        self.rules.add(&some.rules);
    }

    fn metrics(&self, fitted: &Fitted) -> Option<SplitMetrics> {
        let rules: BTreeMap<Rule, Effect> = self.rules.applied();
        let length = fitted.length.map(|length| FittedLength {
            characters: length.characters,
            held_out_gain: length.held_out_gain,
            effect: Effect {
                applied: length.is_applied(),
                ..self.length
            },
        });
        metrics::means(SplitMetrics {
            max_answer_length: length,
            rules,
            ..self.sums.clone()
        })
    }
}

impl AnsweredSplit {
    /// Logs how good the answers are and what was done to them.
    pub fn log(&self) {
        let split = self.split.name();
        tracing::info!(
            "{split}: {} answers, {} of them empty",
            self.answers,
            self.empty
        );
        let Some(metrics) = &self.metrics else {
            if self.split == Split::Dev {
                tracing::info!("{split}: no question has a reference answer: nothing is measured");
            }
            return;
        };
        if metrics.unlabelled > 0 {
            tracing::info!(
                "{split}: no reference answer for {} of {} questions: nothing is measured on them",
                metrics.unlabelled,
                self.answers,
            );
        }
        let too_long = metrics.longer_than_max_answer_length;
        if let Some(longest) = self.max_answer_length.filter(|_| too_long > 0) {
            tracing::info!(
                "{split}: {too_long} of {} questions cannot be answered right: every reference answer is longer than max_answer_length, {longest} characters",
                metrics.questions,
            );
        }
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
