//! Decides which records can be trusted, and what is wrong with the others.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use spanwise_artifact::questions::ParagraphReader;
use spanwise_artifact::{Answer, Paragraph, Question, Reference, Split, fingerprint};

use crate::input::excerpt;
use crate::record::{Claim, Record, Start};

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
    #[error("its paragraph is empty")]
    EmptyParagraph,
    /// It is to train on, but is not labelled.
    #[error("it has no answer to train on")]
    NoAnswer,
    /// Its answer is empty.
    #[error("the answer is empty")]
    EmptyAnswer,
    /// The paragraph does not have its answer, of which no start is given.
    #[error("the answer {} is not in the paragraph", excerpt(.0))]
    NotFound(String),
    /// The paragraph has its answer more than once, and no start is given.
    #[error(
        "the answer {} is in the paragraph more than once, and answer_start is missing",
        excerpt(.0)
    )]
    FoundTwice(String),
    /// Start and end of its answer do not fit the answer's length.
    #[error(
        "the answer {} has {length} characters, but its start and end span {span}",
        excerpt(text)
    )]
    WrongLength {
        /// The answer.
        text: String,
        /// The answer's length in characters.
        length: usize,
        /// Number of characters from start to end.
        span: usize,
    },
    /// The paragraph has another text where the answer should be.
    #[error(
        "the paragraph has {} at character {start}, not the answer {}",
        excerpt(found),
        excerpt(text)
    )]
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
        "the answer {} at character {start} runs past the end of the paragraph, which has {length} \
         characters",
        excerpt(text)
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

/// The paragraphs of one file, among those of its split.
pub struct Passages<'a> {
    paragraphs: &'a mut ParagraphReader,
    /// Indices of the file's paragraphs.
    of_file: Range<usize>,
    last: Option<(usize, Passage)>,
}

impl<'a> Passages<'a> {
    /// The paragraphs of the split with the indices `of_file`.
    pub fn new(paragraphs: &'a mut ParagraphReader, of_file: Range<usize>) -> Self {
        Self {
            paragraphs,
            of_file,
            last: None,
        }
    }

    /// The file's paragraph of this number; `None` if it has none.
    fn get(&mut self, number: usize) -> Result<Option<&Passage>> {
        if number >= self.of_file.len() {
            return Ok(None);
        }
        let passage = match self.last.take() {
            Some((last, passage)) if last == number => passage,
            _ => Passage::new(self.paragraphs.get(self.of_file.start + number)?),
        };
        Ok(Some(&self.last.insert((number, passage)).1))
    }
}

/// A paragraph, addressed by characters. They are counted once, however many questions it has.
struct Passage {
    paragraph: Arc<Paragraph>,
    /// Byte offset of every character, and the text's length at the end.
    bytes: Vec<usize>,
}

impl Passage {
    fn new(paragraph: Arc<Paragraph>) -> Self {
        let text = &paragraph.text;
        let bytes = text.char_indices().map(|(byte, _)| byte);
        Self {
            bytes: bytes.chain([text.len()]).collect(),
            paragraph,
        }
    }

    /// Its length in characters.
    fn len(&self) -> usize {
        self.bytes.len() - 1
    }

    fn get(&self, range: Range<usize>) -> Option<&str> {
        let (start, end) = (self.bytes.get(range.start)?, self.bytes.get(range.end)?);
        self.paragraph.text.get(*start..*end)
    }

    /// The character at which a text begins first from a character on.
    fn find(&self, text: &str, from: usize) -> Option<usize> {
        let byte = *self.bytes.get(from)?;
        let byte = byte + self.paragraph.text.get(byte..)?.find(text)?;
        self.bytes.binary_search(&byte).ok()
    }
}

/// What can be trusted of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// The question, with the answers that are right.
    pub question: Question,
    /// The text that it is about.
    pub paragraph: Arc<Paragraph>,
    /// What is wrong with the first answer that is not.
    pub wrong_label: Option<Fault>,
}

/// Checks the records of one split, file after file.
pub struct Checker {
    split: Split,
    /// Short digests of the ids so far.
    ids: HashSet<[u8; 16]>,
}

impl Checker {
    /// Starts with no file.
    pub fn new(split: Split) -> Self {
        Self {
            split,
            ids: HashSet::new(),
        }
    }

    /// Goes on with the next file.
    pub fn next_file(&mut self) {
        if self.split != Split::Test {
            // Files of the course layout all count from 0; only a submission needs ids unique
            // across files.
            self.ids.clear();
        }
    }

    /// Checks a record of the file whose paragraphs are `passages`.
    ///
    /// # Errors
    /// The outer result is an error if a paragraph cannot be read, the inner one if the record
    /// cannot be used. A wrong answer leaves a question of dev or test without it and makes a record
    /// of train unusable.
    pub fn check(
        &mut self,
        record: Record,
        passages: &mut Passages<'_>,
    ) -> Result<Result<Checked, Fault>> {
        if !self.ids.insert(fingerprint::short(record.id.as_bytes())) {
            return Ok(Err(Fault::DuplicateId));
        }
        if record.question.trim().is_empty() {
            return Ok(Err(Fault::EmptyQuestion));
        }
        let first = passages.of_file.start;
        let paragraphs = passages.of_file.len();
        let Some(passage) = passages.get(record.paragraph)? else {
            return Ok(Err(Fault::NoParagraph {
                paragraph: record.paragraph,
                paragraphs,
            }));
        };
        if passage.paragraph.text.trim().is_empty() {
            return Ok(Err(Fault::EmptyParagraph));
        }
        // Questions of test are often given without their answers, those of train and dev are not.
        let is_unanswerable =
            record.is_impossible || record.has_empty_answers && self.split != Split::Test;
        if record.answers.is_empty() && !is_unanswerable && self.split == Split::Train {
            return Ok(Err(Fault::NoAnswer));
        }
        let mut answers = Vec::new();
        let mut wrong_label = None;
        for claim in record.answers {
            let answer = claim.map_err(Fault::Malformed);
            match answer.and_then(|claim| check_answer(claim, passage)) {
                Ok(answer) => answers.push(answer),
                Err(fault) if self.split != Split::Train => {
                    wrong_label.get_or_insert(fault);
                }
                Err(fault) => return Ok(Err(fault)),
            }
        }
        let reference = if is_unanswerable && wrong_label.is_none() {
            Reference::Unanswerable
        } else {
            answers.into()
        };
        Ok(Ok(Checked {
            question: Question {
                id: record.id,
                paragraph: first + record.paragraph,
                text: record.question,
                reference,
            },
            paragraph: Arc::clone(&passage.paragraph),
            wrong_label,
        }))
    }
}

fn check_answer(claim: Claim, passage: &Passage) -> Result<Answer, Fault> {
    let length = claim.text.chars().count();
    let Claim { text, start, end } = claim;
    if length == 0 {
        return Err(Fault::EmptyAnswer);
    }
    let start = match start {
        Start::At(start) => start,
        Start::First | Start::Only => {
            let Some(first) = passage.find(&text, 0) else {
                return Err(Fault::NotFound(text));
            };
            if start == Start::Only && passage.find(&text, first + 1).is_some() {
                return Err(Fault::FoundTwice(text));
            }
            return Ok(Answer { text, start: first });
        }
    };
    if let Some(end) = end
        && end != start.saturating_add(length)
    {
        let span = end.saturating_sub(start);
        return Err(Fault::WrongLength { text, length, span });
    }
    let found = start
        .checked_add(length)
        .and_then(|end| passage.get(start..end));
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
            length: passage.len(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// The paragraphs of a file, between those of others.
    fn paragraphs() -> (ParagraphReader, Range<usize>) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for text in ["another file's", "𠮷野家在臺北。", " ", "another file's"] {
            writeln!(file, "{}", serde_json::json!({ "text": text })).unwrap();
        }
        (ParagraphReader::open(file.path()).unwrap(), 1..3)
    }

    type Label<'a> = (&'a str, usize, Option<usize>);

    fn record(id: &str, paragraph: usize, answers: &[Label<'_>]) -> Record {
        let claim = |&(text, start, end): &Label<'_>| {
            Ok(Claim {
                text: text.to_owned(),
                start: Start::At(start),
                end,
            })
        };
        Record {
            id: id.to_owned(),
            paragraph,
            question: "問?".to_owned(),
            answers: answers.iter().map(claim).collect(),
            is_impossible: false,
            has_empty_answers: false,
        }
    }

    fn check(split: Split, record: Record) -> Result<Checked, Fault> {
        let (mut reader, of_file) = paragraphs();
        let mut passages = Passages::new(&mut reader, of_file);
        let checked = Checker::new(split).check(record, &mut passages);
        checked.unwrap()
    }

    #[test]
    fn reports_what_is_wrong() {
        let check = |paragraph, answers: &[Label<'_>], expected: &str| {
            let found = match check(Split::Train, record("1", paragraph, answers)) {
                Ok(_) => "accepted".to_owned(),
                Err(fault) => fault.to_string(),
            };
            assert_eq!(found, expected);
        };
        check(0, &[("臺北", 4, Some(6))], "accepted");
        check(0, &[("臺北", 4, None)], "accepted");
        check(
            0,
            &[("臺北", 4, Some(7))],
            "the answer \"臺北\" has 2 characters, but its start and end span 3",
        );
        check(
            0,
            &[("台北", 4, Some(6))],
            "the paragraph has \"臺北\" at character 4, not the answer \"台北\"",
        );
        check(
            0,
            &[("臺北", 6, Some(8))],
            "the answer \"臺北\" at character 6 runs past the end of the paragraph, which has 7 \
             characters",
        );
        check(0, &[("", 4, None)], "the answer is empty");
        check(
            0,
            &[("臺", usize::MAX, None)],
            "the answer \"臺\" at character 18446744073709551615 runs past the end of the \
             paragraph, which has 7 characters",
        );
        check(
            2,
            &[],
            "there is no paragraph 2: the file has 2, counted from 0",
        );
        check(
            usize::MAX,
            &[],
            "there is no paragraph 18446744073709551615: the file has 2, counted from 0",
        );
        check(1, &[], "its paragraph is empty");
        check(0, &[], "it has no answer to train on");
        let long = "長\u{1b}".repeat(40);
        check(
            0,
            &[(&long, 0, None)],
            &format!(
                "the answer {:?}… at character 0 runs past the end of the paragraph, which has 7 \
                 characters",
                "長\u{1b}".repeat(30)
            ),
        );
    }

    #[test]
    fn a_question_of_dev_or_test_is_apart_from_its_labels() {
        let (right, wrong) = (("臺北", 4, None), ("臺北", 5, None));
        let check = |answers: &[Label<'_>], kept: usize, has_wrong: bool| {
            for split in [Split::Dev, Split::Test] {
                let checked = check(split, record("1", 0, answers)).unwrap();
                let found = (
                    checked.question.answers().len(),
                    checked.wrong_label.is_some(),
                );
                assert_eq!(found, (kept, has_wrong));
                assert_eq!(checked.question.paragraph, 1);
                assert_eq!(checked.paragraph.text, "𠮷野家在臺北。");
            }
        };
        check(&[], 0, false);
        check(&[right], 1, false);
        check(&[wrong], 0, true);
        check(&[wrong, right, wrong], 1, true);
        assert!(super::tests::check(Split::Train, record("1", 0, &[right, wrong])).is_err());
        let mut malformed = record("1", 0, &[]);
        malformed.answers = vec![Err("answers is 3: must be a list".to_owned())];
        let checked = super::tests::check(Split::Test, malformed).unwrap();
        let fault = checked.wrong_label.unwrap().to_string();
        assert_eq!(fault, "answers is 3: must be a list");
    }

    #[test]
    fn an_unanswerable_question_is_none_without_a_label() {
        let reference = |split, answers: Vec<Result<Claim, String>>| {
            let impossible = Record {
                answers,
                is_impossible: true,
                has_empty_answers: false,
                ..record("1", 0, &[])
            };
            check(split, impossible).map(|checked| checked.question.reference)
        };
        for split in Split::ALL {
            let found = reference(split, Vec::new());
            assert_eq!(found, Ok(Reference::Unanswerable));
        }
        let contradiction = || vec![Err("is_impossible is true, but".to_owned())];
        let unlabelled = reference(Split::Dev, contradiction());
        assert_eq!(unlabelled, Ok(Reference::Unknown));
        assert!(reference(Split::Train, contradiction()).is_err());
    }

    #[test]
    fn an_answer_without_a_start_is_found() {
        let find = |text: &str, start: Start| {
            let claim = Claim {
                text: text.to_owned(),
                start,
                end: None,
            };
            let passage = Passage::new(Arc::new(Paragraph {
                text: "𠮷啊啊啊，臺北啊".to_owned(),
                article: None,
            }));
            let found = check_answer(claim, &passage);
            let found = found.map(|answer| answer.start);
            found.map_err(|fault| fault.to_string())
        };
        assert_eq!(find("臺北", Start::Only), Ok(5));
        assert_eq!(find("啊", Start::First), Ok(1));
        // Where they overlap they are two.
        let twice =
            "the answer \"啊啊\" is in the paragraph more than once, and answer_start is missing";
        assert_eq!(find("啊啊", Start::Only), Err(twice.to_owned()));
        let missing = "the answer \"台北\" is not in the paragraph";
        for start in [Start::Only, Start::First] {
            assert_eq!(find("台北", start), Err(missing.to_owned()));
        }
        assert_eq!(find("", Start::Only), Err("the answer is empty".to_owned()));
    }

    #[test]
    fn a_submission_needs_ids_unique_across_files() {
        let twice = |split, next_file: bool| {
            let (mut reader, of_file) = paragraphs();
            let mut passages = Passages::new(&mut reader, of_file);
            let mut checker = Checker::new(split);
            let mut check = |checker: &mut Checker| {
                let record = record("1", 0, &[("家", 2, None)]);
                checker.check(record, &mut passages).unwrap().map(drop)
            };
            check(&mut checker).unwrap();
            if next_file {
                checker.next_file();
            }
            check(&mut checker)
        };
        assert_eq!(twice(Split::Train, true), Ok(()));
        for (split, next_file) in [
            (Split::Train, false),
            (Split::Dev, false),
            (Split::Test, true),
        ] {
            assert_eq!(twice(split, next_file), Err(Fault::DuplicateId));
        }
    }
}
