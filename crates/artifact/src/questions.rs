//! What the data stage writes: checked questions and paragraphs, per split.
//!
//! `<split>.paragraphs.jsonl` and `<split>.questions.jsonl`, in input order. All offsets count
//! characters and every stored answer equals its slice of the paragraph.

use std::path::{Path, PathBuf};

use anyhow::Result;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::jsonl;
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

    /// Keeps the questions whose index `keep` returns `true` for, and the paragraphs they are
    /// about.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        let mut index = 0;
        self.questions.retain(|_| {
            index += 1;
            keep(index - 1)
        });
        let mut new_indices = vec![None; self.paragraphs.len()];
        let mut kept = Vec::new();
        for question in &mut self.questions {
            let new_index = new_indices[question.paragraph].get_or_insert_with(|| {
                kept.push(self.paragraphs[question.paragraph].clone());
                kept.len() - 1
            });
            question.paragraph = *new_index;
        }
        self.paragraphs = kept;
    }

    /// Adds the questions of another split after these.
    pub fn append(&mut self, other: Questions) {
        let first = self.paragraphs.len();
        self.paragraphs.extend(other.paragraphs);
        self.questions
            .extend(other.questions.into_iter().map(|question| Question {
                paragraph: first + question.paragraph,
                ..question
            }));
    }

    /// The text that a question is about.
    pub fn paragraph(&self, question: &Question) -> &str {
        &self.paragraphs[question.paragraph].text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_questions_keep_their_paragraphs() {
        fn check(keep: &[usize], ids: &[&str], paragraphs: &[&str]) {
            let question = |index: usize| Question {
                id: index.to_string(),
                paragraph: index / 2,
                text: String::new(),
                answers: Vec::new(),
            };
            let paragraph = |index: usize| Paragraph {
                text: index.to_string(),
                article: None,
            };
            let mut kept = Questions {
                paragraphs: (0..4).map(paragraph).collect(),
                questions: (0..8).map(question).collect(),
            };
            kept.retain(|index| keep.contains(&index));
            let found: Vec<&str> = kept.questions.iter().map(|q| &*q.id).collect();
            assert_eq!(found, ids);
            let of_questions: Vec<&str> =
                kept.questions.iter().map(|q| kept.paragraph(q)).collect();
            assert_eq!(of_questions, paragraphs);
            let mut distinct = paragraphs.to_vec();
            distinct.dedup();
            assert_eq!(kept.paragraphs.len(), distinct.len());
        }
        check(&[7], &["7"], &["3"]);
        check(&[2, 3, 6], &["2", "3", "6"], &["1", "1", "3"]);
        check(&[], &[], &[]);
    }

    #[test]
    fn appended_questions_keep_their_paragraphs() {
        let split = |name: &str| Questions {
            paragraphs: vec![Paragraph {
                text: name.to_owned(),
                article: None,
            }],
            questions: vec![Question {
                id: name.to_owned(),
                paragraph: 0,
                text: String::new(),
                answers: Vec::new(),
            }],
        };
        let mut both = split("a");
        both.append(split("b"));
        for question in &both.questions {
            assert_eq!(both.paragraph(question), question.id);
        }
        assert_eq!(both.questions.len(), 2);
    }
}
