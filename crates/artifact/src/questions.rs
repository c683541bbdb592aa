//! What the data stage writes: checked questions and paragraphs, per split.
//!
//! `<split>.paragraphs.jsonl` and `<split>.questions.jsonl`, in input order. All offsets count
//! characters and every stored answer equals its slice of the paragraph.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use schemars::JsonSchema;
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

/// A question about one paragraph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The input's id; a number is kept as its decimal digits.
    pub id: String,
    /// Index into the split's paragraphs.
    pub paragraph: usize,
    /// The question's text.
    pub text: String,
    /// Reference answers, the training target first; empty for an unlabelled question.
    pub answers: Vec<Answer>,
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
    /// Labelled questions. The others of dev cannot be measured.
    pub answered: usize,
    /// Records that were left out since something is wrong with them. Where a question of test is
    /// left out, the submission has no row for it.
    pub rejected: usize,
    /// Questions of test that are answered, but not measured by all their labels, since something
    /// is wrong with these.
    pub labels_left_out: usize,
    /// Questions that an earlier split has too, about the same paragraph, with train before dev
    /// before test: what is measured on them says little.
    pub in_earlier_splits: usize,
}

impl QuestionCounts {
    /// Reads the counts of every split of a data artifact.
    ///
    /// # Errors
    /// Fails if they cannot be read.
    pub fn read(directory: &Path) -> Result<BTreeMap<Split, Self>> {
        jsonl::read_document(&directory.join(COUNTS_FILE))
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
            answers: Vec::new(),
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
