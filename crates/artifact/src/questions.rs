//! What the data stage writes: checked questions and paragraphs, per split.
//!
//! `<split>.paragraphs.jsonl` and `<split>.questions.jsonl`, in input order. All offsets count
//! characters and every stored answer equals its slice of the paragraph.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::jsonl;

/// The part of the data a question belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Learned from.
    Train,
    /// Measured on.
    Dev,
    /// Answered for the submission.
    Test,
}

impl Split {
    /// All splits.
    pub const ALL: [Split; 3] = [Split::Train, Split::Dev, Split::Test];

    /// The name used in settings and file names.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Dev => "dev",
            Split::Test => "test",
        }
    }

    /// File of this split's questions.
    pub fn questions_file(self) -> String {
        format!("{}.questions.jsonl", self.name())
    }

    /// File of this split's paragraphs.
    pub fn paragraphs_file(self) -> String {
        format!("{}.paragraphs.jsonl", self.name())
    }
}

/// A text that questions are asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paragraph {
    /// The text, as in the input.
    pub text: String,
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
    /// Reference answers, the training target first; empty where none is known.
    pub answers: Vec<Answer>,
}

/// One split, in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Questions {
    /// In input order.
    pub paragraphs: Vec<Paragraph>,
    /// In input order.
    pub questions: Vec<Question>,
}

impl Questions {
    /// Reads a split from a data artifact; `None` where the pipeline gives it no files.
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

    /// The text a question is asked about.
    pub fn paragraph(&self, question: &Question) -> &str {
        &self.paragraphs[question.paragraph].text
    }
}
