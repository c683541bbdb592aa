//! The scores of every question.

use std::collections::HashMap;

use anyhow::Result;
use spanwise_artifact::settings::{Metric, MlqaLanguage};
use spanwise_metrics::squad2::Answered;
use spanwise_metrics::{score, score_of_unanswerable};

use super::predictions::{Predictions, Probabilities};
use super::questions::Question;

/// Predictions on their way through the data.
pub(super) struct Scoring {
    metric: Metric,
    language: MlqaLanguage,
    /// How likely each question has no answer, as the first predictions' model says.
    probabilities: Option<Probabilities>,
    /// Whether each question has an answer.
    pub(super) have_answer: Vec<bool>,
    /// Number of questions that are not scored, since no answer to them is known.
    pub(super) unlabelled: usize,
    /// Index of each id. SQuAD 2.0's script keeps the last question of an id, all others count
    /// every one.
    indices: HashMap<String, usize>,
    /// The predictions, those that they are compared with last.
    pub(super) sides: Vec<Side>,
}

/// Predictions with their scores.
pub(super) struct Side {
    pub(super) predictions: Predictions,
    /// By question; `None` where there is no prediction. The probability is 0 without a file.
    pub(super) answers: Vec<Option<Answered>>,
    /// Where each question's probability stands in its file.
    pub(super) positions: Vec<usize>,
    /// The first question without a prediction.
    pub(super) first_missing: Option<String>,
}

impl Scoring {
    pub(super) fn new(
        metric: Metric,
        language: MlqaLanguage,
        predictions: Vec<Predictions>,
        probabilities: Option<Probabilities>,
    ) -> Self {
        let side = |predictions| Side {
            predictions,
            answers: Vec::new(),
            positions: Vec::new(),
            first_missing: None,
        };
        Self {
            metric,
            language,
            probabilities,
            have_answer: Vec::new(),
            unlabelled: 0,
            indices: HashMap::new(),
            sides: predictions.into_iter().map(side).collect(),
        }
    }

    /// Number of questions that are scored.
    pub(super) fn questions(&self) -> usize {
        self.have_answer.len()
    }

    /// The metric.
    pub(super) fn metric(&self) -> Metric {
        self.metric
    }

    /// Scores a question.
    ///
    /// # Errors
    /// Fails if there are probabilities and the question, which is answered, has none.
    pub(super) fn add(&mut self, question: &Question) -> Result<()> {
        let references: Vec<&str> = question.references.iter().map(String::as_str).collect();
        let is_unanswerable = question.is_unanswerable && references.is_empty();
        let is_scored = !references.is_empty() || is_unanswerable;
        let index = if is_scored { self.index(question) } else { 0 };
        self.unlabelled += usize::from(!is_scored);
        // Probabilities are of the first predictions.
        let mut probabilities = self.probabilities.as_ref();
        for side in &mut self.sides {
            let probabilities = probabilities.take();
            let answer = side.predictions.answer(&question.id);
            if !is_scored {
                continue;
            }
            let (answered, position) = match answer {
                None => {
                    side.first_missing
                        .get_or_insert_with(|| question.id.clone());
                    (None, 0)
                }
                Some(answer) => {
                    let (position, no_answer_probability) = match probabilities {
                        Some(probabilities) => probabilities.of(&question.id)?,
                        None => (0, 0.0),
                    };
                    let score = if is_unanswerable {
                        score_of_unanswerable(self.metric, answer)
                    } else {
                        score(self.metric, self.language, answer, &references)
                    };
                    let answered = Answered {
                        exact_match: score.exact_match,
                        f1: score.f1.unwrap_or(0.0),
                        has_answer: !references.is_empty(),
                        is_empty: answer.is_empty(),
                        no_answer_probability,
                    };
                    (Some(answered), position)
                }
            };
            put(&mut side.answers, index, answered);
            put(&mut side.positions, index, position);
        }
        if is_scored {
            put(&mut self.have_answer, index, !references.is_empty());
        }
        Ok(())
    }

    /// The index of a question's scores: that of an earlier one which it replaces, or the next.
    fn index(&mut self, question: &Question) -> usize {
        let next = self.have_answer.len();
        if self.metric != Metric::Squad2 {
            return next;
        }
        *self.indices.entry(question.id.clone()).or_insert(next)
    }
}

/// Puts a value at an index, which may be the next.
fn put<T>(values: &mut Vec<T>, index: usize, value: T) {
    match values.get_mut(index) {
        Some(old) => *old = value,
        None => values.push(value),
    }
}
