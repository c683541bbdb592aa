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

    /// Keeps `count` questions, spread evenly, and the paragraphs they are asked about.
    pub fn keep_evenly(&mut self, count: usize) {
        let all = self.questions.len();
        let mut index = 0;
        self.questions.retain(|_| {
            // Question `index` is kept where the count to keep steps up.
            let keep = index * count / all.max(1) != (index + 1) * count / all.max(1);
            index += 1;
            keep || count >= all
        });
        let mut places = vec![None; self.paragraphs.len()];
        let mut kept = Vec::new();
        for question in &mut self.questions {
            let place = places[question.paragraph].get_or_insert_with(|| {
                kept.push(self.paragraphs[question.paragraph].clone());
                kept.len() - 1
            });
            question.paragraph = *place;
        }
        self.paragraphs = kept;
    }

    /// The text a question is asked about.
    pub fn paragraph(&self, question: &Question) -> &str {
        &self.paragraphs[question.paragraph].text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_kept_evenly_with_their_paragraphs() {
        let questions = || Questions {
            paragraphs: (0..4)
                .map(|index| Paragraph {
                    text: format!("paragraph {index}"),
                })
                .collect(),
            questions: (0..8)
                .map(|index| Question {
                    id: index.to_string(),
                    paragraph: index / 2,
                    text: String::new(),
                    answers: Vec::new(),
                })
                .collect(),
        };
        for (count, ids) in [
            (1, vec!["7"]),
            (2, vec!["3", "7"]),
            (3, vec!["2", "5", "7"]),
        ] {
            let mut kept = questions();
            kept.keep_evenly(count);
            let found: Vec<&str> = kept.questions.iter().map(|q| &*q.id).collect();
            assert_eq!(found, ids);
            for question in &kept.questions {
                let paragraph = question.id.parse::<usize>().unwrap() / 2;
                assert_eq!(kept.paragraph(question), format!("paragraph {paragraph}"));
            }
            assert_eq!(kept.paragraphs.len(), count);
        }
        let mut all = questions();
        all.keep_evenly(100);
        assert_eq!(all, questions());
    }
}
