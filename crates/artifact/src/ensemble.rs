//! What the ensemble stage writes besides scores: what its members and methods score on dev, and
//! ranked spans.
//!
//! - `report.json`: an [`EnsembleReport`], where dev has questions
//! - `<split>.candidates.jsonl`: where spans are ranked by more than the sum of two scores, a list
//!   of [`Span`]s per question, best first

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::jsonl;
use crate::lines::Lines;
use crate::questions::Split;
use crate::scores::Span;

/// File of the [`EnsembleReport`].
pub const REPORT_FILE: &str = "report.json";

/// File of a split's ranked spans.
pub fn ranked_spans_file(split: Split) -> String {
    format!("{}.candidates.jsonl", split.name())
}

/// What members and the ways of combining them score on dev.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EnsembleReport {
    /// Number of dev questions.
    pub questions: usize,
    /// The share of them whose answer equals a reference after deleting ASCII commas on both sides.
    pub task_exact_match: EnsembleScores,
    /// The factors that the members' scores are multiplied by, fitted on all of dev; `None` for a
    /// vote.
    pub weights: Option<Vec<f64>>,
}

/// One metric's value for every member and every way of combining them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EnsembleScores {
    /// Each member alone.
    pub members: Vec<f64>,
    /// The mean of [`Self::members`].
    pub mean_member: f64,
    /// The mean of the members' scores.
    pub mean: f64,
    /// The mean of calibrated scores. Temperatures are fitted on four fifths of dev and measured on
    /// the fifth; `None` where nothing can be held out, as where dev has one paragraph.
    pub calibrated: Option<f64>,
    /// The weighted mean of scores. Weights are fitted on four fifths of dev and measured on the
    /// fifth; `None` as for [`Self::calibrated`].
    pub weighted: Option<f64>,
    /// The majority vote.
    pub vote: f64,
    /// What the method in use gains over [`Self::mean_member`].
    pub gain: f64,
}

impl EnsembleReport {
    /// Reads the report in `directory`; `None` where the stage had no dev questions to measure on.
    pub fn read(directory: &Path) -> Result<Option<Self>> {
        let path = directory.join(REPORT_FILE);
        path.exists()
            .then(|| jsonl::read_document(&path))
            .transpose()
    }

    /// Writes the report into `directory`.
    pub fn write(&self, directory: &Path) -> Result<()> {
        jsonl::write_document(&directory.join(REPORT_FILE), self)
    }
}

/// Opens a split's ranked spans, one list per question, best first; `None` where spans rank by
/// their scores alone.
pub fn open_ranked_spans(directory: &Path, split: Split) -> Result<Option<Lines<Vec<Span>>>> {
    let path = directory.join(ranked_spans_file(split));
    path.exists().then(|| Lines::open(&path)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_back_and_may_be_absent() -> Result<()> {
        let directory = tempfile::tempdir()?;
        assert_eq!(EnsembleReport::read(directory.path())?, None);
        let report = EnsembleReport {
            questions: 3,
            task_exact_match: EnsembleScores {
                members: vec![0.5, 0.25],
                mean_member: 0.375,
                gain: 0.125,
                ..EnsembleScores::default()
            },
            weights: Some(vec![0.5, 0.5]),
        };
        report.write(directory.path())?;
        assert_eq!(EnsembleReport::read(directory.path())?, Some(report));
        Ok(())
    }

    #[test]
    fn ranked_spans_read_back_and_may_be_absent() -> Result<()> {
        let directory = tempfile::tempdir()?;
        assert!(open_ranked_spans(directory.path(), Split::Dev)?.is_none());
        let span = Span {
            start: 1,
            end: 3,
            score: 2.0,
        };
        let path = directory.path().join(ranked_spans_file(Split::Dev));
        jsonl::write(&path, [vec![span], Vec::new()])?;
        let spans = open_ranked_spans(directory.path(), Split::Dev)?.expect("just written");
        assert_eq!((spans.len(), spans.get(0)?), (2, vec![span]));
        Ok(())
    }
}
