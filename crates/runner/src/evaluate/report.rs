//! What is printed: scores with their intervals, and a comparison question by question.

use std::io::Write;

use anyhow::Result;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use spanwise_artifact::settings::Metric;
use spanwise_data::input::excerpt;
use spanwise_metrics::squad2::{Answered, Best, best_thresholds};

use super::scoring::{Scoring, Side};
use crate::statistics::{self, Estimate, plus_minus};

/// What was scored by which definition.
#[derive(Debug, Serialize)]
pub(super) struct Heading {
    pub(super) metric: &'static str,
    /// Why it was chosen, where nobody named it.
    #[serde(skip)]
    pub(super) why: Option<String>,
    /// The language of MLQA's metric.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) language: Option<&'static str>,
    pub(super) data: String,
    /// Above which probability of no answer an answer is taken back, where there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) no_answer_threshold: Option<f64>,
}

/// The result. Scores are in percent, as the scripts print them; `…_confidence` is half the width
/// of the 95 % interval over questions, `None` where all score the same.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    heading: Heading,
    /// Number of questions that are scored.
    questions: usize,
    /// Number of questions that are not, since no answer to them is known.
    unlabelled: usize,
    predictions: Scores,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<Scores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<Difference>,
}

/// The scores of a file of predictions.
#[derive(Debug, Serialize)]
struct Scores {
    file: String,
    /// Number of questions without a prediction; they score 0.
    missing: usize,
    /// Number of predictions of other questions.
    superfluous: usize,
    #[serde(skip)]
    first_missing: Option<String>,
    exact: f64,
    exact_confidence: Option<f64>,
    #[serde(flatten)]
    f1: Option<F1>,
    #[serde(flatten)]
    squad2: Option<Squad2>,
}

/// F1, where the metric has it.
#[derive(Debug, Serialize)]
struct F1 {
    f1: f64,
    f1_confidence: Option<f64>,
}

/// What SQuAD 2.0's script prints besides.
#[derive(Debug)]
struct Squad2 {
    total: usize,
    /// Of the questions that have an answer.
    has_answer: Option<Part>,
    /// Of the others.
    no_answer: Option<Part>,
    /// The threshold with the best exact match, and the one with the best F1.
    best: Option<(Best, Best)>,
}

/// The scores of a part of the questions.
#[derive(Debug)]
struct Part {
    exact: f64,
    f1: f64,
    total: usize,
}

impl Squad2 {
    fn parts(&self) -> impl Iterator<Item = (&'static str, &Part)> {
        let parts = [("HasAns", &self.has_answer), ("NoAns", &self.no_answer)];
        parts
            .into_iter()
            .filter_map(|(name, part)| Some((name, part.as_ref()?)))
    }

    /// The best scores in percent, with their thresholds.
    fn best(&self) -> impl Iterator<Item = (&'static str, f64, f64)> {
        let named = self.best.map(|(exact, f1)| [("exact", exact), ("f1", f1)]);
        named
            .into_iter()
            .flatten()
            .map(|(name, best)| (name, 100.0 * best.sum / self.total as f64, best.threshold))
    }
}

impl Serialize for Squad2 {
    /// Under the names that the script has.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("total", &self.total)?;
        for (name, part) in self.parts() {
            map.serialize_entry(&format!("{name}_exact"), &part.exact)?;
            map.serialize_entry(&format!("{name}_f1"), &part.f1)?;
            map.serialize_entry(&format!("{name}_total"), &part.total)?;
        }
        for (name, score, threshold) in self.best() {
            map.serialize_entry(&format!("best_{name}"), &score)?;
            map.serialize_entry(&format!("best_{name}_thresh"), &threshold)?;
        }
        map.end()
    }
}

/// What the predictions score more than those that they are compared with.
#[derive(Debug, Serialize)]
struct Difference {
    exact: f64,
    exact_confidence: Option<f64>,
    exact_p: f64,
    #[serde(flatten)]
    f1: Option<F1Difference>,
}

#[derive(Debug, Serialize)]
struct F1Difference {
    f1: f64,
    f1_confidence: Option<f64>,
    f1_p: f64,
}

/// Scores by question, 0 to 1.
struct ByQuestion {
    exact: Vec<f64>,
    f1: Vec<f64>,
}

impl ByQuestion {
    /// The scores with answers taken back above a threshold; 0 where there is no prediction.
    fn of(side: &Side, threshold: f64) -> Self {
        let at = |answer: &Option<Answered>| answer.map(|answer| answer.at_threshold(threshold));
        let scores = |score: fn(Answered) -> f64| {
            let answers = side.answers.iter();
            answers
                .map(|answer| at(answer).map_or(0.0, score))
                .collect()
        };
        Self {
            exact: scores(|answer| answer.exact_match),
            f1: scores(|answer| answer.f1),
        }
    }
}

impl Report {
    pub(super) fn new(heading: Heading, scoring: &Scoring) -> Self {
        let threshold = heading.no_answer_threshold.unwrap_or(f64::INFINITY);
        let by_question = |side: &Side| ByQuestion::of(side, threshold);
        let (own, other) = (&scoring.sides[0], scoring.sides.get(1));
        let own_scores = by_question(own);
        let other_scores = other.map(by_question);
        let with_f1 = scoring.metric() != Metric::Task;
        let difference = other_scores.as_ref().map(|other| {
            let gains = |own: &[f64], other: &[f64]| -> Vec<f64> {
                own.iter()
                    .zip(other)
                    .map(|(own, other)| own - other)
                    .collect()
            };
            let (exact, exact_confidence, exact_p) =
                compared(gains(&own_scores.exact, &other.exact));
            let (f1, f1_confidence, f1_p) = compared(gains(&own_scores.f1, &other.f1));
            Difference {
                exact,
                exact_confidence,
                exact_p,
                f1: with_f1.then_some(F1Difference {
                    f1,
                    f1_confidence,
                    f1_p,
                }),
            }
        });
        let other = other.zip(other_scores.as_ref());
        Self {
            questions: scoring.questions(),
            unlabelled: scoring.unlabelled,
            predictions: Scores::new(
                scoring,
                own,
                &own_scores,
                heading.no_answer_threshold.is_some(),
            ),
            against: other.map(|(side, scores)| Scores::new(scoring, side, scores, false)),
            difference,
            heading,
        }
    }

    /// Prints it for people.
    pub(super) fn print(&self, out: &mut dyn Write) -> Result<()> {
        let Self {
            heading,
            questions,
            unlabelled,
            predictions,
            against,
            difference,
        } = self;
        let mut line = |name: &str, text: String| {
            let line = format!("{name:<12} {text}");
            writeln!(out, "{}", line.trim_end())
        };
        let language = heading
            .language
            .map_or_else(String::new, |name| format!(" ({name})"));
        let why = match &heading.why {
            Some(why) => format!(", {why}; --metric chooses another"),
            None => String::new(),
        };
        line("metric", format!("{}{language}{why}", heading.metric))?;
        let unlabelled = match unlabelled {
            0 => String::new(),
            count => format!(", and {count} without a reference answer, which are not scored"),
        };
        line(
            "questions",
            format!("{questions} of {}{unlabelled}", heading.data),
        )?;
        if let Some(threshold) = heading.no_answer_threshold {
            let taken_back = "answers with a higher probability of none are taken back";
            line("threshold", format!("{threshold}: {taken_back}"))?;
        }
        for scores in std::iter::once(predictions).chain(against) {
            line("", String::new())?;
            scores.print(&mut line)?;
        }
        if let (Some(difference), Some(against)) = (difference, against) {
            line("", String::new())?;
            line(
                "difference",
                format!("to {}, question by question", against.file),
            )?;
            let Difference {
                exact,
                exact_confidence,
                exact_p,
                f1,
            } = difference;
            let text = difference_of(*exact, *exact_confidence, *exact_p);
            line("exact match", text)?;
            if let Some(f1) = f1 {
                line("F1", difference_of(f1.f1, f1.f1_confidence, f1.f1_p))?;
            }
        }
        Ok(())
    }
}

impl Scores {
    fn new(scoring: &Scoring, side: &Side, scores: &ByQuestion, with_thresholds: bool) -> Self {
        let missing = side.answers.iter().filter(|answer| answer.is_none());
        let squad2 = (scoring.metric() == Metric::Squad2).then(|| Squad2 {
            total: scoring.questions(),
            has_answer: Part::of(scoring, scores, true),
            no_answer: Part::of(scoring, scores, false),
            best: with_thresholds.then(|| best(side)),
        });
        Self {
            file: side.predictions.name.clone(),
            missing: missing.count(),
            superfluous: side.predictions.superfluous(),
            first_missing: side.first_missing.clone(),
            exact: percent(&scores.exact),
            exact_confidence: confidence(&scores.exact),
            f1: (scoring.metric() != Metric::Task).then(|| F1 {
                f1: percent(&scores.f1),
                f1_confidence: confidence(&scores.f1),
            }),
            squad2,
        }
    }

    fn print(&self, line: &mut impl FnMut(&str, String) -> std::io::Result<()>) -> Result<()> {
        let Self {
            file,
            missing,
            superfluous,
            exact,
            exact_confidence,
            ..
        } = self;
        let first = match &self.first_missing {
            Some(id) => format!(", which score 0 (the first is {})", excerpt(id)),
            None => String::new(),
        };
        line("predictions", file.clone())?;
        line(
            "",
            format!("{missing} missing{first}, {superfluous} of other questions"),
        )?;
        let with = |score: f64, confidence| format!("{score:.2}{}", interval(confidence));
        line("exact match", with(*exact, *exact_confidence))?;
        if let Some(F1 { f1, f1_confidence }) = self.f1 {
            line("F1", with(f1, f1_confidence))?;
        }
        let Some(squad2) = &self.squad2 else {
            return Ok(());
        };
        for (name, Part { exact, f1, total }) in squad2.parts() {
            let text = format!("exact match {exact:.2}, F1 {f1:.2} ({total} questions)");
            line(name, text)?;
        }
        for (name, score, threshold) in squad2.best() {
            let text = format!("{score:.2}, with the threshold {threshold}");
            line(
                if name == "f1" {
                    "best F1"
                } else {
                    "best exact"
                },
                text,
            )?;
        }
        Ok(())
    }
}

impl Part {
    /// The questions that have an answer, or those that have none; `None` if there is no such
    /// question.
    fn of(scoring: &Scoring, scores: &ByQuestion, has_answer: bool) -> Option<Self> {
        let of_part = |scores: &[f64]| -> Vec<f64> {
            let scores = scores.iter().zip(&scoring.have_answer);
            let scores = scores.filter(|(_, has)| **has == has_answer);
            scores.map(|(score, _)| *score).collect()
        };
        let exact = of_part(&scores.exact);
        (!exact.is_empty()).then(|| Self {
            exact: percent(&exact),
            f1: percent(&of_part(&scores.f1)),
            total: exact.len(),
        })
    }
}

/// The best thresholds of all answers, which are looked at in the order of the probabilities' file.
fn best(side: &Side) -> (Best, Best) {
    let answers = side.positions.iter().zip(&side.answers);
    let mut answers: Vec<(usize, Answered)> = answers
        .filter_map(|(position, answer)| Some((*position, (*answer)?)))
        .collect();
    answers.sort_by_key(|(position, _)| *position);
    best_thresholds(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// The mean in percent, in the scripts' order.
fn percent(scores: &[f64]) -> f64 {
    100.0 * scores.iter().sum::<f64>() / scores.len() as f64
}

/// Half the width of the mean's 95 % interval, in percent.
fn confidence(scores: &[f64]) -> Option<f64> {
    let confidence = Estimate::of(&[scores.to_vec()]).confidence();
    confidence.map(|confidence| 100.0 * confidence)
}

/// A score's 95 % interval behind it, where it has one.
fn interval(confidence: Option<f64>) -> String {
    let shown = confidence.map(|_| plus_minus(confidence, 2) + " (95 %)");
    shown.unwrap_or_default()
}

/// The mean of gains, half the width of its 95 % interval, in percent, and p.
fn compared(gains: Vec<f64>) -> (f64, Option<f64>, f64) {
    let (gain, confidence) = (percent(&gains), confidence(&gains));
    (gain, confidence, statistics::probability(&[gains]))
}

fn difference_of(gain: f64, confidence: Option<f64>, p: f64) -> String {
    let p = match statistics::shown(p) {
        small if small.starts_with('<') => format!("p {small}"),
        p => format!("p = {p}"),
    };
    format!("{gain:+.2}{}, {p}", interval(confidence))
}
