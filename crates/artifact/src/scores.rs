//! What predict and ensemble write: a start and an end score for every paragraph character.
//!
//! `<split>.safetensors` holds `start` and `end` (f32, the characters of all questions' paragraphs
//! one after the other) and `offsets` (u32, where each question begins, and the total). A score is
//! a raw logit, comparable across the windows of one question; a character no token starts (or
//! ends) at has minus infinity. Questions are in the order of the data artifact.

use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Result, ensure};
use fs_err::File;
use serde::{Deserialize, Serialize};

use crate::columns::Columns;
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
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }
}

/// A split's scores, memory-mapped.
pub struct ScoreFile {
    columns: Columns,
}

impl ScoreFile {
    /// Opens a split; `None` where the artifact has none.
    pub fn open(directory: &Path, split: Split) -> Result<Option<Self>> {
        let path = directory.join(file_name(split));
        if !path.exists() {
            return Ok(None);
        }
        let columns = Columns::open(&path)?;
        let offsets = columns.u32s("offsets")?;
        let total = offsets.last().copied().unwrap_or(0) as usize;
        ensure!(
            columns.f32s("start")?.len() == total && columns.f32s("end")?.len() == total,
            "{}: the arrays differ in length",
            path.display()
        );
        Ok(Some(Self { columns }))
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.array_of_offsets().len() - 1
    }

    /// A question's scores.
    pub fn get(&self, question: usize) -> ScoresView<'_> {
        let offsets = self.array_of_offsets();
        let range = offsets[question] as usize..offsets[question + 1] as usize;
        ScoresView {
            start: &self.scores("start")[range.clone()],
            end: &self.scores("end")[range],
        }
    }

    /// Characters of every question's paragraph, in order.
    pub fn lengths(&self) -> impl Iterator<Item = usize> {
        self.array_of_offsets()
            .windows(2)
            .map(|pair| (pair[1] - pair[0]) as usize)
    }

    fn array_of_offsets(&self) -> &[u32] {
        self.columns.u32s("offsets").expect("checked when opened")
    }

    fn scores(&self, name: &str) -> &[f32] {
        self.columns.f32s(name).expect("checked when opened")
    }
}

/// Writes a split's scores one question at a time, holding none of them.
pub struct ScoreWriter {
    start: BufWriter<File>,
    end: BufWriter<File>,
    lengths: std::vec::IntoIter<usize>,
}

impl ScoreWriter {
    /// Starts the file of a split whose paragraphs have these lengths in characters, one a
    /// question.
    pub fn create(directory: &Path, split: Split, lengths: Vec<usize>) -> Result<Self> {
        let path = directory.join(file_name(split));
        let mut offsets = vec![0u32];
        for &length in &lengths {
            let total = *offsets.last().expect("starts with one element") as usize + length;
            offsets.push(u32::try_from(total)?);
        }
        let scores = *offsets.last().expect("starts with one element") as usize * size_of::<f32>();
        let index = offsets.len() * size_of::<u32>();
        let column = |dtype: &str, from: usize, bytes: usize| serde_json::json!({ "dtype": dtype, "shape": [bytes / 4], "data_offsets": [from, from + bytes] });
        let mut header = serde_json::to_string(&serde_json::json!({
            "start": column("F32", 0, scores),
            "end": column("F32", scores, scores),
            "offsets": column("U32", 2 * scores, index),
        }))?;
        // The format allows spaces after the header; with them every array is aligned when mapped.
        header.extend(std::iter::repeat_n(
            ' ',
            header.len().next_multiple_of(8) - header.len(),
        ));

        let data = (size_of::<u64>() + header.len()) as u64;
        let mut file = File::create(&path)?;
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        file.seek(SeekFrom::Start(data + 2 * scores as u64))?;
        file.write_all(bytemuck::cast_slice(&offsets))?;

        let writer_at = |position: u64| -> Result<BufWriter<File>> {
            let mut file = fs_err::OpenOptions::new().write(true).open(&path)?;
            file.seek(SeekFrom::Start(position))?;
            Ok(BufWriter::new(file))
        };
        Ok(Self {
            start: writer_at(data)?,
            end: writer_at(data + scores as u64)?,
            lengths: lengths.into_iter(),
        })
    }

    /// Appends the next question's scores.
    pub fn push(&mut self, scores: ScoresView<'_>) -> Result<()> {
        let length = self.lengths.next();
        ensure!(
            length == Some(scores.start.len()) && length == Some(scores.end.len()),
            "scores of {} characters where {length:?} were announced",
            scores.start.len()
        );
        self.start.write_all(bytemuck::cast_slice(scores.start))?;
        self.end.write_all(bytemuck::cast_slice(scores.end))?;
        Ok(())
    }

    /// Ends the file. Fails where questions are missing.
    pub fn finish(mut self) -> Result<()> {
        ensure!(
            self.lengths.next().is_none(),
            "{} questions were never scored",
            self.lengths.len() + 1
        );
        self.start.flush()?;
        self.end.flush()?;
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
        writer.push(first.view())?;
        writer.push(Scores::none(0).view())?;
        assert!(
            writer.push(first.view()).is_err(),
            "a wrong length is refused"
        );
        let mut writer = ScoreWriter::create(directory.path(), Split::Dev, vec![3, 0, 1])?;
        writer.push(first.view())?;
        writer.push(Scores::none(0).view())?;
        writer.push(Scores::none(1).view())?;
        writer.finish()?;

        let file = ScoreFile::open(directory.path(), Split::Dev)?.expect("just written");
        assert_eq!(file.questions(), 3);
        assert_eq!(file.get(0), first.view());
        assert_eq!(file.get(1).start.len(), 0);
        assert_eq!(file.get(2), Scores::none(1).view());
        assert_eq!(file.lengths().collect::<Vec<_>>(), [3, 0, 1]);
        assert!(ScoreFile::open(directory.path(), Split::Test)?.is_none());
        Ok(())
    }
}
