//! What the windows stage writes: tokens with their character ranges, and evaluation windows.
//!
//! `windows.json` is a [`Layout`]; `<split>.safetensors` holds flat arrays, read through
//! [`WindowFile`]. Paragraphs and questions are tokenized once; a window is only a range of its
//! paragraph's tokens.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::columns::{self, Columns, GrowingColumn};
use crate::jsonl;
use crate::questions::Split;
use crate::settings::Placement;

/// File name of the [`Layout`].
pub const LAYOUT_FILE: &str = "windows.json";

/// File of the [`WindowCounts`], by split.
pub const COUNTS_FILE: &str = "counts.json";

/// What became of one split's texts, in `counts.json`. What is lost is counted here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowCounts {
    /// Number of questions.
    pub questions: usize,
    /// Number of evaluation windows.
    pub windows: usize,
    /// Questions that were longer than `max_question_length`: the model does not see their end.
    pub questions_cut: usize,
    /// Questions with reference answers.
    pub answers: usize,
    /// Questions whose first answer no span of whole tokens equals: with this tokenizer they can
    /// never be answered exactly.
    pub answers_not_expressible: usize,
    /// Questions whose answers have tokens, but all more than a window has room for: no window has
    /// a whole answer.
    pub answers_longer_than_window: usize,
    /// Questions whose answers no token touches.
    pub answers_without_tokens: usize,
    /// Number of paragraphs.
    pub paragraphs: usize,
    /// Paragraphs with at least one token that the vocabulary lacks.
    pub paragraphs_with_unknown_tokens: usize,
    /// Paragraphs with characters of which none has a token that the vocabulary has: the model
    /// sees nothing of them.
    pub paragraphs_unknown: usize,
    /// Tokens of all paragraphs.
    pub tokens: usize,
    /// Tokens of paragraphs that the vocabulary lacks.
    pub unknown_tokens: usize,
}

impl WindowCounts {
    /// Questions with an answer that cannot be learned from, since it fits no window.
    pub fn not_learnable(&self) -> usize {
        self.answers_longer_than_window + self.answers_without_tokens
    }

    /// Reads the counts of every split of a windows artifact.
    ///
    /// # Errors
    /// Fails if they cannot be read.
    pub fn read(directory: &Path) -> Result<BTreeMap<Split, Self>> {
        jsonl::read_document(&directory.join(COUNTS_FILE))
    }

    /// Writes the counts of every split into a windows artifact.
    ///
    /// # Errors
    /// Fails if they cannot be written.
    pub fn write(directory: &Path, counts: &BTreeMap<Split, Self>) -> Result<()> {
        jsonl::write_document(&directory.join(COUNTS_FILE), counts)
    }
}

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

/// What the model is to learn of a question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Target {
    /// Nothing: the question is unlabelled, or no token touches its answers.
    #[default]
    None,
    /// That the paragraph does not answer it.
    Unanswerable,
    /// The paragraph tokens of its reference answers, the training target first; at least one.
    Spans(Vec<Range<usize>>),
}

/// The arrays in a split's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Column {
    /// Token ids of all paragraphs, one after the other.
    ParagraphTokens,
    /// First character of each of these tokens in its paragraph.
    TokenStarts,
    /// One past the last character of each of these tokens.
    TokenEnds,
    /// Where each paragraph's tokens begin, and one past the last at the end.
    ParagraphOffsets,
    /// Length of each paragraph in characters.
    ParagraphCharacters,
    /// Token ids of all questions, one after the other.
    QuestionTokens,
    /// Where each question's tokens begin, and one past the last at the end.
    QuestionOffsets,
    /// Index of each question's paragraph.
    QuestionParagraphs,
    /// 1 for each question that its paragraph does not answer, 0 for any other.
    Unanswerable,
    /// Where each question's reference answers begin, and one past the last at the end.
    AnswerOffsets,
    /// First token of each reference answer in its paragraph, all questions' one after the other.
    AnswerStarts,
    /// One past the last token of each of these answers.
    AnswerEnds,
    /// Index of each window's question, ascending.
    WindowQuestions,
    /// First paragraph token of each window.
    WindowStarts,
    /// One past the last paragraph token of each window.
    WindowEnds,
}

/// Every array with its name in the file, in the order of the variants.
const ARRAYS: [(Column, &str); 15] = [
    (Column::ParagraphTokens, "paragraph_tokens"),
    (Column::TokenStarts, "token_starts"),
    (Column::TokenEnds, "token_ends"),
    (Column::ParagraphOffsets, "paragraph_offsets"),
    (Column::ParagraphCharacters, "paragraph_characters"),
    (Column::QuestionTokens, "question_tokens"),
    (Column::QuestionOffsets, "question_offsets"),
    (Column::QuestionParagraphs, "question_paragraphs"),
    (Column::Unanswerable, "unanswerable"),
    (Column::AnswerOffsets, "answer_offsets"),
    (Column::AnswerStarts, "answer_starts"),
    (Column::AnswerEnds, "answer_ends"),
    (Column::WindowQuestions, "window_questions"),
    (Column::WindowStarts, "window_starts"),
    (Column::WindowEnds, "window_ends"),
];

/// Writes a split's file as it is built, holding none of it: paragraphs first, then each question
/// followed by its windows.
pub struct WindowWriter {
    path: PathBuf,
    columns: [GrowingColumn; ARRAYS.len()],
}

impl WindowWriter {
    /// Starts the file of a split. Until [`Self::finish`] the arrays lie in files without names on
    /// the file system of `directory`.
    ///
    /// # Errors
    /// Fails if no file can be created there.
    pub fn create(directory: &Path, split: Split) -> Result<Self> {
        let mut columns = Vec::new();
        for _ in ARRAYS {
            columns.push(GrowingColumn::create(directory)?);
        }
        let columns = columns.try_into().ok();
        let mut writer = Self {
            path: directory.join(file_name(split)),
            columns: columns.context("a column for each array")?,
        };
        writer.push(Column::ParagraphOffsets, 0)?;
        writer.push(Column::QuestionOffsets, 0)?;
        writer.push(Column::AnswerOffsets, 0)?;
        Ok(writer)
    }

    /// Adds a paragraph of `length` characters: the ids of its tokens and their character ranges.
    ///
    /// # Errors
    /// Fails if ids and ranges differ in number, if the split has more tokens than 32 bits can
    /// count, or if a file cannot be written.
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
        self.column(Column::ParagraphTokens).extend(ids)?;
        for range in characters {
            self.push(Column::TokenStarts, range.start)?;
            self.push(Column::TokenEnds, range.end)?;
        }
        let end = self.column(Column::ParagraphTokens).len();
        self.push(Column::ParagraphOffsets, end)?;
        self.push(Column::ParagraphCharacters, length)
    }

    /// Number of paragraphs so far.
    pub fn paragraphs(&mut self) -> usize {
        self.column(Column::ParagraphCharacters).len()
    }

    /// Reads the character ranges of a paragraph's tokens back.
    ///
    /// # Errors
    /// Fails if there is no such paragraph, or a file cannot be read.
    pub fn token_ranges(&mut self, paragraph: usize) -> Result<Vec<Range<usize>>> {
        self.check_paragraph(paragraph)?;
        let offsets = self.column(Column::ParagraphOffsets);
        let offsets = offsets.read(paragraph..paragraph + 2)?;
        let tokens = offsets[0] as usize..offsets[1] as usize;
        let starts = self.column(Column::TokenStarts).read(tokens.clone())?;
        let ends = self.column(Column::TokenEnds).read(tokens)?;
        let ranges = starts.into_iter().zip(ends);
        Ok(ranges
            .map(|(start, end)| start as usize..end as usize)
            .collect())
    }

    /// Adds a question about paragraph `paragraph`: the ids of its tokens, and what is to be learned
    /// of it.
    ///
    /// # Errors
    /// Fails if there is no such paragraph, if an answer is empty, if the split has more tokens
    /// than 32 bits can count, or if a file cannot be written.
    pub fn push_question(&mut self, ids: &[u32], paragraph: usize, target: &Target) -> Result<()> {
        self.check_paragraph(paragraph)?;
        let answers: &[Range<usize>] = match target {
            Target::None | Target::Unanswerable => &[],
            Target::Spans(answers) => answers,
        };
        for answer in answers {
            ensure!(!answer.is_empty(), "an answer without tokens: {answer:?}");
            self.push(Column::AnswerStarts, answer.start)?;
            self.push(Column::AnswerEnds, answer.end)?;
        }
        let answers = self.column(Column::AnswerStarts).len();
        self.push(Column::AnswerOffsets, answers)?;
        self.column(Column::QuestionTokens).extend(ids)?;
        let tokens = self.column(Column::QuestionTokens).len();
        self.push(Column::QuestionOffsets, tokens)?;
        self.push(Column::QuestionParagraphs, paragraph)?;
        let is_unanswerable = *target == Target::Unanswerable;
        self.push(Column::Unanswerable, is_unanswerable.into())
    }

    /// Adds an evaluation window of the question that was added last: a range of its paragraph's
    /// tokens.
    ///
    /// # Errors
    /// Fails if there is no question yet, or if a file cannot be written.
    pub fn push_window(&mut self, tokens: Range<usize>) -> Result<()> {
        let questions = self.column(Column::QuestionParagraphs).len();
        let question = questions.checked_sub(1);
        let question = question.context("a window before any question")?;
        self.push(Column::WindowQuestions, question)?;
        self.push(Column::WindowStarts, tokens.start)?;
        self.push(Column::WindowEnds, tokens.end)
    }

    /// Puts the arrays together as `<split>.safetensors`.
    ///
    /// # Errors
    /// Fails if the file cannot be written.
    pub fn finish(self) -> Result<()> {
        let names = ARRAYS.into_iter().map(|(_, name)| name);
        columns::write(&self.path, names.zip(self.columns).collect())
    }

    fn column(&mut self, array: Column) -> &mut GrowingColumn {
        &mut self.columns[array as usize]
    }

    fn push(&mut self, array: Column, value: usize) -> Result<()> {
        let value = narrow(value)?;
        self.column(array).extend(&[value])
    }

    fn check_paragraph(&mut self, paragraph: usize) -> Result<()> {
        let paragraphs = self.paragraphs();
        ensure!(
            paragraph < paragraphs,
            "a question about paragraph {paragraph} of {paragraphs}"
        );
        Ok(())
    }
}

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
        for (_, name) in ARRAYS {
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
        alike(&["question_paragraphs", "unanswerable"])?;
        alike(&["answer_starts", "answer_ends"])?;
        alike(&["window_questions", "window_starts", "window_ends"])?;
        for (offsets, items, tokens) in [
            (
                "paragraph_offsets",
                "paragraph_characters",
                "paragraph_tokens",
            ),
            ("question_offsets", "question_paragraphs", "question_tokens"),
            ("answer_offsets", "question_paragraphs", "answer_starts"),
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
        self.check_ranges()
    }

    /// Checks that every question has its paragraph, and every answer and window its tokens.
    fn check_ranges(&self) -> Result<()> {
        let paragraphs = self.array("paragraph_characters").len();
        let questions = self.array("question_paragraphs");
        let outside = |&paragraph: &u32| paragraph as usize >= paragraphs;
        if let Some(question) = questions.iter().position(outside) {
            let paragraph = questions[question];
            bail!("question {question} is about paragraph {paragraph} of {paragraphs}");
        }
        for question in 0..questions.len() {
            let tokens = self.paragraph_range(question).len();
            for answer in self.answers(question) {
                ensure!(
                    !answer.is_empty() && answer.end <= tokens,
                    "question {question} has tokens {answer:?} of {tokens} for its answer"
                );
            }
        }
        let mut last = 0;
        for Window { question, tokens } in self.evaluation_windows() {
            ensure!(
                (last..questions.len()).contains(&question),
                "a window of question {question} of {}, after one of question {last}",
                questions.len()
            );
            let all = self.paragraph_range(question).len();
            ensure!(
                tokens.start <= tokens.end && tokens.end <= all,
                "a window of question {question} has tokens {tokens:?} of {all}"
            );
            last = question;
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

    /// The token ids of every paragraph of the split, in the order of the paragraphs.
    pub fn paragraphs(&self) -> impl Iterator<Item = &[u32]> {
        let tokens = self.array("paragraph_tokens");
        let offsets = self.array("paragraph_offsets").windows(2);
        offsets.map(|offsets| &tokens[offsets[0] as usize..offsets[1] as usize])
    }

    /// Length in characters of the question's paragraph.
    pub fn paragraph_characters(&self, question: usize) -> usize {
        self.array("paragraph_characters")[self.paragraph(question)] as usize
    }

    /// The paragraph tokens of the reference answers, the training target first; none for a question
    /// that is unlabelled or unanswerable.
    pub fn answers(&self, question: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
        let offsets = self.array("answer_offsets");
        let answers = offsets[question] as usize..offsets[question + 1] as usize;
        let starts = self.array("answer_starts")[answers.clone()].iter();
        let ends = self.array("answer_ends")[answers].iter();
        starts
            .zip(ends)
            .map(|(&start, &end)| start as usize..end as usize)
    }

    /// The paragraph tokens of the training target, where the question has one.
    pub fn answer(&self, question: usize) -> Option<Range<usize>> {
        self.answers(question).next()
    }

    /// Whether the question's paragraph does not answer it.
    pub fn is_unanswerable(&self, question: usize) -> bool {
        self.array("unanswerable")[question] == 1
    }

    /// Whether a paragraph does not answer its question, so that there is something to learn of
    /// that.
    pub fn has_unanswerable(&self) -> bool {
        self.array("unanswerable").contains(&1)
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

    /// Two paragraphs of two and three tokens, a question about each: the first has two answers, the
    /// second none.
    fn writer(directory: &Path) -> WindowWriter {
        let mut writer = WindowWriter::create(directory, Split::Dev).unwrap();
        writer.push_paragraph(&[7, 8], &[0..1, 2..4], 5).unwrap();
        writer
            .push_paragraph(&[9, 7, 8], &[0..1, 1..2, 2..3], 3)
            .unwrap();
        let answers = Target::Spans(vec![1..3, 0..1]);
        writer.push_question(&[4], 1, &answers).unwrap();
        writer.push_window(0..2).unwrap();
        writer.push_window(1..3).unwrap();
        writer
            .push_question(&[5, 6], 0, &Target::Unanswerable)
            .unwrap();
        writer.push_window(0..2).unwrap();
        writer
    }

    #[test]
    fn what_is_built_is_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        assert_eq!(writer.token_ranges(0).unwrap(), [0..1, 2..4]);
        assert_eq!(writer.token_ranges(1).unwrap(), [0..1, 1..2, 2..3]);
        writer.finish().unwrap();
        let files = fs_err::read_dir(directory.path()).unwrap();
        assert_eq!(files.count(), 1, "no other file is left");
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
        let paragraphs: Vec<_> = file.paragraphs().collect();
        assert_eq!(paragraphs, [&[7, 8][..], &[9, 7, 8]]);
        assert_eq!(file.paragraph_characters(1), 5);
        assert_eq!(file.characters(1, 1), 2..4);
        assert_eq!((file.answer(0), file.answer(1)), (Some(1..3), None));
        assert_eq!(file.answers(0).collect::<Vec<_>>(), [1..3, 0..1]);
        assert_eq!(
            [0, 1].map(|question| file.is_unanswerable(question)),
            [false, true]
        );
        assert!(file.has_unanswerable());
        let windows: Vec<_> = file
            .evaluation_windows()
            .map(|window| (window.question, window.tokens))
            .collect();
        assert_eq!(windows, [(0, 0..2), (0, 1..3), (1, 0..2)]);
    }

    #[test]
    fn refuses_what_cannot_be_built() {
        let directory = tempfile::tempdir().unwrap();
        let mut writer = writer(directory.path());
        let check = |result: Result<()>, expected: &str| {
            assert_eq!(result.unwrap_err().to_string(), expected);
        };
        check(
            writer.push_paragraph(&[1], &[], 1),
            "1 tokens with 0 character ranges",
        );
        check(
            writer.push_question(&[1], 2, &Target::None),
            "a question about paragraph 2 of 2",
        );
        check(
            writer.token_ranges(2).map(drop),
            "a question about paragraph 2 of 2",
        );
        check(
            writer.push_question(&[1], 0, &Target::Spans(vec![0..1, 1..1])),
            "an answer without tokens: 1..1",
        );
        check(
            WindowWriter::create(directory.path(), Split::Dev)
                .unwrap()
                .push_window(0..1),
            "a window before any question",
        );
    }

    #[test]
    fn refuses_files_whose_arrays_do_not_fit() {
        let check = |array: Column, values: &[u32], expected: &str| {
            let directory = tempfile::tempdir().unwrap();
            let mut writer = writer(directory.path());
            let mut column = GrowingColumn::create(directory.path()).unwrap();
            column.extend(values).unwrap();
            *writer.column(array) = column;
            writer.finish().unwrap();
            let error = WindowFile::open(directory.path(), Split::Dev)
                .err()
                .unwrap();
            assert_eq!(error.root_cause().to_string(), expected);
        };
        check(
            Column::TokenEnds,
            &[1],
            "array token_starts has 5 numbers, token_ends has 1",
        );
        check(
            Column::AnswerEnds,
            &[3, 1, 0],
            "array answer_starts has 2 numbers, answer_ends has 3",
        );
        check(
            Column::WindowStarts,
            &[],
            "array window_questions has 3 numbers, window_starts has 0",
        );
        check(
            Column::ParagraphOffsets,
            &[0, 2, 6],
            "array paragraph_offsets does not divide paragraph_tokens among paragraph_characters",
        );
        check(
            Column::QuestionOffsets,
            &[0, 3],
            "array question_offsets does not divide question_tokens among question_paragraphs",
        );
        check(
            Column::QuestionParagraphs,
            &[1, 2],
            "question 1 is about paragraph 2 of 2",
        );
        check(
            Column::AnswerEnds,
            &[4, 1],
            "question 0 has tokens 1..4 of 3 for its answer",
        );
        check(
            Column::Unanswerable,
            &[1],
            "array question_paragraphs has 2 numbers, unanswerable has 1",
        );
        check(
            Column::AnswerOffsets,
            &[0, 2, 3],
            "array answer_offsets does not divide answer_starts among question_paragraphs",
        );
        check(
            Column::WindowQuestions,
            &[1, 0, 0],
            "a window of question 0 of 2, after one of question 1",
        );
        check(
            Column::WindowQuestions,
            &[0, 0, 2],
            "a window of question 2 of 2, after one of question 0",
        );
        check(
            Column::WindowEnds,
            &[2, u32::MAX, 2],
            "a window of question 0 has tokens 1..4294967295 of 3",
        );
    }

    #[test]
    fn arrays_are_in_the_order_of_their_names() {
        for (index, (array, _)) in ARRAYS.into_iter().enumerate() {
            assert_eq!(array as usize, index);
        }
    }
}
