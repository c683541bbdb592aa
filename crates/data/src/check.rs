//! Decides which records can be trusted, and what is wrong with the others.

use std::collections::HashSet;

use serde::Serialize;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::OnBadRecord;
use spanwise_artifact::{Answer, Characters, Paragraph, Question, Split, UserError};

use crate::layout::{Claim, Document, Record};

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It does not have its layout's fields.
    #[error("{0}")]
    Malformed(String),
    /// Another record of the file has its id; for test, of any file.
    #[error("the id is used twice")]
    DuplicateId,
    /// Its question is empty.
    #[error("the question is empty")]
    EmptyQuestion,
    /// The file has no such paragraph.
    #[error("there is no paragraph {paragraph}: the file has {paragraphs}, counted from 0")]
    NoParagraph {
        /// The paragraph it names.
        paragraph: usize,
        /// Number of paragraphs in the file.
        paragraphs: usize,
    },
    /// Its paragraph is empty.
    #[error("paragraph {0} is empty")]
    EmptyParagraph(usize),
    /// It is to train on, but is not labelled.
    #[error("it has no answer to train on")]
    NoAnswer,
    /// Its answer is empty.
    #[error("the answer is empty")]
    EmptyAnswer,
    /// Start and end of its answer do not fit the answer's length.
    #[error("the answer {text:?} has {length} characters, but its start and end span {span}")]
    WrongLength {
        /// The answer.
        text: String,
        /// The answer's length in characters.
        length: usize,
        /// Number of characters from start to end.
        span: usize,
    },
    /// The paragraph has another text where the answer should be.
    #[error("the paragraph has {found:?} at character {start}, not the answer {text:?}")]
    OtherText {
        /// The answer.
        text: String,
        /// Where it should be.
        start: usize,
        /// What is there.
        found: String,
    },
    /// The answer ends behind the paragraph.
    #[error(
        "the answer {text:?} at character {start} runs past the end of the paragraph, which has \
         {length} characters"
    )]
    PastEnd {
        /// The answer.
        text: String,
        /// Where it starts.
        start: usize,
        /// Length of the paragraph in characters.
        length: usize,
    },
}

/// Why the files of a split are refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A record is wrong, and wrong ones are not to be skipped.
    #[error("{file}: question {id}: {fault}")]
    Record {
        /// The file.
        file: String,
        /// The record's id.
        id: String,
        /// What is wrong with it.
        fault: Fault,
    },
    /// No record is left.
    #[error("the {} files have no usable question", .0.name())]
    Empty(Split),
}

impl From<Refused> for UserError {
    fn from(refused: Refused) -> Self {
        let error = UserError::new(refused.to_string());
        match refused {
            Refused::Record { .. } => error.hint(
                "correct the file, or leave such records out with data.on_bad_record = \"skip\"",
            ),
            Refused::Empty(_) => error,
        }
    }
}

/// A record that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The split it was meant for.
    pub split: Split,
    /// The file it is in.
    pub file: String,
    /// Its id.
    pub id: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Collects the files of one split.
pub struct Checker {
    split: Split,
    on_bad_record: OnBadRecord,
    accepted: Questions,
    rejected: Vec<Rejected>,
    ids: HashSet<String>,
}

impl Checker {
    /// Starts with no file.
    pub fn new(split: Split, on_bad_record: OnBadRecord) -> Self {
        Self {
            split,
            on_bad_record,
            accepted: Questions::default(),
            rejected: Vec::new(),
            ids: HashSet::new(),
        }
    }

    /// Adds a file's records.
    ///
    /// # Errors
    /// Fails at the first wrong one, unless wrong ones are to be skipped.
    pub fn add(&mut self, file: &str, document: Document) -> Result<(), Refused> {
        let first_paragraph = self.accepted.paragraphs.len();
        if self.split != Split::Test {
            // Files of the course layout all count from 0; only a submission needs ids unique
            // across files.
            self.ids.clear();
        }
        for record in document.records {
            let checked = record
                .map_err(|malformed| (malformed.id, Fault::Malformed(malformed.reason)))
                .and_then(|record| {
                    let id = record.id.clone();
                    self.check(record, &document.paragraphs, first_paragraph)
                        .map_err(|fault| (id, fault))
                });
            match (checked, self.on_bad_record) {
                (Ok(question), _) => self.accepted.questions.push(question),
                (Err((id, fault)), OnBadRecord::Error) => {
                    let file = file.to_owned();
                    return Err(Refused::Record { file, id, fault });
                }
                (Err((id, fault)), OnBadRecord::Skip) => {
                    self.rejected.push(Rejected {
                        split: self.split,
                        file: file.to_owned(),
                        id,
                        reason: fault.to_string(),
                    });
                }
            }
        }
        self.accepted.paragraphs.extend(document.paragraphs);
        Ok(())
    }

    /// What was accepted and what was left out.
    ///
    /// # Errors
    /// Fails if nothing was accepted.
    pub fn finish(self) -> Result<(Questions, Vec<Rejected>), Refused> {
        if self.accepted.questions.is_empty() {
            return Err(Refused::Empty(self.split));
        }
        Ok((self.accepted, self.rejected))
    }

    fn check(
        &mut self,
        record: Record,
        paragraphs: &[Paragraph],
        first_paragraph: usize,
    ) -> Result<Question, Fault> {
        if !self.ids.insert(record.id.clone()) {
            return Err(Fault::DuplicateId);
        }
        if record.question.trim().is_empty() {
            return Err(Fault::EmptyQuestion);
        }
        let Some(Paragraph { text, .. }) = paragraphs.get(record.paragraph) else {
            return Err(Fault::NoParagraph {
                paragraph: record.paragraph,
                paragraphs: paragraphs.len(),
            });
        };
        if text.trim().is_empty() {
            return Err(Fault::EmptyParagraph(record.paragraph));
        }
        if record.answers.is_empty() && self.split == Split::Train {
            return Err(Fault::NoAnswer);
        }
        let characters = Characters::new(text);
        let answers = record
            .answers
            .into_iter()
            .map(|claim| check_answer(claim, &characters))
            .collect::<Result<_, _>>()?;
        Ok(Question {
            id: record.id,
            paragraph: first_paragraph + record.paragraph,
            text: record.question,
            answers,
        })
    }
}

fn check_answer(claim: Claim, paragraph: &Characters) -> Result<Answer, Fault> {
    let length = claim.text.chars().count();
    let Claim { text, start, end } = claim;
    if length == 0 {
        return Err(Fault::EmptyAnswer);
    }
    if let Some(end) = end
        && end != start.saturating_add(length)
    {
        let span = end.saturating_sub(start);
        return Err(Fault::WrongLength { text, length, span });
    }
    let found = start
        .checked_add(length)
        .and_then(|end| paragraph.get(start..end));
    match found {
        Some(found) if found == text => Ok(Answer { text, start }),
        Some(found) => Err(Fault::OtherText {
            text,
            start,
            found: found.to_owned(),
        }),
        None => Err(Fault::PastEnd {
            text,
            start,
            length: paragraph.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Malformed;

    #[expect(clippy::unnecessary_wraps, reason = "as a layout returns its records")]
    fn record(
        id: &str,
        paragraph: usize,
        answer: Option<(&str, usize, Option<usize>)>,
    ) -> Result<Record, Malformed> {
        let answers = answer.into_iter().map(|(text, start, end)| Claim {
            text: text.to_owned(),
            start,
            end,
        });
        Ok(Record {
            id: id.to_owned(),
            paragraph,
            question: "問?".to_owned(),
            answers: answers.collect(),
        })
    }

    fn document(records: Vec<Result<Record, Malformed>>) -> Document {
        Document {
            paragraphs: ["𠮷野家在臺北。", " "]
                .map(|text| Paragraph {
                    text: text.to_owned(),
                    article: None,
                })
                .into(),
            records,
        }
    }

    fn reason(split: Split, record: Result<Record, Malformed>) -> String {
        let mut checker = Checker::new(split, OnBadRecord::Error);
        match checker.add("f.json", document(vec![record])) {
            Ok(()) => "accepted".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reports_what_is_wrong() {
        let check = |record, expected: &str| assert_eq!(reason(Split::Train, record), expected);
        check(record("1", 0, Some(("臺北", 4, Some(6)))), "accepted");
        check(record("1", 0, Some(("臺北", 4, None))), "accepted");
        check(
            record("1", 0, Some(("臺北", 4, Some(7)))),
            "f.json: question 1: the answer \"臺北\" has 2 characters, but its start and end span 3",
        );
        check(
            record("1", 0, Some(("台北", 4, Some(6)))),
            "f.json: question 1: the paragraph has \"臺北\" at character 4, not the answer \"台北\"",
        );
        check(
            record("1", 0, Some(("臺北", 6, Some(8)))),
            "f.json: question 1: the answer \"臺北\" at character 6 runs past the end of the \
            paragraph, which has 7 characters",
        );
        check(
            record("1", 0, Some(("", 4, None))),
            "f.json: question 1: the answer is empty",
        );
        check(
            record("1", 0, Some(("臺", usize::MAX, None))),
            "f.json: question 1: the answer \"臺\" at character \
            18446744073709551615 runs past the end of the paragraph, which has 7 characters",
        );
        check(
            record("1", 2, None),
            "f.json: question 1: there is no paragraph 2: the file has 2, counted from 0",
        );
        check(
            record("1", 1, None),
            "f.json: question 1: paragraph 1 is empty",
        );
        check(
            record("1", 0, None),
            "f.json: question 1: it has no answer to train on",
        );
        assert_eq!(reason(Split::Test, record("1", 0, None)), "accepted");
    }

    #[test]
    fn skipped_records_are_listed() {
        let mut checker = Checker::new(Split::Dev, OnBadRecord::Skip);
        let malformed = Err(Malformed {
            id: "9".to_owned(),
            reason: "missing field `id`".to_owned(),
        });
        checker
            .add(
                "a",
                document(vec![record("1", 0, None), record("1", 0, None), malformed]),
            )
            .unwrap();
        checker
            .add("b", document(vec![record("1", 0, Some(("家", 2, None)))]))
            .unwrap();
        let (accepted, rejected) = checker.finish().unwrap();
        assert_eq!(accepted.questions.len(), 2);
        assert_eq!(accepted.questions[1].paragraph, 2);
        assert_eq!(accepted.paragraph(&accepted.questions[1]), "𠮷野家在臺北。");
        let reasons: Vec<_> = rejected
            .iter()
            .map(|r| (&*r.file, &*r.id, &*r.reason))
            .collect();
        assert_eq!(
            reasons,
            [
                ("a", "1", "the id is used twice"),
                ("a", "9", "missing field `id`")
            ]
        );
    }

    #[test]
    fn a_submission_needs_ids_unique_across_files() {
        let add_twice = |split| {
            let mut checker = Checker::new(split, OnBadRecord::Error);
            checker
                .add("a", document(vec![record("1", 0, Some(("家", 2, None)))]))
                .unwrap();
            checker.add("b", document(vec![record("1", 0, Some(("家", 2, None)))]))
        };
        assert!(add_twice(Split::Train).is_ok());
        assert_eq!(
            add_twice(Split::Test).unwrap_err().to_string(),
            "b: question 1: the id is used twice"
        );
    }

    #[test]
    fn a_split_without_questions_is_refused() {
        let checker = Checker::new(Split::Dev, OnBadRecord::Skip);
        assert_eq!(
            checker.finish().unwrap_err().to_string(),
            "the dev files have no usable question"
        );
    }
}
