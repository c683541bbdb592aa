//! The table of a comparison.

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;
use spanwise_artifact::UserError;
use spanwise_artifact::answers::QuestionMetrics;

use crate::statistics::{self, Estimate, Samples, mean, plus_minus};

/// A row of the table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    /// The metric in use.
    metric: String,
    /// Its exact match of every repetition.
    repetitions: Vec<f64>,
    exact_match: f64,
    /// Half the width of its 95 % confidence interval, over questions and repetitions; `None` where
    /// all score the same.
    exact_match_confidence: Option<f64>,
    /// Its F1; `None` where it has none.
    f1: Option<f64>,
    any_reference_exact_match: f64,
    cmrc_exact_match: f64,
    cmrc_f1: f64,
    /// Exact match gained over the pipeline it is measured against.
    gain: Option<f64>,
    /// Half the width of its 95 % confidence interval, over questions and repetitions, paired.
    gain_confidence: Option<f64>,
    /// The gain of every repetition over the same one of the other pipeline.
    gain_repetitions: Vec<f64>,
    /// Probability of a gain at least as far from none if there were none.
    p: Option<f64>,
    /// Seconds that the stages of one repetition took when they were run, on average.
    seconds: f64,
}

/// Exact match by repetition and question.
fn exact_matches(repetitions: &[Vec<QuestionMetrics>]) -> Samples {
    let matches = |metrics: &Vec<QuestionMetrics>| {
        let metrics = metrics.iter();
        metrics.map(|metrics| metrics.exact_match).collect()
    };
    repetitions.iter().map(matches).collect()
}

impl Row {
    pub(super) fn new(
        name: &str,
        metric: &str,
        repetitions: &[Vec<QuestionMetrics>],
        rival: Option<&Vec<Vec<QuestionMetrics>>>,
        seconds: f64,
    ) -> Result<Self> {
        let average = |metric: fn(&QuestionMetrics) -> f64| {
            let all: Vec<f64> = repetitions.iter().flatten().map(metric).collect();
            mean(&all)
        };
        let own = exact_matches(repetitions);
        let gains = match rival {
            Some(rival) => {
                let gains = statistics::gains(&own, &exact_matches(rival));
                let differ =
                    || UserError::new(format!("{name} was measured on other dev questions"));
                Some(gains.ok_or_else(differ)?)
            }
            None => None,
        };
        let exact_match = Estimate::of(&own);
        let gain = gains.as_deref().map(Estimate::of);
        let means = |samples: &[Vec<f64>]| samples.iter().map(|sample| mean(sample)).collect();
        Ok(Self {
            name: name.to_owned(),
            metric: metric.to_owned(),
            f1: f1(repetitions),
            gain_repetitions: gains.as_deref().map_or_else(Vec::new, means),
            repetitions: means(&own),
            exact_match: exact_match.mean,
            exact_match_confidence: exact_match.confidence(),
            any_reference_exact_match: average(|metrics| metrics.any_reference_exact_match),
            cmrc_exact_match: average(|metrics| metrics.cmrc_exact_match),
            cmrc_f1: average(|metrics| metrics.cmrc_f1),
            gain: gain.map(|gain| gain.mean),
            gain_confidence: gain.and_then(Estimate::confidence),
            p: gains.as_deref().map(statistics::probability),
            seconds,
        })
    }
}

/// The mean F1 of the metric in use.
fn f1(repetitions: &[Vec<QuestionMetrics>]) -> Option<f64> {
    let all = repetitions.iter().flatten().map(|metrics| metrics.f1);
    all.collect::<Option<Vec<f64>>>().map(|all| mean(&all))
}

/// The rows, which are measured by the same metric, as a Markdown table.
pub(super) fn markdown(rows: &[Row]) -> String {
    let metric = rows.first().map_or("", |row| &row.metric);
    let mut table = format!(
        "| pipeline | {metric} EM (95 %) | gain (95 %) | by seed | p | any-reference EM | CMRC EM | CMRC F1 | minutes |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let gain = row.gain.map_or("–".to_owned(), |gain| {
            format!("{gain:+.3}{}", plus_minus(row.gain_confidence, 3))
        });
        let by_seed: Vec<String> = row
            .gain_repetitions
            .iter()
            .map(|gain| format!("{gain:+.3}"))
            .collect();
        let by_seed = by_seed.join(" ");
        let p = row.p.map_or("–".to_owned(), statistics::shown);
        writeln!(
            table,
            "| {} | {:.3}{} | {gain} | {by_seed} | {p} | {:.3} | {:.3} | {:.3} | {:.1} |",
            row.name,
            row.exact_match,
            plus_minus(row.exact_match_confidence, 3),
            row.any_reference_exact_match,
            row.cmrc_exact_match,
            row.cmrc_f1,
            row.seconds / 60.0,
        )
        .expect("writing to a string does not fail");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_measured_against_its_rival_question_by_question() {
        let metrics = |right: &[f64]| -> Vec<QuestionMetrics> {
            let metrics = |&exact_match: &f64| QuestionMetrics {
                exact_match,
                ..Default::default()
            };
            right.iter().map(metrics).collect()
        };
        let below = vec![
            metrics(&[1.0, 0.0, 0.0, 0.0]),
            metrics(&[0.0, 0.0, 1.0, 0.0]),
        ];
        let row = Row::new("a", "task", &below, None, 1.0).unwrap();
        assert_eq!((row.exact_match, row.gain), (0.25, None));
        let two = vec![
            metrics(&[1.0, 1.0, 0.0, 1.0]),
            metrics(&[1.0, 1.0, 0.0, 0.0]),
        ];
        let row = Row::new("b", "task", &two, Some(&below), 1.0).unwrap();
        assert_eq!(row.repetitions, [0.75, 0.5]);
        assert_eq!((row.exact_match, row.gain), (0.625, Some(0.375)));
        assert_eq!(row.gain_repetitions, [0.5, 0.25]);
        // Gains 0 1 0 1 and 1 1 -1 0, by question ½ 1 -½ ½: variance of their mean 0.0990.
        assert!((row.gain_confidence.unwrap() - 1.96 * 0.098_958f64.sqrt()).abs() < 1e-5);
        assert!((row.p.unwrap() - 0.2332).abs() < 1e-3, "{:?}", row.p);
        assert!(Row::new("c", "task", &[metrics(&[1.0])], Some(&below), 1.0).is_err());
        let table = markdown(&[row]);
        assert!(table.contains("| b | 0.625 ± "), "{table}");
    }
}
