//! What the windows stage writes: tokens with their character ranges, and evaluation windows.
//!
//! `windows.json` is a [`Layout`]; `<split>.safetensors` holds flat arrays, read through [`WindowFile`].
//! Paragraphs and questions are tokenized once; a window is only a range of its paragraph's tokens.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
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
    /// `[CLS]`.
    pub before: Vec<Special>,
    /// `[SEP]`.
    pub between: Vec<Special>,
    /// `[SEP]`.
    pub after: Vec<Special>,
    /// Token type of question tokens.
    pub question_type: u32,
    /// Token type of paragraph tokens.
    pub paragraph_type: u32,
    /// Id that fills short rows of a batch.
    pub padding_id: u32,
    /// Id that stands for a hidden token, where the tokenizer has one.
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

/// The arrays of one split, built by the windows stage.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct WindowArrays {
    /// Token ids of all paragraphs, one after the other.
    pub paragraph_tokens: Vec<u32>,
    /// First character of every paragraph token.
    pub token_starts: Vec<u32>,
    /// One past the last character of every paragraph token.
    pub token_ends: Vec<u32>,
    /// Where each paragraph's tokens begin, and the total at the end.
    pub paragraph_offsets: Vec<u32>,
    /// Length of every paragraph in characters.
    pub paragraph_characters: Vec<u32>,
    /// Token ids of all questions, one after the other, already cut to the longest allowed.
    pub question_tokens: Vec<u32>,
    /// Where each question's tokens begin, and the total at the end.
    pub question_offsets: Vec<u32>,
    /// Each question's paragraph.
    pub question_paragraphs: Vec<u32>,
    /// First token of each question's training answer in its paragraph, [`NO_ANSWER`] without one.
    pub answer_starts: Vec<u32>,
    /// Last token of the answer, inclusive.
    pub answer_ends: Vec<u32>,
    /// Each window's question, ascending.
    pub window_questions: Vec<u32>,
    /// Each window's first paragraph token.
    pub window_starts: Vec<u32>,
    /// One past each window's last paragraph token.
    pub window_ends: Vec<u32>,
}

/// Marks a question without a known answer in `answer_starts` and `answer_ends`.
pub const NO_ANSWER: u32 = u32::MAX;

impl WindowArrays {
    /// Writes the arrays as `<split>.safetensors`.
    pub fn write(&self, directory: &Path, split: Split) -> Result<()> {
        columns::write_u32s(
            &directory.join(file_name(split)),
            &[
                ("paragraph_tokens", &self.paragraph_tokens),
                ("token_starts", &self.token_starts),
                ("token_ends", &self.token_ends),
                ("paragraph_offsets", &self.paragraph_offsets),
                ("paragraph_characters", &self.paragraph_characters),
                ("question_tokens", &self.question_tokens),
                ("question_offsets", &self.question_offsets),
                ("question_paragraphs", &self.question_paragraphs),
                ("answer_starts", &self.answer_starts),
                ("answer_ends", &self.answer_ends),
                ("window_questions", &self.window_questions),
                ("window_starts", &self.window_starts),
                ("window_ends", &self.window_ends),
            ],
        )
    }
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
    pub fn open(directory: &Path, split: Split) -> Result<Option<Self>> {
        let path = directory.join(file_name(split));
        if !path.exists() {
            return Ok(None);
        }
        let file = Self {
            columns: Columns::open(&path)?,
        };
        for name in [
            "window_questions",
            "window_starts",
            "window_ends",
            "paragraph_tokens",
            "answer_starts",
        ] {
            file.columns.u32s(name)?;
        }
        Ok(Some(file))
    }

    fn array(&self, name: &str) -> &[u32] {
        self.columns
            .u32s(name)
            .expect("the windows stage writes every array")
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

    /// The training answer's tokens in its paragraph, `(first, last)`, both inclusive.
    pub fn answer(&self, question: usize) -> Option<(usize, usize)> {
        let start = self.array("answer_starts")[question];
        (start != NO_ANSWER).then(|| (start as usize, self.array("answer_ends")[question] as usize))
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
