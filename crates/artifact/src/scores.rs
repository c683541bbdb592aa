//! What predict and ensemble write: a start and an end score for every paragraph character, and the
//! score of no answer.
//!
//! `<split>.safetensors` holds, with questions in the order of the data artifact:
//!
//! - `start` and `end`: f32, the characters of all questions' paragraphs one after the other. A
//!   score is a raw logit, comparable across the windows of one question; a character no token
//!   starts (or ends) at has minus infinity.
//! - `offsets`: u32, where each question begins, and the total
//! - `null`: f32, one a question, see [`Whole::null`]
//! - `window_scores`, `window_starts`, `window_ends`: f32, u32 and u32, one a question, see
//!   [`Whole::window`]

use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use fs_err::File;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::columns;
use crate::error::{UserError, damaged};
use crate::questions::Split;

/// File name of a split's scores.
pub fn file_name(split: Split) -> String {
    format!("{}.safetensors", split.name())
}

/// One question's scores.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Per character, how well an answer starts at it.
    pub start: Vec<f32>,
    /// Per character, how well an answer ends with it.
    pub end: Vec<f32>,
}

impl Scores {
    /// Scores of `characters` characters of which none is a candidate yet.
    pub fn none(characters: usize) -> Self {
        Self {
            start: vec![f32::NEG_INFINITY; characters],
            end: vec![f32::NEG_INFINITY; characters],
        }
    }

    /// The scores by reference.
    pub fn view(&self) -> ScoresView<'_> {
        ScoresView {
            start: &self.start,
            end: &self.end,
        }
    }
}

/// One question's scores, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScoresView<'a> {
    /// As [`Scores::start`].
    pub start: &'a [f32],
    /// As [`Scores::end`].
    pub end: &'a [f32],
}

/// A candidate answer.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// Index of its first character.
    pub start: usize,
    /// One past the index of its last character.
    pub end: usize,
    /// How well it answers: start score plus end score, or what the ensemble ranks by.
    pub score: f32,
}

impl Span {
    /// The character range, half-open.
    pub fn range(&self) -> Range<usize> {
        self.start..self.end
    }
}

/// What is known of a question besides the scores of its characters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Whole {
    /// The score of no answer, to be compared with a span's: the sum of start and end logit of the
    /// input's first token, the lowest of all windows, as in BERT's `run_squad.py`. Minus infinity
    /// where the paragraph has no window.
    pub null: f32,
    /// The best start and the best end of the window in which they have the highest sum, and that
    /// sum: an empty range where that end lies before that start. The score is minus infinity where
    /// no window is known, as of the combined scores of several models.
    pub window: Span,
}

impl Whole {
    /// Of a question of which no window is known.
    pub const NONE: Self = Self {
        null: f32::NEG_INFINITY,
        window: Span {
            start: 0,
            end: 0,
            score: f32::NEG_INFINITY,
        },
    };

    /// Of a question of which no window is known, with this score of no answer.
    pub fn with_null(null: f32) -> Self {
        Self { null, ..Self::NONE }
    }
}

/// A split's scores, read a few questions at a time.
#[derive(Debug)]
pub struct ScoreFile {
    path: PathBuf,
    file: File,
    /// Bytes at which the arrays begin, but that of offsets, by [`Array`].
    arrays: [u64; ARRAYS.len()],
    /// The character at which each question begins, and the total.
    offsets: Vec<u32>,
}

impl ScoreFile {
    /// Opens a split; `None` where the artifact has none.
    ///
    /// # Errors
    /// Fails if the file is not one that [`ScoreWriter`] writes.
    pub fn open(directory: &Path, split: Split) -> Result<Option<Self>> {
        let path = directory.join(file_name(split));
        if !path.exists() {
            return Ok(None);
        }
        let header = Header::read(&path).map_err(|error| damaged(&path, &format!("{error:#}")))?;
        Ok(Some(Self {
            file: File::open(&path)?,
            path,
            arrays: header.arrays,
            offsets: header.offsets,
        }))
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Characters of every question's paragraph, in order.
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        self.offsets
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as usize)
    }

    /// Reads one question's scores.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn get(&self, question: usize) -> Result<(Scores, Whole)> {
        let block = self.read(question..question + 1)?;
        let whole = block.whole(0);
        let ScoreBlock { start, end, .. } = block;
        Ok((Scores { start, end }, whole))
    }

    /// Reads the scores of consecutive questions.
    ///
    /// # Errors
    /// Fails if the file cannot be read, or a score is not a number.
    ///
    /// # Panics
    /// If there are no such questions.
    pub fn read(&self, questions: Range<usize>) -> Result<ScoreBlock> {
        let offsets = &self.offsets[questions.start..=questions.end];
        let characters = offsets[0]..offsets[offsets.len() - 1];
        let of_questions = questions.start as u32..questions.end as u32;
        let scores = |array, range: &Range<u32>, question: &dyn Fn(usize) -> usize| {
            let scores: Vec<f32> = self.numbers(array, range)?;
            match scores.iter().position(|&score| !is_score(score)) {
                Some(index) => Err(anyhow::Error::from(not_a_number(
                    &self.path,
                    question(range.start as usize + index),
                ))),
                None => Ok(scores),
            }
        };
        let of_character =
            |character| self.offsets.partition_point(|&o| o as usize <= character) - 1;
        let nulls = scores(Array::Null, &of_questions, &|question| question)?;
        let windows = scores(Array::WindowScores, &of_questions, &|question| question)?;
        let starts: Vec<u32> = self.numbers(Array::WindowStarts, &of_questions)?;
        let ends: Vec<u32> = self.numbers(Array::WindowEnds, &of_questions)?;
        let mut wholes = Vec::with_capacity(nulls.len());
        for (index, null) in nulls.into_iter().enumerate() {
            let (start, end) = (starts[index] as usize, ends[index] as usize);
            let length = (offsets[index + 1] - offsets[index]) as usize;
            let message = || {
                let question = questions.start + index + 1;
                format!("question {question} has a span that is not within its paragraph")
            };
            ensure!(
                start <= end && end <= length,
                damaged(&self.path, &message())
            );
            let score = windows[index];
            let window = Span { start, end, score };
            wholes.push(Whole { null, window });
        }
        Ok(ScoreBlock {
            start: scores(Array::Start, &characters, &of_character)?,
            end: scores(Array::End, &characters, &of_character)?,
            offsets: offsets
                .iter()
                .map(|&offset| (offset - characters.start) as usize)
                .collect(),
            wholes,
        })
    }

    /// Reads consecutive numbers of an array.
    fn numbers<T: bytemuck::Pod>(&self, array: Array, range: &Range<u32>) -> Result<Vec<T>> {
        let mut numbers = vec![T::zeroed(); range.len()];
        let position = self.arrays[array as usize] + u64::from(range.start) * NUMBER as u64;
        self.file
            .file()
            .read_exact_at(bytemuck::cast_slice_mut(&mut numbers), position)
            .with_context(|| format!("failed to read {}", self.path.display()))?;
        Ok(numbers)
    }
}

/// The arrays of a file that are read a part at a time.
#[derive(Debug, Clone, Copy)]
enum Array {
    Start,
    End,
    Null,
    WindowScores,
    WindowStarts,
    WindowEnds,
}

/// Every array with its name and type, in the order of the variants and of the file, in which
/// `offsets` follow.
const ARRAYS: [(Array, &str, Dtype); 6] = [
    (Array::Start, "start", Dtype::F32),
    (Array::End, "end", Dtype::F32),
    (Array::Null, "null", Dtype::F32),
    (Array::WindowScores, "window_scores", Dtype::F32),
    (Array::WindowStarts, "window_starts", Dtype::U32),
    (Array::WindowEnds, "window_ends", Dtype::U32),
];

/// Bytes of a number, whichever the array.
const NUMBER: usize = 4;

impl Array {
    /// Whether it has a number for each character, not for each question.
    fn is_of_characters(self) -> bool {
        matches!(self, Self::Start | Self::End)
    }
}

/// What is fixed before the first score.
struct Header {
    arrays: [u64; ARRAYS.len()],
    offsets: Vec<u32>,
}

impl Header {
    fn read(path: &Path) -> Result<Self> {
        let map = columns::map(path)?;
        let (header, metadata) = SafeTensors::read_metadata(&map)?;
        let data = header + size_of::<u64>();
        let array = |name: &str, dtype: Dtype| -> Result<Range<usize>> {
            let info = metadata.info(name);
            let info = info.with_context(|| format!("there is no array {name}"))?;
            ensure!(
                info.dtype == dtype,
                "array {name} is {:?}, not {dtype:?}",
                info.dtype
            );
            let (start, end) = info.data_offsets;
            Ok(data + start..data + end)
        };
        let (offsets, _) = map[array("offsets", Dtype::U32)?].as_chunks();
        let offsets: Vec<u32> = offsets.iter().copied().map(u32::from_le_bytes).collect();
        ensure!(
            offsets.first() == Some(&0) && offsets.is_sorted(),
            "the offsets are out of order"
        );
        let characters = offsets.last().copied().unwrap_or(0) as usize;
        let mut arrays = [0; ARRAYS.len()];
        for (place, (kind, name, dtype)) in arrays.iter_mut().zip(ARRAYS) {
            let numbers = if kind.is_of_characters() {
                characters
            } else {
                offsets.len() - 1
            };
            let range = array(name, dtype)?;
            ensure!(
                range.len() == numbers * NUMBER,
                "array {name} does not have {numbers} numbers"
            );
            *place = range.start as u64;
        }
        Ok(Self { arrays, offsets })
    }
}

/// Scores are finite, or minus infinity for what is no candidate.
fn is_score(score: f32) -> bool {
    score < f32::INFINITY
}

fn not_a_number(path: &Path, question: usize) -> UserError {
    UserError::new(format!(
        "{}: a score of question {} is not a number",
        path.display(),
        question + 1
    ))
    .hint("the model's weights or activations overflow: train it with a lower learning rate, or predict with precision = \"fp32\"")
}

/// The scores of consecutive questions.
#[derive(Debug)]
pub struct ScoreBlock {
    start: Vec<f32>,
    end: Vec<f32>,
    offsets: Vec<usize>,
    wholes: Vec<Whole>,
}

impl ScoreBlock {
    /// What is known of the question with this index in the block besides the scores of its
    /// characters.
    pub fn whole(&self, index: usize) -> Whole {
        self.wholes[index]
    }

    /// The scores of the question with this index in the block.
    pub fn get(&self, index: usize) -> ScoresView<'_> {
        let range = self.offsets[index]..self.offsets[index + 1];
        ScoresView {
            start: &self.start[range.clone()],
            end: &self.end[range],
        }
    }
}

/// Returns ranges of consecutive questions whose paragraphs, of these lengths, have about
/// `characters` characters together; a longer one is by itself. What is read a range at a time
/// takes as much memory however many questions there are.
pub fn ranges(
    lengths: impl IntoIterator<Item = usize>,
    characters: usize,
) -> impl Iterator<Item = Range<usize>> {
    // A question has a text, too.
    const QUESTION: usize = 100;
    let mut lengths = lengths.into_iter().enumerate().peekable();
    std::iter::from_fn(move || {
        let (first, length) = lengths.next()?;
        let mut sum = length + QUESTION;
        let mut end = first + 1;
        while let Some((index, length)) =
            lengths.next_if(|(_, length)| sum + length + QUESTION <= characters)
        {
            sum += length + QUESTION;
            end = index + 1;
        }
        Some(first..end)
    })
}

/// Writes a split's scores one question at a time, holding none of them.
pub struct ScoreWriter {
    path: PathBuf,
    /// A writer at the place of each array.
    arrays: Vec<BufWriter<File>>,
    lengths: std::vec::IntoIter<usize>,
    /// Number of questions written.
    written: usize,
}

impl ScoreWriter {
    /// Starts the file of a split whose paragraphs have these lengths in characters, one a
    /// question.
    ///
    /// # Errors
    /// Fails if the file cannot be written, or would have more than 2³² characters.
    pub fn create(directory: &Path, split: Split, lengths: Vec<usize>) -> Result<Self> {
        let path = directory.join(file_name(split));
        let mut offsets = vec![0u32];
        for &length in &lengths {
            let total = *offsets.last().expect("starts with one element") as usize + length;
            let total = u32::try_from(total).map_err(|_| {
                let message = format!(
                    "the paragraphs of all {} questions have more than {} characters",
                    split.name(),
                    u32::MAX
                );
                UserError::new(message).hint("cut the file into several, and answer each by itself")
            })?;
            offsets.push(total);
        }
        let characters = *offsets.last().expect("starts with one element") as usize;
        let mut header = serde_json::Map::new();
        let mut places = Vec::new();
        let mut bytes = 0;
        let mut place = |name: &str, dtype: Dtype, numbers: usize| {
            let range = [bytes, bytes + numbers * NUMBER];
            let array = json!({ "dtype": dtype, "shape": [numbers], "data_offsets": range });
            header.insert(name.to_owned(), array);
            bytes = range[1];
            range[0] as u64
        };
        for (array, name, dtype) in ARRAYS {
            let numbers = if array.is_of_characters() {
                characters
            } else {
                lengths.len()
            };
            places.push(place(name, dtype, numbers));
        }
        let offsets_at = place("offsets", Dtype::U32, offsets.len());
        let mut header = serde_json::to_string(&header)?;
        // The format allows spaces after the header; with them every array is aligned when mapped.
        header.extend(std::iter::repeat_n(
            ' ',
            header.len().next_multiple_of(8) - header.len(),
        ));

        let data = (size_of::<u64>() + header.len()) as u64;
        let mut file = File::create(&path)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        file.seek(SeekFrom::Start(data + offsets_at))?;
        file.write_all(bytemuck::cast_slice(&offsets))?;

        let writer_at = |position: u64| -> Result<BufWriter<File>> {
            let mut file = fs_err::OpenOptions::new().write(true).open(&path)?;
            file.seek(SeekFrom::Start(data + position))?;
            Ok(BufWriter::new(file))
        };
        Ok(Self {
            arrays: places.into_iter().map(writer_at).collect::<Result<_>>()?,
            path,
            lengths: lengths.into_iter(),
            written: 0,
        })
    }

    /// Appends the next question's scores.
    ///
    /// # Errors
    /// Fails if they cannot be written, a score is not a number, or the paragraph's length is not
    /// the one announced.
    pub fn push(&mut self, scores: ScoresView<'_>, whole: Whole) -> Result<()> {
        let wholes = [whole.null, whole.window.score];
        let mut all = scores.start.iter().chain(scores.end).chain(&wholes);
        if !all.all(|&score| is_score(score)) {
            return Err(not_a_number(&self.path, self.written).into());
        }
        let length = self.lengths.next();
        ensure!(
            length == Some(scores.start.len()) && length == Some(scores.end.len()),
            "scores of {} characters where {length:?} were announced",
            scores.start.len()
        );
        let Span { start, end, .. } = whole.window;
        ensure!(
            start <= end && Some(end) <= length,
            "span {start}..{end} of {length:?} characters"
        );
        self.write(Array::Start, scores.start)?;
        self.write(Array::End, scores.end)?;
        self.write(Array::Null, &[whole.null])?;
        self.write(Array::WindowScores, &[whole.window.score])?;
        self.write(Array::WindowStarts, &[start as u32])?;
        self.write(Array::WindowEnds, &[end as u32])?;
        self.written += 1;
        Ok(())
    }

    fn write<T: bytemuck::Pod>(&mut self, array: Array, numbers: &[T]) -> Result<()> {
        Ok(self.arrays[array as usize].write_all(bytemuck::cast_slice(numbers))?)
    }

    /// Ends the file. Fails where questions are missing.
    pub fn finish(mut self) -> Result<()> {
        ensure!(
            self.lengths.next().is_none(),
            "{} questions were never scored",
            self.lengths.len() + 1
        );
        for array in &mut self.arrays {
            array.flush()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn written_scores_read_back() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let first = Scores {
            start: vec![1.0, NONE, 2.0],
            end: vec![0.5, 0.25, NONE],
        };
        let mut writer = ScoreWriter::create(directory.path(), Split::Dev, vec![3, 0, 1])?;
        writer.push(first.view(), Whole::NONE)?;
        writer.push(Scores::none(0).view(), Whole::NONE)?;
        assert!(
            writer.push(first.view(), Whole::NONE).is_err(),
            "a wrong length is refused"
        );
        let mut writer = ScoreWriter::create(directory.path(), Split::Dev, vec![3, 0, 1])?;
        let whole = Whole {
            null: -0.5,
            window: Span {
                start: 1,
                end: 3,
                score: 0.25,
            },
        };
        writer.push(first.view(), whole)?;
        writer.push(Scores::none(0).view(), Whole::NONE)?;
        writer.push(Scores::none(1).view(), Whole::with_null(2.0))?;
        writer.finish()?;

        let file = ScoreFile::open(directory.path(), Split::Dev)?.expect("just written");
        assert_eq!(file.questions(), 3);
        assert_eq!(file.get(0)?, (first, whole));
        let block = file.read(1..3)?;
        assert_eq!(block.get(0), Scores::none(0).view());
        assert_eq!(block.get(1), Scores::none(1).view());
        assert_eq!(block.whole(0), Whole::NONE);
        assert_eq!(block.whole(1), Whole::with_null(2.0));
        assert_eq!(file.lengths().collect::<Vec<_>>(), [3, 0, 1]);
        assert!(ScoreFile::open(directory.path(), Split::Test)?.is_none());
        Ok(())
    }

    /// Writes one question's scores and returns the path of the file.
    fn one_question(directory: &Path) -> Result<PathBuf> {
        let scores = Scores {
            start: vec![1.0, NONE],
            end: vec![0.5, 0.25],
        };
        let mut writer = ScoreWriter::create(directory, Split::Dev, vec![2])?;
        writer.push(scores.view(), Whole::with_null(0.125))?;
        writer.finish()?;
        Ok(directory.join(file_name(Split::Dev)))
    }

    #[test]
    fn damaged_files_end_in_a_sentence() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let path = one_question(directory.path())?;
        let bytes = fs_err::read(&path)?;
        let read = || -> Result<()> {
            let file = ScoreFile::open(directory.path(), Split::Dev)?.expect("there");
            file.read(0..file.questions()).map(drop)
        };
        read()?;
        for length in 0..bytes.len() {
            fs_err::write(&path, &bytes[..length])?;
            let error = read().unwrap_err();
            assert!(error.is::<UserError>(), "cut to {length} bytes: {error:#}");
        }
        // Whatever byte is damaged: other numbers or a sentence.
        for index in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[index] ^= 1 << bit;
                fs_err::write(&path, &damaged)?;
                if let Err(error) = read() {
                    assert!(
                        error.is::<UserError>(),
                        "byte {index}, bit {bit}: {error:#}"
                    );
                }
            }
        }
        Ok(())
    }

    #[test]
    fn what_is_not_a_number_is_neither_written_nor_read() -> Result<()> {
        let directory = tempfile::tempdir()?;
        for score in [f32::NAN, f32::INFINITY] {
            let mut writer = ScoreWriter::create(directory.path(), Split::Dev, vec![1])?;
            let (start, end) = (vec![0.0], vec![score]);
            let scores = Scores { start, end };
            for (scores, null) in [(scores, 0.0), (Scores::none(1), score)] {
                let error = writer
                    .push(scores.view(), Whole::with_null(null))
                    .unwrap_err();
                assert!(
                    error
                        .to_string()
                        .ends_with("a score of question 1 is not a number")
                );
            }
        }
        let path = one_question(directory.path())?;
        let mut bytes = fs_err::read(&path)?;
        let end = bytes.len() - 8 - 4 * NUMBER; // behind it are one question's others, and offsets
        bytes[end - 4..end].copy_from_slice(&f32::NAN.to_le_bytes());
        fs_err::write(&path, bytes)?;
        let file = ScoreFile::open(directory.path(), Split::Dev)?.expect("there");
        let error = file.get(0).unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("a score of question 1 is not a number")
        );
        Ok(())
    }

    #[test]
    fn ranges_have_about_as_many_characters() {
        fn check(lengths: &[usize], characters: usize, expected: &[Range<usize>]) {
            let found: Vec<_> = ranges(lengths.iter().copied(), characters).collect();
            assert_eq!(found, expected);
        }
        check(&[], 1000, &[]);
        check(&[200, 200, 200, 200], 600, &[0..2, 2..4]);
        check(&[0, 9000, 0, 0], 600, &[0..1, 1..2, 2..4]);
    }
}
