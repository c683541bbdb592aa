//! A split's questions and paragraphs, read a few at a time: memory stays level however many there
//! are.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::error::damaged;
use crate::lines::Lines;
use crate::questions::{Answer, Paragraph, Question, Split};

/// A split's questions.
pub struct QuestionFile {
    path: PathBuf,
    questions: Lines<Question>,
    paragraphs: Lines<Paragraph>,
}

/// A question and the text that it is about.
#[derive(Debug, Clone)]
pub struct QuestionAndText {
    /// The question.
    pub question: Question,
    /// The paragraph's text.
    pub paragraph: Arc<str>,
}

impl QuestionFile {
    /// Opens a split of a data artifact; `None` where it has none.
    ///
    /// # Errors
    /// Fails if a file of the split cannot be read.
    pub fn open(directory: &Path, split: Split) -> Result<Option<Self>> {
        let path = directory.join(split.questions_file());
        if !path.exists() {
            return Ok(None);
        }
        let paragraphs = directory.join(split.paragraphs_file());
        ensure!(
            paragraphs.exists(),
            damaged(
                &path,
                &format!("there is no {} beside it", split.paragraphs_file())
            )
        );
        Ok(Some(Self {
            questions: Lines::open(&path)?,
            path,
            paragraphs: Lines::open(&paragraphs)?,
        }))
    }

    /// Number of questions.
    pub fn len(&self) -> usize {
        self.questions.len()
    }

    /// Whether there is no question.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The questions, as lines.
    pub fn questions(&self) -> &Lines<Question> {
        &self.questions
    }

    /// The text of the paragraph with this index.
    ///
    /// # Errors
    /// As [`Lines::get`].
    pub fn paragraph(&self, index: usize) -> Result<String> {
        Ok(self.paragraphs.get(index)?.text)
    }

    /// Reads consecutive questions with their texts, each text once.
    ///
    /// # Errors
    /// Fails if a line is no record, or a question's paragraph or answer is not there.
    pub fn read(&self, questions: Range<usize>) -> Result<Vec<QuestionAndText>> {
        let block = self.questions.read(questions.clone())?;
        let mut texts: BTreeMap<usize, Arc<str>> = BTreeMap::new();
        let mut read = Vec::with_capacity(questions.len());
        for index in 0..questions.len() {
            let question = block.get(index)?;
            let of_question = |what: &str| {
                let line = questions.start + index + 1;
                damaged(&self.path, &format!("line {line}: {what}"))
            };
            ensure!(
                question.paragraph < self.paragraphs.len(),
                of_question("there is no such paragraph")
            );
            let paragraph = match texts.get(&question.paragraph) {
                Some(text) => Arc::clone(text),
                None => {
                    let text: Arc<str> = self.paragraph(question.paragraph)?.into();
                    texts.insert(question.paragraph, Arc::clone(&text));
                    text
                }
            };
            let mut answers = question.answers().iter();
            ensure!(
                answers.all(|answer| is_slice(answer, &paragraph)),
                of_question("an answer is not part of its paragraph")
            );
            read.push(QuestionAndText {
                question,
                paragraph,
            });
        }
        Ok(read)
    }
}

/// Whether a reference answer is not empty and stands where it says.
fn is_slice(answer: &Answer, paragraph: &str) -> bool {
    let rest = match paragraph.char_indices().nth(answer.start) {
        Some((byte, _)) => &paragraph[byte..],
        None => "",
    };
    !answer.text.is_empty() && rest.starts_with(&answer.text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::UserError;
    use crate::questions::{Questions, Reference};

    fn split(paragraph: usize, start: usize) -> Questions {
        Questions {
            paragraphs: vec![Paragraph {
                text: "讀《史記》".to_owned(),
                article: None,
            }],
            questions: vec![Question {
                id: "1".to_owned(),
                paragraph,
                text: "讀?".to_owned(),
                reference: Reference::Spans(vec![Answer {
                    text: "史記".to_owned(),
                    start,
                }]),
            }],
        }
    }

    #[test]
    fn questions_come_with_their_texts_and_what_contradicts_is_refused() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let read = |questions: Questions| {
            questions.write(directory.path(), Split::Dev)?;
            let file = QuestionFile::open(directory.path(), Split::Dev)?.expect("just written");
            file.read(0..file.len())
        };
        let good = split(0, 2);
        let found = read(good.clone())?;
        assert_eq!(found[0].question, good.questions[0]);
        assert_eq!(&*found[0].paragraph, "讀《史記》");
        assert!(QuestionFile::open(directory.path(), Split::Test)?.is_none());
        for (bad, message) in [
            (split(1, 2), "line 1: there is no such paragraph"),
            (
                split(0, 1),
                "line 1: an answer is not part of its paragraph",
            ),
            (
                split(0, 9),
                "line 1: an answer is not part of its paragraph",
            ),
        ] {
            let error = read(bad).unwrap_err();
            assert!(error.is::<UserError>(), "{error:#}");
            assert!(error.to_string().ends_with(message), "{error}");
        }
        fs_err::remove_file(directory.path().join(Split::Dev.paragraphs_file()))?;
        let error = QuestionFile::open(directory.path(), Split::Dev).err();
        assert!(error.is_some_and(|error| error.is::<UserError>()));
        Ok(())
    }
}
