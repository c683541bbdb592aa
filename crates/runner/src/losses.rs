//! What a run has lost of the questions, in a line for each split.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use spanwise_artifact::Split;
use spanwise_artifact::answers::SplitMetrics;
use spanwise_artifact::questions::{self, QuestionCounts};
use spanwise_artifact::windows::{self, WindowCounts};

/// Splits that have lost something, and what. `data`, `windows`: the artifacts that count it.
pub(crate) fn lines(
    data: Option<&Path>,
    windows: Option<&Path>,
    metrics: &BTreeMap<Split, SplitMetrics>,
) -> Result<Vec<(Split, String)>> {
    let data = data.filter(|path| path.join(questions::COUNTS_FILE).exists());
    let data = data.map(QuestionCounts::read).transpose()?;
    let data = data.unwrap_or_default();
    let windows = windows.filter(|path| path.join(windows::COUNTS_FILE).exists());
    let windows = windows.map(WindowCounts::read).transpose()?;
    let windows = windows.unwrap_or_default();
    let line = |split| {
        let lost = of(
            split,
            data.get(&split).copied().unwrap_or_default(),
            windows.get(&split).copied().unwrap_or_default(),
            match split {
                // What is wrong with train is the same in the metrics of every split.
                Split::Train => metrics.values().next(),
                Split::Dev | Split::Test => metrics.get(&split),
            },
        );
        (!lost.is_empty()).then(|| (split, lost.join(", ")))
    };
    Ok(Split::ALL.into_iter().filter_map(line).collect())
}

fn of(
    split: Split,
    data: QuestionCounts,
    windows: WindowCounts,
    metrics: Option<&SplitMetrics>,
) -> Vec<String> {
    let (left_out, fits_no_window) = match split {
        Split::Train => ("records left out", "answers not learned from"),
        Split::Dev => ("records left out", "answers in no window"),
        Split::Test => (
            "questions without a row in the submission",
            "answers in no window",
        ),
    };
    let unlabelled = metrics.map_or(data.unlabelled, |metrics| metrics.unlabelled);
    let long = metrics.map_or(0, |metrics| match split {
        Split::Train => metrics.train_longer_than_max_answer_length,
        Split::Dev | Split::Test => metrics.longer_than_max_answer_length,
    });
    // Nobody expects labels of test.
    let unlabelled = if split == Split::Dev { unlabelled } else { 0 };
    let counts = [
        (data.rejected, left_out),
        (data.labels_left_out, "wrong labels left out"),
        (
            data.in_earlier_splits,
            "questions that an earlier split has",
        ),
        (unlabelled, "questions not measured"),
        (windows.questions_cut, "questions cut"),
        (windows.not_learnable(), fits_no_window),
        (
            windows.answers_not_expressible,
            "answers that no tokens spell",
        ),
        (
            windows.paragraphs_unknown,
            "paragraphs that the vocabulary lacks",
        ),
        (
            long,
            "reference answers longer than answers.max_answer_length",
        ),
    ];
    let lost = counts.into_iter().filter(|&(count, _)| count > 0);
    let named = |(count, what): (usize, &str)| match count {
        1 => format!("1 {}", what.replacen("s ", " ", 1)),
        _ => format!("{count} {what}"),
    };
    lost.map(named).collect()
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::settings::Metric;

    use super::*;

    #[test]
    fn every_loss_is_named_and_none_is_nothing() {
        let check = |split, rejected, cut, unlabelled, expected: &[&str]| {
            let data = QuestionCounts {
                rejected,
                ..QuestionCounts::default()
            };
            let windows = WindowCounts {
                questions_cut: cut,
                answers_without_tokens: cut,
                ..WindowCounts::default()
            };
            let metrics = SplitMetrics {
                unlabelled,
                ..SplitMetrics::of(Metric::Task, None)
            };
            assert_eq!(of(split, data, windows, Some(&metrics)), expected);
        };
        check(Split::Train, 0, 0, 0, &[]);
        check(
            Split::Train,
            2,
            1,
            0,
            &[
                "2 records left out",
                "1 question cut",
                "1 answer not learned from",
            ],
        );
        check(Split::Dev, 0, 0, 3, &["3 questions not measured"]);
        check(
            Split::Test,
            1,
            0,
            3,
            &["1 question without a row in the submission"],
        );
    }
}
