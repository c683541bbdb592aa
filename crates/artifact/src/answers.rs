//! What the answers stage writes: every answer with its candidates, and what each split scores.
//!
//! - `answers.jsonl`: an [`AnswerRecord`] a line, dev before test, in the order of the data
//!   artifact
//! - `metrics.json`: [`SplitMetrics`] by split, for the splits with reference answers
//! - `submission.csv`: the columns `ID` and `Answer`, where there is a test split
//! - `predictions.json`, `nbest.json`, `null_odds.json`: every answer, the [`NBest`] of every
//!   question, and where questions may be left unanswered [`AnswerRecord::null_score_diff`], by the
//!   question's id, as the scripts of SQuAD and BERT write them; see [`predictions_file`]
//! - `report.html`: a page for people
//!
//! A share or a score of one answer lies between 0 and 1. Each field is named after the metric's
//! definition.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::Result;
use fs_err::File;
use serde::{Deserialize, Serialize};

use crate::jsonl;
use crate::questions::Split;
use crate::settings::{Metric, MlqaLanguage, Rule};

/// File of the [`AnswerRecord`]s.
pub const ANSWERS_FILE: &str = "answers.jsonl";

/// File of the [`SplitMetrics`].
pub const METRICS_FILE: &str = "metrics.json";

/// File of the test split's answers in the layout that the course's grader reads.
pub const SUBMISSION_FILE: &str = "submission.csv";

/// File of the page that shows where answers go wrong.
pub const REPORT_FILE: &str = "report.html";

/// Files that a run may have of each split: answers, the best candidates, and score differences of
/// no answer, by id.
pub const PREDICTION_FILES: [&str; 6] = [
    "predictions.json",
    "nbest.json",
    "null_odds.json",
    "dev.predictions.json",
    "dev.nbest.json",
    "dev.null_odds.json",
];

/// File of a split's answers by id. Without a test split, those of dev have the plain name, which
/// is what a question set without test questions is evaluated with.
pub fn predictions_file(split: Split, has_test: bool) -> &'static str {
    PREDICTION_FILES[if is_plain(split, has_test) { 0 } else { 3 }]
}

/// File of the best candidates of a split's questions by id; named as [`predictions_file`] is.
pub fn nbest_file(split: Split, has_test: bool) -> &'static str {
    PREDICTION_FILES[if is_plain(split, has_test) { 1 } else { 4 }]
}

/// File of how much higher no answer scores than the best span, of a split's questions by id; named
/// as [`predictions_file`] is.
pub fn null_odds_file(split: Split, has_test: bool) -> &'static str {
    PREDICTION_FILES[if is_plain(split, has_test) { 2 } else { 5 }]
}

fn is_plain(split: Split, has_test: bool) -> bool {
    split == Split::Test || !has_test
}

/// One answered question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnswerRecord {
    /// The split that the question belongs to.
    pub split: Split,
    /// The question's id.
    pub id: String,
    /// The question's text.
    pub question: String,
    /// The answer, a substring of the paragraph; empty where the question is left unanswered.
    pub answer: String,
    /// The probability of the answer before repairs, among all spans of the
    /// paragraph and, where questions may be left unanswered, no answer; from 0 to 1. `None` for an
    /// answer that no score supports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// How much higher no answer scores than the best span, where questions may be left unanswered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_score_diff: Option<f32>,
    /// The reference answers; empty for a question that is unlabelled or unanswerable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// Whether the paragraph is known not to answer the question.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_impossible: bool,
    /// The answer's scores, on disk under the name that earlier versions gave them; `None` for an
    /// unlabelled question.
    #[serde(default, rename = "marks", skip_serializing_if = "Option::is_none")]
    pub metrics: Option<QuestionMetrics>,
    /// The highest-scoring spans before repairs, best first.
    pub candidates: Vec<Candidate>,
}

/// A candidate answer of a question.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The substring of the paragraph.
    pub text: String,
    /// Index of its first character.
    pub start: usize,
    /// One past the index of its last character.
    pub end: usize,
    /// Start score plus end score, or the ensemble's ranking; `None` for a fallback that no score
    /// supports.
    pub score: Option<f32>,
}

/// A candidate answer in `nbest.json`, with the fields of BERT's
/// [`run_squad.py`](https://github.com/google-research/bert/blob/eedf5716ce1268e56f0a50264a88cafad334ac61/run_squad.py).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NBest {
    /// The substring of the paragraph; empty where the question is left unanswered.
    pub text: String,
    /// Softmax of the scores of the question's candidates, from 0 to 1.
    pub probability: f32,
    /// Score of the first character as a start; 0 where no score supports the candidate.
    pub start_logit: f32,
    /// Score of the last character as an end; 0 where no score supports the candidate.
    pub end_logit: f32,
}

/// Entries of a JSON object, to be written by an [`ObjectWriter`].
#[derive(Debug, Default)]
pub struct Entries(Vec<u8>);

impl Entries {
    /// Adds an entry. Keys are not compared: who writes the file sees to it that each is there once.
    ///
    /// # Errors
    /// Fails if the value has no form in JSON.
    pub fn push(&mut self, key: &str, value: &impl Serialize) -> Result<()> {
        self.0.extend(SEPARATOR);
        serde_json::to_writer(&mut self.0, key)?;
        self.0.extend(b": ");
        Ok(serde_json::to_writer(&mut self.0, value)?)
    }
}

/// What stands before an entry of an object, but the first.
const SEPARATOR: &[u8] = b",\n";

/// Writes one JSON object, an entry a line, some entries at a time.
pub struct ObjectWriter {
    file: BufWriter<File>,
    is_empty: bool,
}

impl ObjectWriter {
    /// Starts a file, in place of what is there.
    ///
    /// # Errors
    /// Fails if it cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(b"{\n")?;
        let is_empty = true;
        Ok(Self { file, is_empty })
    }

    /// Adds entries.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn push(&mut self, Entries(bytes): &Entries) -> Result<()> {
        let skipped = if self.is_empty { SEPARATOR.len() } else { 0 };
        if let Some(bytes) = bytes.get(skipped..) {
            self.file.write_all(bytes)?;
            self.is_empty &= bytes.is_empty();
        }
        Ok(())
    }

    /// Ends the object and the file.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.file.write_all(b"\n}\n")?;
        Ok(self.file.flush()?)
    }
}

/// The scores of one answer. To an unanswerable question an empty answer scores 1, any other 0; by
/// SQuAD 2.0's definition, one that normalises to nothing is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct QuestionMetrics {
    /// Exact match by the metric in use.
    pub exact_match: f64,
    /// F1 by the metric in use; `None` where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// Equal to a reference after deleting ASCII commas on both sides.
    pub task_exact_match: f64,
    /// Equal to a reference, character by character.
    pub any_reference_exact_match: f64,
    /// CMRC 2018's exact match, best over the references.
    pub cmrc_exact_match: f64,
    /// CMRC 2018's F1, best over the references.
    pub cmrc_f1: f64,
}

/// The means over one split's labelled questions, and what fitting did to its answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SplitMetrics {
    /// Number of labelled questions: those with reference answers, and unanswerable ones.
    pub questions: usize,
    /// Number of questions of whose answer nothing is known, which are not measured.
    #[serde(default)]
    pub unlabelled: usize,
    /// Number of labelled questions whose reference answers are all longer than the longest answer
    /// that decoding returns; 0 where there is no limit.
    #[serde(default)]
    pub longer_than_max_answer_length: usize,
    /// Number of training questions whose reference answers are all longer than that.
    #[serde(default)]
    pub train_longer_than_max_answer_length: usize,
    /// Number of empty answers to labelled questions.
    pub empty: usize,
    /// The metric in use: everything fitted is fitted to it.
    pub metric: Metric,
    /// The language that it is of, where it depends on one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<MlqaLanguage>,
    /// Mean of [`QuestionMetrics::exact_match`].
    pub exact_match: f64,
    /// Standard error of [`Self::exact_match`]; `None` where all questions, or none, are answered
    /// right, which says nothing of how far other questions would be from that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact_match_standard_error: Option<f64>,
    /// Mean of [`QuestionMetrics::f1`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
    /// The same of the questions with reference answers and of the unanswerable ones, where there
    /// are both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_answerability: Option<[PartMetrics; 2]>,
    /// Mean of [`QuestionMetrics::task_exact_match`].
    pub task_exact_match: f64,
    /// Mean of [`QuestionMetrics::any_reference_exact_match`].
    pub any_reference_exact_match: f64,
    /// Mean of [`QuestionMetrics::cmrc_exact_match`].
    pub cmrc_exact_match: f64,
    /// Mean of [`QuestionMetrics::cmrc_f1`].
    pub cmrc_f1: f64,
    /// When questions are left unanswered; `None` where they never are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_score_diff_threshold: Option<NullMetrics>,
    /// How far the probabilities of answers can be trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// The longest answer that was fitted on dev; `None` where the pipeline file sets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_answer_length: Option<FittedLength>,
    /// The effect of every repair rule, in the order in which rules are applied.
    pub rules: BTreeMap<Rule, Effect>,
}

/// The means over some questions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct PartMetrics {
    /// Number of these questions.
    pub questions: usize,
    /// As [`SplitMetrics::exact_match`].
    pub exact_match: f64,
    /// As [`SplitMetrics::f1`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub f1: Option<f64>,
}

/// When questions are left unanswered, and what that gains on dev.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct NullMetrics {
    /// The difference of scores above which a question is left unanswered.
    pub threshold: f64,
    /// What a fitted threshold gains.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fitted: Option<FittedThreshold>,
}

/// A threshold that was fitted on dev.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FittedThreshold {
    /// The best on all of dev.
    pub best: f64,
    /// Whether it is applied: unless thresholds lose against 0 on the held-out parts, or nothing
    /// could be held out.
    pub applied: bool,
    /// `None` where all labelled questions are about one paragraph: nothing is held out then.
    #[serde(flatten)]
    pub measured: Option<HeldOutThresholds>,
}

/// What thresholds that were fitted on four fifths of dev score on the fifth, by what they are fitted
/// to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct HeldOutThresholds {
    /// The score on the held-out parts.
    pub held_out: f64,
    /// What that gains over a threshold of 0.
    pub over_zero: Gain,
    /// What that gains over answering every question.
    pub over_always_answer: Gain,
    /// What that gains over answering none.
    pub over_always_null: Gain,
}

/// A mean of paired differences.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gain {
    /// The mean over all questions.
    pub mean: f64,
    /// Its standard error; `None` where all differences are the same, from which no error can be
    /// told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standard_error: Option<f64>,
}

/// How far the probabilities of a split's answers can be trusted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Confidence {
    /// What scores are divided by before they become probabilities (Guo et al., 2017,
    /// arXiv:1706.04599), fitted on dev; on dev each fifth is measured with the one that is fitted
    /// on the others. `None` where nothing is fitted, and scores are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Mean distance of probability and share of exact answers, over ten bins of equal width, each
    /// weighted by its questions.
    pub expected_calibration_error: f64,
    /// The bins, from 0 to 1; those without a question are left out.
    pub bins: Vec<ConfidenceBin>,
    /// What is wrong of the most probable answers, from a tenth of them to all.
    pub risk_coverage: Vec<Risk>,
}

/// Answers of similar probability.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfidenceBin {
    /// Number of questions.
    pub questions: usize,
    /// Mean probability of their answers.
    pub probability: f64,
    /// Share of exact answers.
    pub exact_match: f64,
}

/// What is wrong of the most probable answers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Risk {
    /// The share of questions that are answered.
    pub coverage: f64,
    /// The share of them whose answer is not exact.
    pub risk: f64,
    /// The least probability of their answers.
    pub probability: f64,
}

/// A longest answer that was fitted on dev, and its effect on one split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FittedLength {
    /// The longest answer, in characters.
    pub characters: usize,
    /// Exact match gained on held-out parts of dev by limits that were fitted on the other parts;
    /// `None` where nothing could be held out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_gain: Option<f64>,
    /// The effect compared with the longest limit that is tried. The limit is applied unless it
    /// loses on the held-out parts, or nothing could be held out.
    #[serde(flatten)]
    pub effect: Effect,
}

/// What a change to answers does to labelled questions, by exact match of the metric in use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// Whether the change is applied to the answers.
    pub applied: bool,
    /// Number of answers that it changes.
    pub changed: usize,
    /// Number of wrong answers that it makes right.
    pub fixed: usize,
    /// Number of right answers that it makes wrong.
    pub broken: usize,
}

impl SplitMetrics {
    /// The name of the metric in use in reports.
    pub fn title(&self) -> String {
        match self.language {
            Some(language) => format!("{} ({})", self.metric.title(), language.name()),
            None => self.metric.title().to_owned(),
        }
    }

    /// Of no question yet, by this metric.
    pub fn of(metric: Metric, language: Option<MlqaLanguage>) -> Self {
        Self {
            metric,
            language,
            questions: 0,
            unlabelled: 0,
            longer_than_max_answer_length: 0,
            train_longer_than_max_answer_length: 0,
            empty: 0,
            exact_match: 0.0,
            exact_match_standard_error: None,
            f1: None,
            by_answerability: None,
            task_exact_match: 0.0,
            any_reference_exact_match: 0.0,
            cmrc_exact_match: 0.0,
            cmrc_f1: 0.0,
            null_score_diff_threshold: None,
            confidence: None,
            max_answer_length: None,
            rules: BTreeMap::new(),
        }
    }
}

impl Effect {
    /// Counts one answer: whether it changes, and whether it is right before and after.
    pub fn count(&mut self, changes: bool, right_before: bool, right_after: bool) {
        self.changed += usize::from(changes);
        self.fixed += usize::from(!right_before && right_after);
        self.broken += usize::from(right_before && !right_after);
    }
}

/// Reads the records of `answers.jsonl` in `directory`, one at a time.
pub fn read(directory: &Path) -> Result<impl Iterator<Item = Result<AnswerRecord>> + use<>> {
    jsonl::read(&directory.join(ANSWERS_FILE))
}

/// Writes `answers.jsonl` into `directory`.
pub fn write<'a>(
    directory: &Path,
    records: impl IntoIterator<Item = &'a AnswerRecord>,
) -> Result<()> {
    jsonl::write(&directory.join(ANSWERS_FILE), records)
}

/// Reads `metrics.json` in `directory`: the metrics of every labelled split.
pub fn read_metrics(directory: &Path) -> Result<BTreeMap<Split, SplitMetrics>> {
    jsonl::read_document(&directory.join(METRICS_FILE))
}

/// Writes `metrics.json` into `directory`.
pub fn write_metrics(directory: &Path, metrics: &BTreeMap<Split, SplitMetrics>) -> Result<()> {
    jsonl::write_document(&directory.join(METRICS_FILE), metrics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> AnswerRecord {
        AnswerRecord {
            split: Split::Dev,
            id: "7".to_owned(),
            question: "誰?".to_owned(),
            answer: "李白".to_owned(),
            probability: Some(0.5),
            null_score_diff: None,
            references: vec!["李白".to_owned()],
            is_impossible: false,
            metrics: Some(QuestionMetrics {
                exact_match: 1.0,
                f1: None,
                task_exact_match: 1.0,
                any_reference_exact_match: 1.0,
                cmrc_exact_match: 1.0,
                cmrc_f1: 1.0,
            }),
            candidates: vec![Candidate {
                text: "李白".to_owned(),
                start: 3,
                end: 5,
                score: Some(1.5),
            }],
        }
    }

    #[test]
    fn answers_read_back_under_their_names_on_disk() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let unlabelled = AnswerRecord {
            split: Split::Test,
            probability: None,
            null_score_diff: Some(-1.5),
            references: Vec::new(),
            is_impossible: true,
            metrics: None,
            candidates: Vec::new(),
            ..record()
        };
        let records = [record(), unlabelled];
        write(directory.path(), &records)?;
        let text = fs_err::read_to_string(directory.path().join(ANSWERS_FILE))?;
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                concat!(
                    r#"{"split":"dev","id":"7","question":"誰?","answer":"李白","probability":0.5,"references":["李白"],"#,
                    r#""marks":{"exact_match":1.0,"task_exact_match":1.0,"any_reference_exact_match":1.0,"#,
                    r#""cmrc_exact_match":1.0,"cmrc_f1":1.0},"#,
                    r#""candidates":[{"text":"李白","start":3,"end":5,"score":1.5}]}"#
                ),
                r#"{"split":"test","id":"7","question":"誰?","answer":"李白","null_score_diff":-1.5,"is_impossible":true,"candidates":[]}"#,
            ]
        );
        let found: Vec<AnswerRecord> = read(directory.path())?.collect::<Result<_>>()?;
        assert_eq!(found, records);
        Ok(())
    }

    #[test]
    fn objects_are_written_piece_by_piece() -> Result<()> {
        fn check(pieces: &[&[(&str, &str)]], expected: &str) -> Result<()> {
            let directory = tempfile::tempdir()?;
            let path = directory.path().join("object.json");
            let mut writer = ObjectWriter::create(&path)?;
            for piece in pieces {
                let mut entries = Entries::default();
                for (key, value) in *piece {
                    entries.push(key, value)?;
                }
                writer.push(&entries)?;
            }
            writer.finish()?;
            let text = fs_err::read_to_string(path)?;
            assert_eq!(text, expected);
            let read: BTreeMap<String, String> = serde_json::from_str(&text)?;
            assert_eq!(read.len(), pieces.concat().len());
            Ok(())
        }
        check(&[], "{\n\n}\n")?;
        check(&[&[]], "{\n\n}\n")?;
        check(&[&[("1", "")]], "{\n\"1\": \"\"\n}\n")?;
        check(
            &[&[], &[("\"", "李\n白"), ("b", "c")], &[], &[("d", "e")]],
            "{\n\"\\\"\": \"李\\n白\",\n\"b\": \"c\",\n\"d\": \"e\"\n}\n",
        )
    }

    #[test]
    fn the_plain_names_are_of_test_or_of_the_only_split() {
        let names = |split, has_test| {
            (
                predictions_file(split, has_test),
                nbest_file(split, has_test),
                null_odds_file(split, has_test),
            )
        };
        let plain = ("predictions.json", "nbest.json", "null_odds.json");
        assert_eq!(names(Split::Test, true), plain);
        assert_eq!(names(Split::Dev, false), plain);
        assert_eq!(
            names(Split::Dev, true),
            (
                "dev.predictions.json",
                "dev.nbest.json",
                "dev.null_odds.json"
            )
        );
    }

    #[test]
    fn metrics_read_back_and_a_missing_field_is_an_error() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let effect = Effect {
            applied: true,
            changed: 3,
            fixed: 2,
            broken: 1,
        };
        let metrics = SplitMetrics {
            questions: 4,
            exact_match: 0.75,
            by_answerability: Some([PartMetrics::default(); 2]),
            null_score_diff_threshold: Some(NullMetrics {
                threshold: -0.5,
                fitted: None,
            }),
            max_answer_length: Some(FittedLength {
                characters: 17,
                held_out_gain: Some(0.25),
                effect,
            }),
            rules: BTreeMap::from([(Rule::Titles, effect)]),
            ..SplitMetrics::of(Metric::Squad, None)
        };
        let all = BTreeMap::from([(Split::Dev, metrics)]);
        write_metrics(directory.path(), &all)?;
        assert_eq!(read_metrics(directory.path())?, all);

        let path = directory.path().join(METRICS_FILE);
        let text = fs_err::read_to_string(&path)?;
        for field in ["exact_match", "cmrc_f1", "characters", "fixed"] {
            let renamed = text.replacen(&format!("\"{field}\""), "\"other\"", 1);
            assert_ne!(renamed, text);
            fs_err::write(&path, renamed)?;
            let error = format!("{:#}", read_metrics(directory.path()).unwrap_err());
            assert!(
                error.contains(&format!("missing field `{field}`")),
                "{error}"
            );
        }
        Ok(())
    }
}
