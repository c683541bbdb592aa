//! The questions that predictions are scored on, and the metric that fits them.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use spanwise_answers::metrics::{mlqa_language, suited};
use spanwise_artifact::profile::{Profile, Script, SplitProfile};
use spanwise_artifact::questions::paragraphs_beside;
use spanwise_artifact::settings::{Metric, MlqaLanguage};
use spanwise_artifact::{Split, UserError};
use spanwise_data::input::excerpt;
use spanwise_data::sources::{Format, Source};
use spanwise_program::signals;

use crate::workspace;

/// A data file of any layout that the data stage reads.
pub(super) struct Data {
    source: Source,
    format: Format,
    /// Holds what of the file cannot be read in order.
    _space: tempfile::TempDir,
}

/// A question, as far as its answer is scored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: String,
    pub(super) text: String,
    /// The texts of its reference answers; none where it has no answer, or none is known.
    pub(super) references: Vec<String>,
    /// Whether the file says that it has no answer.
    pub(super) is_unanswerable: bool,
    /// Whether it says so in as many words, and not by an empty list.
    pub(super) is_impossible: bool,
}

impl Data {
    /// Finds the layout of a file.
    ///
    /// # Errors
    /// Fails if it cannot be read or has none that is known.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let beside = paragraphs_beside(&name);
        let beside = beside.as_deref().map(|name| (name, name.into()));
        let source = Source::new((&name, path.to_owned()), beside)?;
        let space = workspace::temporary(tempfile::tempdir())?;
        let format = source.format(space.path())?;
        Ok(Self {
            source,
            format,
            _space: space,
        })
    }

    /// Its name in messages.
    pub(super) fn shown(&self) -> String {
        self.source.shown()
    }

    /// Reads the questions one by one, in the file's order.
    ///
    /// # Errors
    /// Fails if the file cannot be read, a question or an answer of it is malformed, or `sink`
    /// fails.
    pub(super) fn read(&self, sink: &mut dyn FnMut(Question) -> Result<()>) -> Result<()> {
        let shown = self.shown();
        let wrong = |id: &str, reason: String| {
            UserError::new(format!("{shown}: question {}: {reason}", excerpt(id)))
        };
        self.source.read_records(&self.format, &mut |record| {
            signals::check("")?;
            let record = record.map_err(|malformed| wrong(&malformed.id, malformed.reason))?;
            let texts = record
                .answers
                .into_iter()
                .map(|claim| claim.map(|claim| claim.text));
            let references = texts.collect::<Result<_, _>>();
            let references = references.map_err(|reason| wrong(&record.id, reason))?;
            sink(Question {
                id: record.id,
                text: record.question,
                references,
                is_impossible: record.is_impossible,
                // In the stage's own layout, no answers may mean that none is known.
                is_unanswerable: record.is_impossible
                    || record.has_empty_answers && !matches!(self.format, Format::Native),
            })
        })
    }

    /// Returns the metric that suits the questions, as a run on them would choose it.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or as [`Data::read`].
    pub(super) fn suited(&self) -> Result<Suited> {
        let mut split = SplitProfile::default();
        let (mut questions, mut unanswerable) = (0, 0);
        self.read(&mut |question| {
            split.count_letters(&question.text);
            questions += 1;
            unanswerable += usize::from(question.is_unanswerable);
            Ok(())
        })?;
        let profile = Profile {
            course_layout: self.format.is_course(),
            splits: BTreeMap::from([(Split::Dev, split)]),
        };
        let metric = suited(&profile, unanswerable > 0);
        let why = match (metric, profile.script()) {
            (Metric::Task, _) => "has the course's layout".to_owned(),
            (Metric::Squad2, _) => {
                format!("has no answer to {unanswerable} of its {questions} questions")
            }
            (Metric::Cmrc, _) => "has its questions in Chinese".to_owned(),
            (Metric::Korquad, _) => "has its questions in Korean".to_owned(),
            (Metric::Mlqa, Some(Script::Arabic)) => "has its questions in Arabic".to_owned(),
            (Metric::Mlqa, _) => "has its questions in Hindi".to_owned(),
            (Metric::Squad, _) => "has its questions in no language with one of its own".to_owned(),
        };
        Ok(Suited {
            metric,
            language: mlqa_language(&profile).filter(|_| metric == Metric::Mlqa),
            why: format!("since {} {why}", self.shown()),
        })
    }
}

/// The metric that suits a data file.
#[derive(Debug)]
pub(super) struct Suited {
    pub(super) metric: Metric,
    /// The language, where the metric is MLQA's.
    pub(super) language: Option<MlqaLanguage>,
    /// The rest of a sentence about the metric.
    pub(super) why: String,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_metric_is_the_one_that_a_run_would_choose() {
        fn check(questions: &[(&str, &[&str])], expected: Metric) {
            let question = |(index, (text, answers)): (usize, &(&str, &[&str]))| {
                let answers: Vec<_> = answers.iter().map(|text| json!({"text": text})).collect();
                json!({"id": index, "context": "c", "question": text, "answers": answers})
            };
            let questions: Vec<_> = questions.iter().enumerate().map(question).collect();
            let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
            fs_err::write(file.path(), serde_json::to_vec(&questions).unwrap()).unwrap();
            let data = Data::open(file.path()).unwrap();
            assert_eq!(data.suited().unwrap().metric, expected, "{questions:?}");
        }
        check(&[("Who?", &["the cat"]), ("What?", &[])], Metric::Squad2);
        check(&[("Who?", &["李白"]), ("What?", &["b"])], Metric::Squad);
        check(&[("谁是李白？", &["the cat"]), ("谁？", &[])], Metric::Cmrc);
        check(&[("누구?", &["漢江"])], Metric::Korquad);
        check(&[("東京の江戸時代とは？", &["東京"])], Metric::Squad);
        check(&[("من هو؟", &["a"])], Metric::Mlqa);
        check(&[("1?", &["1926"])], Metric::Squad);
    }
}
