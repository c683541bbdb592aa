//! The answers to a split's questions, and how good they are.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::Result;
use spanwise_artifact::answers::{
    AnswerRecord, Candidate, Effect, Entries, FittedLength, Gain, NBest, NullMetrics, SplitMetrics,
};
use spanwise_artifact::profile::SplitProfile;
use spanwise_artifact::settings::Rule;
use spanwise_artifact::{Reference, Split};
use spanwise_spans::softmax::softmax;

use crate::confidence::Calibration;
use crate::fit::{Decided, Fitted};
use crate::metrics::{self, Headline};
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
    /// Entries of `null_odds.json`; `None` where every question is answered.
    pub null_odds: Option<Entries>,
}

/// A split's answers, counted.
pub struct AnsweredSplit {
    /// The split.
    pub split: Split,
    /// The metric in use.
    pub headline: Headline,
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
/// Nothing is fitted here. `train`: what the training questions are like.
///
/// # Errors
/// Fails if the split cannot be read, or `take` fails.
pub fn answer(
    split: &ScoredSplit,
    fitted: &Fitted,
    train: &SplitProfile,
    mut take: impl FnMut(Answers) -> Result<()>,
) -> Result<AnsweredSplit> {
    let mut counts = Counts::new(split.headline(), fitted);
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
            let (range, record) = record(split.split, index, question, fitted);
            WrongAnswer::of(question, &range, &record)
        })
    });
    let shown = shown.collect::<Result<Vec<_>>>()?;
    let metrics = counts.metrics(fitted, train);
    Ok(AnsweredSplit {
        split: split.split,
        headline: split.headline(),
        answers: split.len(),
        empty: counts.empty,
        max_answer_length: fitted.max_answer_length(),
        report: SplitReport::new(
            split.split,
            split.headline(),
            split.len(),
            counts.empty,
            fitted.max_answer_length(),
            metrics
                .as_ref()
                .map(|metrics| (metrics, &counts.statistics, shown)),
        ),
        metrics,
    })
}

/// Returns the answer's characters in the paragraph, empty where the question is left unanswered,
/// and its line in `answers.jsonl`.
///
/// `index`: the question's. On dev a probability has the temperature that is fitted on other parts,
/// so that it is as good as on other questions.
fn record(
    split: Split,
    index: usize,
    question: &ScoredQuestion,
    fitted: &Fitted,
) -> (Range<usize>, AnswerRecord) {
    let Decided {
        range,
        candidates,
        null_score_diff,
        score,
    } = fitted.answer(question);
    let answer = question.slice(&range);
    let temperature = match split {
        Split::Dev => fitted.temperatures.held_out(index),
        Split::Train | Split::Test => fitted.temperatures.applied(),
    };
    let references = question.question.answers().iter();
    let record = AnswerRecord {
        split,
        id: question.question.id.clone(),
        question: question.question.text.clone(),
        answer: answer.to_owned(),
        probability: score.map(|score| fitted.probability(question, score, temperature)),
        null_score_diff,
        metrics: question.headline.of_answer(answer, question.question),
        references: references.map(|answer| answer.text.clone()).collect(),
        is_impossible: question.question.reference == Reference::Unanswerable,
        candidates,
    };
    (range, record)
}

/// Returns a question's candidates with their probabilities, best first, no answer among them where
/// questions may be left unanswered; one without a text where there are none, since those who read
/// the file expect one.
///
/// As in BERT's `run_squad.py`, the probabilities are a softmax over the candidates alone.
fn nbest(question: &ScoredQuestion, candidates: &[Candidate], knows_no_answer: bool) -> Vec<NBest> {
    let mut nbest: Vec<(f32, NBest)> = Vec::new();
    for candidate in candidates {
        let one = with_logits(question, candidate);
        let score = if knows_no_answer && question.ranked.is_some() {
            // Votes are not to be compared with the score of no answer.
            Some(one.start_logit + one.end_logit)
        } else {
            candidate.score
        };
        match score {
            Some(score) => nbest.push((score, one)),
            // A fallback that no score supports.
            None if !knows_no_answer => nbest.push((0.0, one)),
            None => {}
        }
    }
    let null = question.null_score();
    if nbest.is_empty() || knows_no_answer && null.is_some() {
        // Start and end of no answer are known together only.
        let half = null.map_or(0.0, |null| null / 2.0);
        let none = NBest {
            text: String::new(),
            probability: 1.0,
            start_logit: half,
            end_logit: half,
        };
        nbest.push((2.0 * half, none));
        nbest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    }
    let scores: Vec<f32> = nbest.iter().map(|(score, _)| *score).collect();
    let nbest = nbest.into_iter().zip(softmax(&scores, 1.0));
    nbest
        .map(|((_, one), probability)| NBest { probability, ..one })
        .collect()
}

/// Returns a candidate with the scores of its ends, and no probability yet.
fn with_logits(question: &ScoredQuestion, candidate: &Candidate) -> NBest {
    let logit = |scores: &[f32], character: Option<usize>| {
        let score = scores.get(character?).copied();
        score.filter(|score| score.is_finite())
    };
    let last = candidate.end.checked_sub(1);
    NBest {
        text: candidate.text.clone(),
        probability: 0.0,
        start_logit: logit(question.scores.start, Some(candidate.start)).unwrap_or(0.0),
        end_logit: logit(question.scores.end, last).unwrap_or(0.0),
    }
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
    is_unanswerable: bool,
    /// 0 for an answer that no score supports.
    probability: f32,
    labelled: Option<Labelled>,
}

impl Part {
    fn new(fitted: &Fitted) -> Self {
        Self {
            answers: Answers {
                null_odds: fitted.knows_no_answer().then(Entries::default),
                ..Answers::default()
            },
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
        let (range, record) = record(split, index, question, fitted);
        // What is left unanswered is not changed.
        if question.has_references() && !range.is_empty() {
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
            is_unanswerable: record.is_impossible,
            probability: record.probability.unwrap_or(0.0),
            labelled: Labelled::of(question, &range, &record),
        });
        let answers = &mut self.answers;
        serde_json::to_writer(&mut answers.lines, &record)?;
        answers.lines.push(b'\n');
        answers.predictions.push(&record.id, &record.answer)?;
        let nbest = nbest(question, &record.candidates, fitted.knows_no_answer());
        answers.nbest.push(&record.id, &nbest)?;
        if let Some(odds) = answers.null_odds.as_mut() {
            // Where no span has a score, no answer is as certain as it can be.
            let odds_of = record.null_score_diff.unwrap_or(f32::MAX);
            odds.push(&record.id, &odds_of)?;
        }
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
    calibration: Calibration,
}

impl Counts {
    fn new(headline: Headline, fitted: &Fitted) -> Self {
        Self {
            empty: 0,
            sums: headline.sums(),
            calibration: Calibration::default(),
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
            let is_unanswerable = counted.is_unanswerable;
            metrics::add(&mut self.sums, metrics, is_unanswerable, counted.is_empty);
            if let Some(labelled) = labelled {
                let shortest = labelled.shortest_reference;
                let is_longer = self.longest.is_some_and(|longest| shortest > longest);
                self.sums.longer_than_max_answer_length += usize::from(is_longer);
                self.statistics.add(counted.question, labelled);
                let is_exact = labelled.metrics.exact_match >= 1.0;
                self.calibration.add(counted.probability, is_exact);
            }
        }
        rules::add(&mut self.length, some.length);
        self.rules.add(&some.rules);
    }

    fn metrics(&mut self, fitted: &Fitted, train: &SplitProfile) -> Option<SplitMetrics> {
        let rules: BTreeMap<Rule, Effect> = self.rules.applied();
        let length = fitted.length.map(|length| FittedLength {
            characters: length.characters,
            held_out_gain: length.held_out_gain,
            effect: Effect {
                applied: length.is_applied(),
                ..self.length
            },
        });
        let longest = self.longest;
        metrics::means(SplitMetrics {
            null_score_diff_threshold: fitted.null_metrics(),
            confidence: self.calibration.measure(fitted.temperatures.fitted()),
            train_longer_than_max_answer_length: longest
                .map_or(0, |longest| train.longer_than(longest)),
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
                tracing::info!("{split}: no question is labelled: nothing is measured");
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
        let in_train = metrics.train_longer_than_max_answer_length;
        if let Some(longest) = self.max_answer_length.filter(|_| in_train > 0) {
            tracing::info!(
                "train: {in_train} questions have no reference answer of at most max_answer_length, {longest} characters"
            );
        }
        let title = self.headline.title();
        let f1 = |f1: Option<f64>, name: &str| f1.map(|f1| format!(", {name} F1 {f1:.3}"));
        let own = f1(metrics.f1, &title);
        let f1_of_split = own
            .or(f1(Some(metrics.cmrc_f1), "CMRC"))
            .unwrap_or_default();
        let error = metrics.exact_match_standard_error;
        let error = error.map_or_else(String::new, |error| format!(" (standard error {error:.3})"));
        tracing::info!(
            "{split}: {title} exact match {:.3}{error}{f1_of_split}, on {} questions",
            metrics.exact_match,
            metrics.questions,
        );
        if let Some([has_answer, no_answer]) = metrics.by_answerability {
            tracing::info!(
                "{split}: exact match {:.3} on {} questions with an answer, {:.3} on {} without",
                has_answer.exact_match,
                has_answer.questions,
                no_answer.exact_match,
                no_answer.questions,
            );
        }
        if let Some(null) = metrics.null_score_diff_threshold {
            log_threshold(split, null);
        }
        if let Some(confidence) = &metrics.confidence {
            let temperature = confidence.temperature;
            let temperature = temperature.map(|one| format!("temperature {one:.2} and "));
            tracing::info!(
                "{split}: probabilities have {}an expected calibration error of {:.3}",
                temperature.unwrap_or_default(),
                confidence.expected_calibration_error,
            );
        }
        let length = metrics
            .max_answer_length
            .filter(|_| self.split == Split::Dev);
        // The best limit may be the one that is in use without a fitted one.
        if let Some(length) = length.filter(|one| Some(one.characters) != self.max_answer_length) {
            log_unapplied(length);
        }
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

/// Why nothing that is fitted is applied.
const NOT_HELD_OUT: &str =
    "all questions that it is fitted to are about one paragraph, and nothing could be held out";

/// Logs why a fitted limit is not applied.
fn log_unapplied(length: FittedLength) {
    let why = match length.held_out_gain {
        Some(_) => "such limits lose on held-out parts",
        None => NOT_HELD_OUT,
    };
    tracing::info!(
        "dev: the best limit on dev, {} characters, is not applied: {why}",
        length.characters
    );
}

/// Logs when questions are left unanswered, and on dev what a fitted threshold gains.
fn log_threshold(split: &str, null: NullMetrics) {
    tracing::info!(
        "{split}: no answer where its score exceeds the best span's by more than {:.3}",
        null.threshold
    );
    let Some(fitted) = null.fitted.filter(|_| split == Split::Dev.name()) else {
        return;
    };
    // A threshold of 0 applies all the same.
    if !fitted.applied && fitted.best != 0.0 {
        let why = match fitted.measured {
            Some(_) => "such thresholds lose against 0 on held-out parts",
            None => NOT_HELD_OUT,
        };
        tracing::info!(
            "{split}: the best threshold on dev, {:.3}, is not applied: {why}",
            fitted.best
        );
    }
    let Some(measured) = fitted.measured else {
        return;
    };
    let gain = |gain: Gain| {
        let error = gain.standard_error;
        let error = error.map_or_else(String::new, |error| format!(" ± {:.3}", 1.96 * error));
        format!("{:+.3}{error}", gain.mean)
    };
    tracing::info!(
        "{split}: fitted thresholds score {:.3} on held-out parts, {} against 0, {} against always answering, {} against never answering (95 % intervals)",
        measured.held_out,
        gain(measured.over_zero),
        gain(measured.over_always_answer),
        gain(measured.over_always_null),
    );
}
