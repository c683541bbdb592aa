//! What the data stage writes: checked questions and paragraphs, per split.
//!
//! `<split>.paragraphs.jsonl` and `<split>.questions.jsonl`, in input order. All offsets count
//! characters and every stored answer equals its slice of the paragraph.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use schemars::JsonSchema;
use serde::ser::{SerializeStruct, Serializer};
use serde::{Deserialize, Serialize};

use crate::error::damaged;
use crate::jsonl;
use crate::lines::Lines;
use crate::named::named;

named! {
    /// The part of the data that a question belongs to.
    #[derive(
        Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
    )]
    pub enum Split {
        /// Trained on.
        Train = "train",
        /// Measured on, and what settings are fitted on.
        Dev = "dev",
        /// Answered for the submission.
        Test = "test",
    }
}

impl Split {
    /// File of this split's questions.
    pub fn questions_file(self) -> String {
        format!("{}.questions.jsonl", self.name())
    }

    /// File of this split's paragraphs.
    pub fn paragraphs_file(self) -> String {
        format!("{}.paragraphs.jsonl", self.name())
    }
}

/// The file of the paragraphs that the questions in file `name` are about, where that is a file as
/// the data stage writes it: `<split>.paragraphs.jsonl` for `<split>.questions.jsonl`.
pub fn paragraphs_beside(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".questions.jsonl")?;
    Some(format!("{stem}.paragraphs.jsonl"))
}

/// File of the fold that each question of the dev split belongs to, in a data artifact for
/// cross-validation: a list of numbers.
pub const FOLDS_FILE: &str = "folds.json";

/// A text that questions are about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paragraph {
    /// The text, as in the input.
    pub text: String,
    /// The title of the article it is part of, where the input has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article: Option<String>,
}

/// A reference answer: a substring of the paragraph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The substring.
    pub text: String,
    /// Its first character in the paragraph.
    pub start: usize,
}

impl Answer {
    /// The character range in the paragraph.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.start + self.text.chars().count()
    }
}

/// What is known about a question's answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Reference {
    /// Nothing: the question is unlabelled.
    #[default]
    Unknown,
    /// The paragraph does not answer the question: SQuAD 2.0's `is_impossible`.
    Unanswerable,
    /// The reference answers, at least one; the training target first.
    Spans(Vec<Answer>),
}

impl From<Vec<Answer>> for Reference {
    /// Takes no answers for an unlabelled question.
    fn from(answers: Vec<Answer>) -> Self {
        if answers.is_empty() {
            Self::Unknown
        } else {
            Self::Spans(answers)
        }
    }
}

/// A question about one paragraph.
///
/// In a file, its reference is `answers`, a list that is empty unless there are spans, and
/// `is_impossible`, which is `true` for an unanswerable question and left out for any other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "QuestionFields")]
pub struct Question {
    /// The input's id; a number is kept as its decimal digits.
    pub id: String,
    /// Index into the split's paragraphs.
    pub paragraph: usize,
    /// The question's text.
    pub text: String,
    /// What is known about its answer.
    pub reference: Reference,
}

impl Question {
    /// The reference answers, the training target first; none for a question that is unlabelled or
    /// unanswerable.
    pub fn answers(&self) -> &[Answer] {
        match &self.reference {
            Reference::Spans(answers) => answers,
            Reference::Unknown | Reference::Unanswerable => &[],
        }
    }
}

impl Serialize for Question {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let unanswerable = self.reference == Reference::Unanswerable;
        let fields = 4 + usize::from(unanswerable);
        let mut record = serializer.serialize_struct("Question", fields)?;
        record.serialize_field("id", &self.id)?;
        record.serialize_field("paragraph", &self.paragraph)?;
        record.serialize_field("text", &self.text)?;
        record.serialize_field("answers", self.answers())?;
        if unanswerable {
            record.serialize_field("is_impossible", &true)?;
        }
        record.end()
    }
}

/// The fields of a question in a file.
#[derive(Deserialize)]
struct QuestionFields {
    id: String,
    paragraph: usize,
    text: String,
    answers: Vec<Answer>,
    #[serde(default)]
    is_impossible: bool,
}

impl TryFrom<QuestionFields> for Question {
    type Error = &'static str;

    fn try_from(fields: QuestionFields) -> Result<Self, Self::Error> {
        let reference = match (fields.is_impossible, fields.answers) {
            (true, answers) if answers.is_empty() => Reference::Unanswerable,
            (true, _) => return Err("is_impossible is true, but there are answers"),
            (false, answers) => answers.into(),
        };
        Ok(Self {
            id: fields.id,
            paragraph: fields.paragraph,
            text: fields.text,
            reference,
        })
    }
}

/// One split, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    /// The texts, in input order.
    pub paragraphs: Vec<Paragraph>,
    /// The questions, in input order.
    pub questions: Vec<Question>,
}

impl Questions {
    /// Reads a split from a data artifact; `None` if the pipeline has no files for it.
    pub fn read(directory: &Path, split: Split) -> Result<Option<Self>> {
        let path: PathBuf = directory.join(split.questions_file());
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(Self {
            questions: jsonl::read(&path)?.collect::<Result<_>>()?,
            paragraphs: jsonl::read(&directory.join(split.paragraphs_file()))?
                .collect::<Result<_>>()?,
        }))
    }

    /// Writes the split into a data artifact.
    pub fn write(&self, directory: &Path, split: Split) -> Result<()> {
        jsonl::write(&directory.join(split.questions_file()), &self.questions)?;
        jsonl::write(&directory.join(split.paragraphs_file()), &self.paragraphs)
    }

    /// The text that a question is about.
    pub fn paragraph(&self, question: &Question) -> &str {
        &self.paragraphs[question.paragraph].text
    }
}

/// Reads a split question by question, each with its paragraph. In memory are one question, one
/// paragraph, and eight bytes for every other paragraph.
pub struct QuestionReader {
    questions: Box<dyn Iterator<Item = Result<Question>> + Send>,
    paragraphs: ParagraphReader,
}

impl QuestionReader {
    /// Opens a split of a data artifact; `None` if the pipeline has no files for it.
    ///
    /// # Errors
    /// Fails if a file cannot be read.
    pub fn open(directory: &Path, split: Split) -> Result<Option<Self>> {
        let path = directory.join(split.questions_file());
        if !path.exists() {
            return Ok(None);
        }
        Ok(Some(Self {
            questions: Box::new(jsonl::read(&path)?),
            paragraphs: ParagraphReader::open(&directory.join(split.paragraphs_file()))?,
        }))
    }
}

impl Iterator for QuestionReader {
    type Item = Result<(Question, Arc<Paragraph>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let question = self.questions.next()?;
        Some(question.and_then(|question| {
            let paragraph = self.paragraphs.get(question.paragraph)?;
            Ok((question, paragraph))
        }))
    }
}

/// Reads paragraphs of a data artifact in any order, holding the last one.
pub struct ParagraphReader {
    path: PathBuf,
    paragraphs: Lines<Paragraph>,
    last: Option<(usize, Arc<Paragraph>)>,
}

impl ParagraphReader {
    /// Opens a file of paragraphs.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            paragraphs: Lines::open(path)?,
            last: None,
        })
    }

    /// Number of paragraphs.
    pub fn len(&self) -> usize {
        self.paragraphs.len()
    }

    /// Whether there is no paragraph.
    pub fn is_empty(&self) -> bool {
        self.paragraphs.is_empty()
    }

    /// Reads a paragraph.
    ///
    /// # Errors
    /// Fails if there is none of this index, or its line is no paragraph.
    pub fn get(&mut self, index: usize) -> Result<Arc<Paragraph>> {
        if let Some((last, paragraph)) = &self.last
            && *last == index
        {
            return Ok(Arc::clone(paragraph));
        }
        let paragraphs = self.len();
        let missing = || format!("it has no paragraph {index}, but {paragraphs}");
        ensure!(index < paragraphs, damaged(&self.path, &missing()));
        let paragraph = Arc::new(self.paragraphs.get(index)?);
        self.last = Some((index, Arc::clone(&paragraph)));
        Ok(paragraph)
    }
}

/// File of the [`QuestionCounts`], by split.
pub const COUNTS_FILE: &str = "counts.json";

/// What became of one split's records, in `counts.json`. What is lost is counted here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuestionCounts {
    /// Number of questions.
    pub questions: usize,
    /// Number of paragraphs.
    pub paragraphs: usize,
    /// Questions with reference answers. The others of dev cannot be measured.
    pub answered: usize,
    /// Questions that their paragraph does not answer.
    #[serde(default)]
    pub unanswerable: usize,
    /// Questions of whose answer nothing is known.
    #[serde(default)]
    pub unlabelled: usize,
    /// Records that were left out since something is wrong with them. Where a question of test is
    /// left out, the submission has no row for it.
    pub rejected: usize,
    /// Questions of dev and test that are answered, but not measured by all their labels, since
    /// something is wrong with these.
    pub labels_left_out: usize,
    /// Questions that an earlier split has too, about the same paragraph, with train before dev
    /// before test: what is measured on them says little.
    pub in_earlier_splits: usize,
}

impl QuestionCounts {
    /// Counts a question by what is known about its answer.
    pub fn count(&mut self, reference: &Reference) {
        self.questions += 1;
        *match reference {
            Reference::Unknown => &mut self.unlabelled,
            Reference::Unanswerable => &mut self.unanswerable,
            Reference::Spans(_) => &mut self.answered,
        } += 1;
    }

    /// Whether questions of train or dev are unanswerable: then others may be left unanswered, too.
    pub fn know_no_answer(counts: &BTreeMap<Split, Self>) -> bool {
        let measured = [Split::Train, Split::Dev].iter();
        let mut measured = measured.filter_map(|split| counts.get(split));
        measured.any(|counts| counts.unanswerable > 0)
    }

    /// Reads the counts of every split of a data artifact.
    ///
    /// # Errors
    /// Fails if they cannot be read.
    pub fn read(directory: &Path) -> Result<BTreeMap<Split, Self>> {
        let path = directory.join(COUNTS_FILE);
        let counts = jsonl::read_document(&path);
        Ok(counts.map_err(|error| damaged(&path, &error.root_cause().to_string()))?)
    }

    /// Writes the counts of every split into a data artifact.
    ///
    /// # Errors
    /// Fails if they cannot be written.
    pub fn write(directory: &Path, counts: &BTreeMap<Split, Self>) -> Result<()> {
        jsonl::write_document(&directory.join(COUNTS_FILE), counts)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn paragraph(text: &str) -> Paragraph {
        Paragraph {
            text: text.to_owned(),
            article: None,
        }
    }

    fn question(paragraph: usize) -> Question {
        Question {
            id: paragraph.to_string(),
            paragraph,
            text: "誰?".to_owned(),
            reference: Reference::Unknown,
        }
    }

    #[test]
    fn questions_are_read_one_by_one_as_all_at_once() -> Result<()> {
        let check = |paragraphs: &[&str], questions: &[usize]| -> Result<()> {
            let directory = tempfile::tempdir()?;
            let split = Questions {
                paragraphs: paragraphs.iter().map(|text| paragraph(text)).collect(),
                questions: questions.iter().map(|&index| question(index)).collect(),
            };
            split.write(directory.path(), Split::Dev)?;
            assert!(QuestionReader::open(directory.path(), Split::Test)?.is_none());
            let reader = QuestionReader::open(directory.path(), Split::Dev)?;
            let found: Vec<_> = reader.context("dev")?.collect::<Result<_>>()?;
            assert_eq!(Questions::read(directory.path(), Split::Dev)?, Some(split));
            let texts: Vec<_> = found.iter().map(|(_, found)| &*found.text).collect();
            let expected: Vec<_> = questions.iter().map(|&index| paragraphs[index]).collect();
            assert_eq!(texts, expected);
            let found: Vec<_> = found.into_iter().map(|(question, _)| question).collect();
            let expected: Vec<_> = questions.iter().map(|&index| question(index)).collect();
            assert_eq!(found, expected);
            Ok(())
        };
        check(&[], &[])?;
        check(&["one\ntwo", "三\u{2028}\u{0}"], &[1, 1, 0, 1])?;
        let long = "長".repeat(1 << 16);
        check(&["a", &long, "b"], &[2, 1, 0])
    }

    #[test]
    fn a_reference_is_unknown_unanswerable_or_spans() {
        let check = |fields: &str, reference: Reference| {
            let line = format!(r#"{{"id":"1","paragraph":0,"text":"?",{fields}}}"#);
            let read: Question = serde_json::from_str(&line).unwrap();
            assert_eq!(read.reference, reference);
            assert_eq!(serde_json::to_string(&read).unwrap(), line);
        };
        check(r#""answers":[]"#, Reference::Unknown);
        check(
            r#""answers":[],"is_impossible":true"#,
            Reference::Unanswerable,
        );
        let text = "誰".to_owned();
        let span = Answer { text, start: 3 };
        check(
            r#""answers":[{"text":"誰","start":3}]"#,
            Reference::Spans(vec![span]),
        );
        let both = r#"{"id":"1","paragraph":0,"text":"?","answers":[{"text":"誰","start":3}],"is_impossible":true}"#;
        let error = serde_json::from_str::<Question>(both).unwrap_err();
        assert!(error.to_string().starts_with("is_impossible is true"));
    }

    #[test]
    fn counts_of_before_unanswerable_questions_are_read() {
        let counts = r#"{"questions": 2, "paragraphs": 1, "answered": 1, "rejected": 0, "labels_left_out": 0,
            "in_earlier_splits": 0}"#;
        let counts: QuestionCounts = serde_json::from_str(counts).unwrap();
        assert_eq!((counts.questions, counts.unanswerable), (2, 0));
    }

    #[test]
    fn a_question_without_its_paragraph_is_an_error() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let split = Questions {
            paragraphs: vec![paragraph("one")],
            questions: vec![question(1)],
        };
        split.write(directory.path(), Split::Dev)?;
        let reader = QuestionReader::open(directory.path(), Split::Dev)?;
        let error = reader.context("dev")?.next().context("a question")?;
        let error = error.unwrap_err().to_string();
        assert!(
            error.ends_with("dev.paragraphs.jsonl is damaged: it has no paragraph 1, but 1"),
            "{error}"
        );
        Ok(())
    }
}
