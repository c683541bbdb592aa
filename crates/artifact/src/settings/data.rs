//! What `[data]` may hold, and what the data stage is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Checks, Problem, Settings};

/// Input files of each split: SQuAD's and its relatives', questions with their contexts in JSON or in
/// a table, the course layout, or the layout that the data stage writes, a file
/// `<name>.questions.jsonl` with `<name>.paragraphs.jsonl` beside it. All but the last are told apart
/// by content and may be compressed with gzip.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DataTable {
    /// Files with labelled questions to train on. At least one must be given unless `train.epochs` is
    /// 0.
    pub train: Vec<String>,
    /// Files with labelled questions to measure on. At least one of `dev` and `test` must be given.
    pub dev: Vec<String>,
    /// Files with the questions to answer in the submission.
    pub test: Vec<String>,
    /// Number of training questions to use, spread evenly over the files; without it all are used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub train_questions: Option<usize>,
    /// What to do with a record whose offsets, id or paragraph are wrong.
    pub on_bad_record: OnBadRecord,
}

/// What happens to a wrong record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBadRecord {
    /// The run stops and names all wrong records.
    #[default]
    Error,
    /// The record is left out and listed in the artifact; a question of dev or test loses only a
    /// wrong label.
    Skip,
}

/// What the data stage is told.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataJob {
    /// `[data]`.
    #[serde(flatten)]
    pub table: DataTable,
    /// The part of train and dev together to write, for cross-validation; without it the splits
    /// are written as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<Fold>,
}

/// A part of train and dev together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fold {
    /// Number of parts.
    #[schemars(range(min = 1, max = 100))]
    pub count: usize,
    /// The part that becomes dev, while the others become train; without it all parts become dev.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

impl Settings for DataTable {
    fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("data", self);
        checks.require(
            !self.dev.is_empty() || !self.test.is_empty(),
            "dev",
            "[]",
            "must name a file unless data.test does",
        );
        checks.finish()
    }
}

impl Settings for DataJob {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.table.problems();
        let DataTable {
            train, dev, test, ..
        } = &self.table;
        // What is only looked at needs no other split beside it.
        if [train, dev, test].iter().any(|files| !files.is_empty()) {
            problems.retain(|problem| problem.found != "[]");
        }
        problems.extend(self.fold.iter().flat_map(Fold::problems));
        problems
    }
}

impl Settings for Fold {
    fn problems(&self) -> Vec<Problem> {
        let mut checks = Checks::of("fold", self);
        let index = self.index.unwrap_or(0);
        checks.require(
            index < self.count,
            "index",
            index,
            &format!(
                "must be less than count, {}: parts are counted from 0",
                self.count
            ),
        );
        checks.finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_job_is_the_table_and_the_fold() {
        let job = DataJob {
            table: DataTable {
                train: vec!["t".to_owned()],
                ..DataTable::default()
            },
            fold: Some(Fold {
                count: 5,
                index: Some(1),
            }),
        };
        let value = serde_json::to_value(&job).unwrap();
        let expected = json!({
            "train": ["t"], "dev": [], "test": [], "on_bad_record": "error",
            "fold": {"count": 5, "index": 1},
        });
        assert_eq!(value, expected);
        assert_eq!(serde_json::from_value::<DataJob>(value).unwrap(), job);
    }

    #[test]
    fn a_pipeline_needs_dev_or_test_and_a_job_any_split() {
        let check = |changes: serde_json::Value, of_table: &[&str], of_job: &[&str]| {
            let job: DataJob = serde_json::from_value(changes).unwrap();
            let keys = |problems: Vec<Problem>| -> Vec<String> {
                problems.into_iter().map(|problem| problem.key).collect()
            };
            assert_eq!(keys(job.table.problems()), of_table);
            assert_eq!(keys(job.problems()), of_job);
        };
        check(json!({"train": ["t"], "test": ["t"]}), &[], &[]);
        check(json!({"train": ["t"]}), &["data.dev"], &[]);
        check(json!({"dev": ["d"]}), &[], &[]);
        let neither = &["data.dev"];
        check(json!({}), neither, neither);
        let wrong = json!({"dev": ["d"], "train_questions": 0});
        let key = "data.train_questions";
        check(wrong, &[key], &[key]);
    }

    #[test]
    fn folds_are_held_to_their_number() {
        let check = |count, index, expected: &[&str]| {
            let problems = Fold { count, index }.problems();
            let found: Vec<String> = problems.iter().map(Problem::to_string).collect();
            assert_eq!(found, expected);
        };
        check(100, Some(99), &[]);
        check(
            5,
            Some(5),
            &["fold.index = 5: must be less than count, 5: parts are counted from 0"],
        );
        check(101, None, &["fold.count = 101: must be at most 100"]);
        let of_none = "fold.index = 0: must be less than count, 0: parts are counted from 0";
        check(0, None, &["fold.count = 0: must be at least 1", of_none]);
    }

    #[test]
    fn a_job_has_no_other_keys_and_a_table_no_fold() {
        let unknown = json!({"train": ["t"], "folds": 5});
        let error = serde_json::from_value::<DataJob>(unknown).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `folds`"),
            "{error}"
        );
        let fold = json!({"train": ["t"], "fold": {"count": 5}});
        let error = serde_json::from_value::<DataTable>(fold).unwrap_err();
        assert!(
            error.to_string().contains("unknown field `fold`"),
            "{error}"
        );
    }
}
