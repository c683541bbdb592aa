//! Decides which records can be trusted, and says of the others what is wrong.

use std::collections::HashSet;

use serde::Serialize;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::OnBadRecord;
use spanwise_artifact::{Answer, Characters, Paragraph, Question, Split, UserError};

use crate::layout::{Claim, Document, Record};

/// A record that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rejected {
    /// The split it was meant for.
    pub split: Split,
    /// The file it stands in.
    pub file: String,
    /// Its id.
    pub id: String,
    /// What was found.
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

    /// Adds a file's records. Fails at the first wrong one, unless wrong ones are to be skipped.
    pub fn add(&mut self, file: &str, document: Document) -> Result<(), UserError> {
        let first_paragraph = self.accepted.paragraphs.len();
        if self.split != Split::Test {
            // Files of the course layout all count from 0; only a submission needs ids unique across files.
            self.ids.clear();
        }
        for record in document.records {
            let checked = record
                .map_err(|malformed| (malformed.id, malformed.reason))
                .and_then(|record| {
                    let id = record.id.clone();
                    self.check(record, &document.paragraphs, first_paragraph)
                        .map_err(|reason| (id, reason))
                });
            match (checked, self.on_bad_record) {
                (Ok(question), _) => self.accepted.questions.push(question),
                (Err((id, reason)), OnBadRecord::Error) => {
                    return Err(UserError::new(format!("{file}: question {id}: {reason}"))
                        .hint("correct the file, or leave such records out with on_bad_record = \"skip\""));
                }
                (Err((id, reason)), OnBadRecord::Skip) => {
                    self.rejected.push(Rejected {
                        split: self.split,
                        file: file.to_owned(),
                        id,
                        reason,
                    });
                }
            }
        }
        self.accepted.paragraphs.extend(document.paragraphs);
        Ok(())
    }

    /// What was accepted and what was left out. Fails where nothing was accepted.
    pub fn finish(self) -> Result<(Questions, Vec<Rejected>), UserError> {
        if self.accepted.questions.is_empty() {
            return Err(UserError::new(format!(
                "the {} files have no usable question",
                self.split.name()
            )));
        }
        Ok((self.accepted, self.rejected))
    }

    fn check(
        &mut self,
        record: Record,
        paragraphs: &[Paragraph],
        first_paragraph: usize,
    ) -> Result<Question, String> {
        if !self.ids.insert(record.id.clone()) {
            return Err("the id is used twice".to_owned());
        }
        if record.question.trim().is_empty() {
            return Err("the question is empty".to_owned());
        }
        let Some(Paragraph { text, .. }) = paragraphs.get(record.paragraph) else {
            return Err(format!(
                "paragraph {} is not among the file's {}",
                record.paragraph,
                paragraphs.len()
            ));
        };
        if text.trim().is_empty() {
            return Err(format!("paragraph {} is empty", record.paragraph));
        }
        if record.answers.is_empty() && self.split == Split::Train {
            return Err("it has no answer to learn from".to_owned());
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

fn check_answer(claim: Claim, paragraph: &Characters) -> Result<Answer, String> {
    let length = claim.text.chars().count();
    let Claim { text, start, last } = claim;
    if length == 0 {
        return Err("the answer is empty".to_owned());
    }
    if let Some(last) = last
        && last + 1 != start.saturating_add(length)
    {
        return Err(format!(
            "answer_start {start} and answer_end {last} (inclusive) do not span the {length} characters of {text:?}"
        ));
    }
    match start
        .checked_add(length)
        .and_then(|end| paragraph.get(start..end))
    {
        Some(found) if found == text => Ok(Answer { text, start }),
        Some(found) => Err(format!(
            "the paragraph has {found:?} at character {start}, not the answer {text:?}"
        )),
        None => Err(format!(
            "the answer {text:?} at character {start} leaves the paragraph of {} characters",
            paragraph.len()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Malformed;

    fn record(
        id: &str,
        paragraph: usize,
        answer: Option<(&str, usize, Option<usize>)>,
    ) -> Result<Record, Malformed> {
        let answers = answer.into_iter().map(|(text, start, last)| Claim {
            text: text.to_owned(),
            start,
            last,
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
            Err(error) => error.message,
        }
    }

    #[test]
    fn what_is_found_is_said() {
        let check = |record, expected: &str| assert_eq!(reason(Split::Train, record), expected);
        check(record("1", 0, Some(("臺北", 4, Some(5)))), "accepted");
        check(record("1", 0, Some(("臺北", 4, None))), "accepted");
        check(
            record("1", 0, Some(("臺北", 4, Some(6)))),
            "f.json: question 1: answer_start 4 and answer_end 6 (inclusive) do not span the 2 characters of \"臺北\"",
        );
        check(
            record("1", 0, Some(("台北", 4, Some(5)))),
            "f.json: question 1: the paragraph has \"臺北\" at character 4, not the answer \"台北\"",
        );
        check(
            record("1", 0, Some(("臺北", 6, Some(7)))),
            "f.json: question 1: the answer \"臺北\" at character 6 leaves the paragraph of 7 characters",
        );
        check(
            record("1", 0, Some(("", 4, None))),
            "f.json: question 1: the answer is empty",
        );
        check(
            record("1", 0, Some(("臺", usize::MAX, None))),
            "f.json: question 1: the answer \"臺\" at character \
            18446744073709551615 leaves the paragraph of 7 characters",
        );
        check(
            record("1", 2, None),
            "f.json: question 1: paragraph 2 is not among the file's 2",
        );
        check(
            record("1", 1, None),
            "f.json: question 1: paragraph 1 is empty",
        );
        check(
            record("1", 0, None),
            "f.json: question 1: it has no answer to learn from",
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
            add_twice(Split::Test).unwrap_err().message,
            "b: question 1: the id is used twice"
        );
    }

    #[test]
    fn a_split_without_questions_is_refused() {
        let checker = Checker::new(Split::Dev, OnBadRecord::Skip);
        assert_eq!(
            checker.finish().unwrap_err().message,
            "the dev files have no usable question"
        );
    }
}
