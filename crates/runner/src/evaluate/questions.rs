//! The questions that predictions are scored on, and the metric that fits them.

use std::path::Path;

use anyhow::Result;
use spanwise_artifact::UserError;
use spanwise_artifact::questions::paragraphs_beside;
use spanwise_artifact::settings::Metric;
use spanwise_data::input::excerpt;
use spanwise_data::sources::{Format, Source};

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
    /// The texts of its reference answers; none where it has no answer, or none is known.
    pub(super) references: Vec<String>,
    /// Whether the file says that it has no answer.
    pub(super) is_unanswerable: bool,
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
        let space = tempfile::tempdir()?;
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
            let record = record.map_err(|malformed| wrong(&malformed.id, malformed.reason))?;
            let texts = record
                .answers
                .into_iter()
                .map(|claim| claim.map(|claim| claim.text));
            let references = texts.collect::<Result<_, _>>();
            let references = references.map_err(|reason| wrong(&record.id, reason))?;
            sink(Question {
                id: record.id,
                references,
                is_unanswerable: record.is_impossible || record.has_empty_answers,
            })
        })
    }

    /// Returns the metric that fits the questions, and why.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or as [`Data::read`].
    pub(super) fn fitting_metric(&self) -> Result<(Metric, String)> {
        let mut seen = Seen::default();
        self.read(&mut |question| {
            seen.add(&question);
            Ok(())
        })?;
        if self.format.is_course() {
            let why = format!("since {} has the course's layout", self.shown());
            return Ok((Metric::Task, why));
        }
        // In the stage's own layout, no answers may mean that none is known.
        let says_none = !matches!(self.format, Format::Native);
        let (metric, why) = seen.fitting_metric(says_none);
        Ok((metric, format!("since {} {why}", self.shown())))
    }
}

/// What the choice of a metric depends on.
#[derive(Debug, Default)]
struct Seen {
    questions: usize,
    /// Questions without reference answers.
    without: usize,
    /// Letters of the reference answers, by script.
    letters: usize,
    han: usize,
    hangul: usize,
    kana: usize,
}

impl Seen {
    fn add(&mut self, question: &Question) {
        self.questions += 1;
        self.without += usize::from(question.references.is_empty());
        let characters = question.references.iter().flat_map(|text| text.chars());
        for c in characters.filter(|c| c.is_alphabetic()) {
            self.letters += 1;
            match c {
                '\u{3041}'..='\u{30ff}' => self.kana += 1,
                '\u{3400}'..='\u{4dbf}'
                | '\u{4e00}'..='\u{9fff}'
                | '\u{f900}'..='\u{faff}'
                | '\u{20000}'..='\u{3ffff}' => self.han += 1,
                '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}' => {
                    self.hangul += 1;
                }
                _ => {}
            }
        }
    }

    fn fitting_metric(&self, says_none: bool) -> (Metric, String) {
        // Japanese writes Han characters among kana.
        if 2 * self.han > self.letters && 10 * self.kana < self.han {
            (Metric::Cmrc, "is in Chinese".to_owned())
        } else if 2 * self.hangul > self.letters {
            (Metric::Korquad, "is in Korean".to_owned())
        } else if says_none && 0 < self.without && self.without < self.questions {
            let counts = format!("{} of its {} questions", self.without, self.questions);
            (Metric::Squad2, format!("has no answer to {counts}"))
        } else {
            (Metric::Squad, "is in neither Chinese nor Korean".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metric_follows_the_answers() {
        fn check(references: &[&[&str]], says_none: bool, expected: Metric) {
            let mut seen = Seen::default();
            for references in references {
                seen.add(&Question {
                    id: "1".to_owned(),
                    references: references.iter().map(|&text| text.to_owned()).collect(),
                    is_unanswerable: false,
                });
            }
            assert_eq!(seen.fitting_metric(says_none).0, expected, "{references:?}");
        }
        check(&[&["the cat"], &[]], true, Metric::Squad2);
        check(&[&["李白"], &[]], true, Metric::Cmrc);
        check(&[&["李白"], &[]], false, Metric::Cmrc);
        check(&[&[], &[]], true, Metric::Squad);
        check(&[&["李白", "1926年"], &["NBA总决赛"]], true, Metric::Cmrc);
        check(&[&["서울", "1926년"], &["漢江"]], true, Metric::Korquad);
        check(&[&["東京の江戸"]], true, Metric::Squad);
        check(&[&["the cat 李"]], true, Metric::Squad);
        check(&[&["1926"]], true, Metric::Squad);
    }
}
