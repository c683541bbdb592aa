//! What the windows stage writes: tokens with their character ranges, and evaluation windows.
//!
//! `windows.json` is a [`Layout`]; `<split>.safetensors` holds flat arrays, read through
//! [`WindowFile`]. Paragraphs and questions are tokenized once; a window is only a range of its
//! paragraph's tokens.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::columns::{self, Columns};
use crate::questions::Split;
use crate::settings::Placement;

/// File name of the [`Layout`].
pub const LAYOUT_FILE: &str = "windows.json";

/// How question and window are put together into one model input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Longest input in tokens, question and specials included.
    pub max_length: usize,
    /// Where training windows are placed around the answer.
    pub placement: Placement,
    /// The tokenizer's pair template.
    pub template: Template,
}

impl Layout {
    /// Paragraph tokens that fit beside a question of `question` tokens.
    pub fn room(&self, question: usize) -> usize {
        self.max_length - self.template.specials() - question
    }
}

/// The tokenizer's pair template: specials before, between and after question and paragraph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Special tokens before the question, such as `[CLS]`.
    pub before: Vec<Special>,
    /// Special tokens between question and paragraph, such as `[SEP]`.
    pub between: Vec<Special>,
    /// Special tokens after the paragraph, such as `[SEP]`.
    pub after: Vec<Special>,
    /// Token type of question tokens.
    pub question_type: u32,
    /// Token type of paragraph tokens.
    pub paragraph_type: u32,
    /// Id of the padding token, which fills short rows of a batch.
    pub padding_id: u32,
    /// Id of the mask token, where the tokenizer has one.
    pub mask_id: Option<u32>,
}

/// A special token of a [`Template`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Special {
    /// Vocabulary id.
    pub id: u32,
    /// Token type.
    pub token_type: u32,
}

impl Template {
    /// Number of special tokens in one input.
    pub fn specials(&self) -> usize {
        self.before.len() + self.between.len() + self.after.len()
    }

    /// Index of the first paragraph token in an input with a question of `question` tokens.
    pub fn paragraph_start(&self, question: usize) -> usize {
        self.before.len() + question + self.between.len()
    }
}

/// One evaluation window: a range of a paragraph's tokens, seen with one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Index of the question in the split.
    pub question: usize,
    /// Range into the paragraph's tokens.
    pub tokens: Range<usize>,
}

/// The arrays of one split, as they are built: paragraphs first, then each question followed by its
/// windows.
#[derive(Debug, PartialEq, Eq)]
pub struct WindowArrays {
    /// Token ids of all paragraphs, one after the other.
    paragraph_tokens: Vec<u32>,
    /// First character of each of these tokens in its paragraph.
    token_starts: Vec<u32>,
    /// One past the last character of each of these tokens.
    token_ends: Vec<u32>,
    /// Where each paragraph's tokens begin, and one past the last at the end.
    paragraph_offsets: Vec<u32>,
    /// Length of each paragraph in characters.
    paragraph_characters: Vec<u32>,
    /// Token ids of all questions, one after the other.
    question_tokens: Vec<u32>,
    /// Where each question's tokens begin, and one past the last at the end.
    question_offsets: Vec<u32>,
    /// Index of each question's paragraph.
    question_paragraphs: Vec<u32>,
    /// First token of each question's training answer in its paragraph, [`NO_ANSWER`] without one.
    answer_starts: Vec<u32>,
    /// One past the last token of the answer.
    answer_ends: Vec<u32>,
    /// Index of each window's question, ascending.
    window_questions: Vec<u32>,
    /// First paragraph token of each window.
    window_starts: Vec<u32>,
    /// One past the last paragraph token of each window.
    window_ends: Vec<u32>,
}

/// The value of `answer_starts` and `answer_ends` for an unlabelled question.
const NO_ANSWER: u32 = u32::MAX;

impl Default for WindowArrays {
    fn default() -> Self {
        Self {
            paragraph_tokens: Vec::new(),
            token_starts: Vec::new(),
            token_ends: Vec::new(),
            paragraph_offsets: vec![0],
            paragraph_characters: Vec::new(),
            question_tokens: Vec::new(),
            question_offsets: vec![0],
            question_paragraphs: Vec::new(),
            answer_starts: Vec::new(),
            answer_ends: Vec::new(),
            window_questions: Vec::new(),
            window_starts: Vec::new(),
            window_ends: Vec::new(),
        }
    }
}

impl WindowArrays {
    /// Adds a paragraph of `length` characters: the ids of its tokens and their character ranges.
    ///
    /// # Errors
    /// Fails if ids and ranges differ in number, or the split has more tokens than 32 bits can
    /// count.
    pub fn push_paragraph(
        &mut self,
        ids: &[u32],
        characters: &[Range<usize>],
        length: usize,
    ) -> Result<()> {
        ensure!(
            ids.len() == characters.len(),
            "{} tokens with {} character ranges",
            ids.len(),
            characters.len()
        );
        self.paragraph_tokens.extend(ids);
        for range in characters {
            self.token_starts.push(narrow(range.start)?);
            self.token_ends.push(narrow(range.end)?);
        }
        let end = narrow(self.paragraph_tokens.len())?;
        self.paragraph_offsets.push(end);
        self.paragraph_characters.push(narrow(length)?);
        Ok(())
    }

    /// Adds a question about paragraph `paragraph`: the ids of its tokens, and the paragraph tokens
    /// of its training answer where it has one.
    ///
    /// # Errors
    /// Fails if there is no such paragraph, if the answer is empty, or if the split has more tokens
    /// than 32 bits can count.
    pub fn push_question(
        &mut self,
        ids: &[u32],
        paragraph: usize,
        answer: Option<Range<usize>>,
    ) -> Result<()> {
        let paragraphs = self.paragraph_characters.len();
        ensure!(
            paragraph < paragraphs,
            "a question about paragraph {paragraph} of {paragraphs}"
        );
        let (start, end) = match answer {
            Some(answer) => {
                ensure!(!answer.is_empty(), "an answer without tokens: {answer:?}");
                (narrow(answer.start)?, narrow(answer.end)?)
            }
            None => (NO_ANSWER, NO_ANSWER),
        };
        self.question_tokens.extend(ids);
        self.question_offsets
            .push(narrow(self.question_tokens.len())?);
        self.question_paragraphs.push(narrow(paragraph)?);
        self.answer_starts.push(start);
        self.answer_ends.push(end);
        Ok(())
    }

    /// Adds an evaluation window of the question that was added last: a range of its paragraph's
    /// tokens.
    ///
    /// # Errors
    /// Fails if there is no question yet.
    pub fn push_window(&mut self, tokens: Range<usize>) -> Result<()> {
        let question = self.question_paragraphs.len().checked_sub(1);
        let question = question.context("a window before any question")?;
        self.window_questions.push(narrow(question)?);
        self.window_starts.push(narrow(tokens.start)?);
        self.window_ends.push(narrow(tokens.end)?);
        Ok(())
    }

    /// Writes the arrays as `<split>.safetensors`.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn write(&self, directory: &Path, split: Split) -> Result<()> {
        let arrays = ARRAYS.map(|(name, array)| (name, array(self)));
        columns::write_u32s(&directory.join(file_name(split)), &arrays)
    }
}

/// An array's name in the file, and the array itself.
type Array = (&'static str, fn(&WindowArrays) -> &[u32]);

const ARRAYS: [Array; 13] = [
    ("paragraph_tokens", |arrays| &arrays.paragraph_tokens),
    ("token_starts", |arrays| &arrays.token_starts),
    ("token_ends", |arrays| &arrays.token_ends),
    ("paragraph_offsets", |arrays| &arrays.paragraph_offsets),
    ("paragraph_characters", |arrays| {
        &arrays.paragraph_characters
    }),
    ("question_tokens", |arrays| &arrays.question_tokens),
    ("question_offsets", |arrays| &arrays.question_offsets),
    ("question_paragraphs", |arrays| &arrays.question_paragraphs),
    ("answer_starts", |arrays| &arrays.answer_starts),
    ("answer_ends", |arrays| &arrays.answer_ends),
    ("window_questions", |arrays| &arrays.window_questions),
    ("window_starts", |arrays| &arrays.window_starts),
    ("window_ends", |arrays| &arrays.window_ends),
];

/// Arrays count in 32 bits: 4 billion tokens in one split are beyond this project.
fn narrow(value: usize) -> Result<u32> {
    u32::try_from(value).with_context(|| format!("{value} does not fit into 32 bits"))
}

/// File name of a split's arrays.
pub fn file_name(split: Split) -> String {
    format!("{}.safetensors", split.name())
}

/// A split's tokens and windows, memory-mapped.
pub struct WindowFile {
    columns: Columns,
}

impl WindowFile {
    /// Opens a split; `None` where the windows artifact has none.
    ///
    /// # Errors
    /// Fails if the file cannot be read, if an array is missing or if arrays do not fit together.
    pub fn open(directory: &Path, split: Split) -> Result<Option<Self>> {
        let path = directory.join(file_name(split));
        if !path.exists() {
            return Ok(None);
        }
        let file = Self {
            columns: Columns::open(&path)?,
        };
        file.check()
            .with_context(|| format!("read {}", path.display()))?;
        Ok(Some(file))
    }

    /// Checks that every array is there and as long as those it belongs to.
    fn check(&self) -> Result<()> {
        let mut arrays = BTreeMap::new();
        for (name, _) in ARRAYS {
            arrays.insert(name, self.columns.u32s(name)?);
        }
        let alike = |names: &[&str]| {
            for pair in names.windows(2) {
                let (first, second) = (arrays[pair[0]].len(), arrays[pair[1]].len());
                ensure!(
                    first == second,
                    "array {} has {first} numbers, {} has {second}",
                    pair[0],
                    pair[1]
                );
            }
            Ok(())
        };
        alike(&["paragraph_tokens", "token_starts", "token_ends"])?;
        alike(&["question_paragraphs", "answer_starts", "answer_ends"])?;
        alike(&["window_questions", "window_starts", "window_ends"])?;
        for (offsets, items, tokens) in [
            (
                "paragraph_offsets",
                "paragraph_characters",
                "paragraph_tokens",
            ),
            ("question_offsets", "question_paragraphs", "question_tokens"),
        ] {
            let (offsets, name) = (arrays[offsets], offsets);
            ensure!(
                offsets.len() == arrays[items].len() + 1
                    && offsets.is_sorted()
                    && offsets
                        .last()
                        .is_some_and(|&last| last as usize == arrays[tokens].len()),
                "array {name} does not divide {tokens} among {items}"
            );
        }
        Ok(())
    }

    /// The largest vocabulary id of the split, 0 without tokens.
    pub fn largest_id(&self) -> u32 {
        let arrays = ["paragraph_tokens", "question_tokens"];
        let ids = arrays.iter().flat_map(|name| self.array(name));
        ids.max().copied().unwrap_or(0)
    }

    /// An array that [`Self::check`] has found.
    fn array(&self, name: &str) -> &[u32] {
        self.columns
            .u32s(name)
            .expect("opening a file checks that every array is there")
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.array("question_paragraphs").len()
    }

    /// Number of evaluation windows.
    pub fn windows(&self) -> usize {
        self.array("window_questions").len()
    }

    /// The evaluation windows, ordered by question.
    pub fn evaluation_windows(&self) -> impl Iterator<Item = Window> {
        let starts = self.array("window_starts").iter();
        let ends = self.array("window_ends").iter();
        let questions = self.array("window_questions").iter();
        questions
            .zip(starts.zip(ends))
            .map(|(&question, (&start, &end))| Window {
                question: question as usize,
                tokens: start as usize..end as usize,
            })
    }

    /// A question's token ids.
    pub fn question_tokens(&self, question: usize) -> &[u32] {
        let offsets = self.array("question_offsets");
        &self.array("question_tokens")[offsets[question] as usize..offsets[question + 1] as usize]
    }

    /// The token ids of the paragraph a question is asked about.
    pub fn paragraph_tokens(&self, question: usize) -> &[u32] {
        &self.array("paragraph_tokens")[self.paragraph_range(question)]
    }

    /// The character range of token `token` of the question's paragraph.
    pub fn characters(&self, question: usize, token: usize) -> Range<usize> {
        let index = self.paragraph_range(question).start + token;
        self.array("token_starts")[index] as usize..self.array("token_ends")[index] as usize
    }

    /// Length in characters of the question's paragraph.
    pub fn paragraph_characters(&self, question: usize) -> usize {
        self.array("paragraph_characters")[self.paragraph(question)] as usize
    }

    /// The paragraph tokens of the training answer, where the question has one.
    pub fn answer(&self, question: usize) -> Option<Range<usize>> {
        let start = self.array("answer_starts")[question];
        let end = self.array("answer_ends")[question];
        (start != NO_ANSWER).then_some(start as usize..end as usize)
    }

    fn paragraph(&self, question: usize) -> usize {
        self.array("question_paragraphs")[question] as usize
    }

    fn paragraph_range(&self, question: usize) -> Range<usize> {
        let offsets = self.array("paragraph_offsets");
        let paragraph = self.paragraph(question);
        offsets[paragraph] as usize..offsets[paragraph + 1] as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two paragraphs of two and three tokens, a question about each, of which one has an answer.
    fn arrays() -> WindowArrays {
        let mut arrays = WindowArrays::default();
        arrays.push_paragraph(&[7, 8], &[0..1, 2..4], 5).unwrap();
        arrays
            .push_paragraph(&[9, 7, 8], &[0..1, 1..2, 2..3], 3)
            .unwrap();
        arrays.push_question(&[4], 1, Some(1..3)).unwrap();
        arrays.push_window(0..2).unwrap();
        arrays.push_window(1..3).unwrap();
        arrays.push_question(&[5, 6], 0, None).unwrap();
        arrays.push_window(0..2).unwrap();
        arrays
    }

    #[test]
    fn what_is_built_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        arrays().write(directory.path(), Split::Dev).unwrap();
        assert!(
            WindowFile::open(directory.path(), Split::Test)
                .unwrap()
                .is_none()
        );
        let file = WindowFile::open(directory.path(), Split::Dev)
            .unwrap()
            .unwrap();
        assert_eq!((file.questions(), file.windows()), (2, 3));
        assert_eq!(file.question_tokens(1), [5, 6]);
        assert_eq!(file.paragraph_tokens(0), [9, 7, 8]);
        assert_eq!(file.paragraph_characters(1), 5);
        assert_eq!(file.characters(1, 1), 2..4);
        assert_eq!((file.answer(0), file.answer(1)), (Some(1..3), None));
        let windows: Vec<_> = file
            .evaluation_windows()
            .map(|window| (window.question, window.tokens))
            .collect();
        assert_eq!(windows, [(0, 0..2), (0, 1..3), (1, 0..2)]);
    }

    #[test]
    fn refuses_what_cannot_be_built() {
        let check = |result: Result<()>, expected: &str| {
            assert_eq!(result.unwrap_err().to_string(), expected);
        };
        check(
            arrays().push_paragraph(&[1], &[], 1),
            "1 tokens with 0 character ranges",
        );
        check(
            arrays().push_question(&[1], 2, None),
            "a question about paragraph 2 of 2",
        );
        check(
            arrays().push_question(&[1], 0, Some(1..1)),
            "an answer without tokens: 1..1",
        );
        check(
            WindowArrays::default().push_window(0..1),
            "a window before any question",
        );
    }

    #[test]
    fn refuses_files_whose_arrays_do_not_fit() {
        let check = |change: fn(&mut WindowArrays), expected: &str| {
            let directory = tempfile::tempdir().unwrap();
            let mut arrays = arrays();
            change(&mut arrays);
            arrays.write(directory.path(), Split::Dev).unwrap();
            let error = WindowFile::open(directory.path(), Split::Dev)
                .err()
                .unwrap();
            assert_eq!(error.root_cause().to_string(), expected);
        };
        check(
            |arrays| arrays.token_ends.truncate(1),
            "array token_starts has 5 numbers, token_ends has 1",
        );
        check(
            |arrays| arrays.answer_ends.push(0),
            "array answer_starts has 2 numbers, answer_ends has 3",
        );
        check(
            |arrays| arrays.window_starts.clear(),
            "array window_questions has 3 numbers, window_starts has 0",
        );
        check(
            |arrays| arrays.paragraph_offsets = vec![0, 2, 6],
            "array paragraph_offsets does not divide paragraph_tokens among paragraph_characters",
        );
        check(
            |arrays| arrays.question_offsets = vec![0, 3],
            "array question_offsets does not divide question_tokens among question_paragraphs",
        );
    }
}
