//! What predict and ensemble write: a start and an end score for every paragraph character.
//!
//! `<split>.safetensors` holds `start` and `end` (f32, the characters of all questions' paragraphs one
//! after the other) and `offsets` (u32, where each question begins, and the total). A score is a raw
//! logit, comparable across the windows of one question; a character no token starts (or ends) at has
//! minus infinity. Questions stand in the order of the data artifact.

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
    /// First character.
    pub start: usize,
    /// Last character, inclusive.
    pub end: usize,
    /// How well it answers: start score plus end score, or what the ensemble ranks by.
    pub score: f32,
}

impl Span {
    /// The character range, half-open.
    pub fn range(&self) -> std::ops::Range<usize> {
        self.start..self.end + 1
    }
}

impl ScoresView<'_> {
    /// The scores with a score for every character: where an answer cannot start, that of the last character before
    /// it where one can, and where it cannot end, that of the first character after. So any span gets the score of
    /// the tightest one that covers it; minus infinity only where none does.
    pub fn covering(&self) -> Scores {
        let mut covering = Scores {
            start: self.start.to_vec(),
            end: self.end.to_vec(),
        };
        let fill = |last: &mut f32, score: &mut f32| {
            if *score == f32::NEG_INFINITY {
                *score = *last;
            }
            *last = *score;
        };
        let mut last = f32::NEG_INFINITY;
        covering
            .start
            .iter_mut()
            .for_each(|score| fill(&mut last, score));
        let mut last = f32::NEG_INFINITY;
        covering
            .end
            .iter_mut()
            .rev()
            .for_each(|score| fill(&mut last, score));
        covering
    }

    /// Start score plus end score of a span.
    pub fn of(&self, start: usize, end: usize) -> f32 {
        self.start[start] + self.end[end]
    }

    /// The `count` best spans of at most `max_length` characters with `start ≤ end`, best first: exact
    /// over all pairs. Of equal scores the earlier and shorter span comes first. Empty where no
    /// character is a candidate.
    pub fn best_spans(&self, max_length: usize, count: usize) -> Vec<Span> {
        let mut best: Vec<Span> = Vec::with_capacity(count + 1);
        for (start, &start_score) in self.start.iter().enumerate() {
            if start_score == f32::NEG_INFINITY {
                continue;
            }
            let last = self.end.len().min(start + max_length);
            for (end, &end_score) in self.end[..last].iter().enumerate().skip(start) {
                let score = start_score + end_score;
                let enters =
                    best.len() < count || best.last().is_some_and(|worst| score > worst.score);
                if end_score == f32::NEG_INFINITY || !enters {
                    continue;
                }
                let rank = best.partition_point(|other| other.score >= score);
                best.insert(rank, Span { start, end, score });
                best.truncate(count);
            }
        }
        best
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
    /// Starts the file of a split whose paragraphs have these lengths in characters, one a question.
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
    use proptest::prelude::*;

    use super::*;

    fn spans(start: &[f32], end: &[f32], max_length: usize, count: usize) -> Vec<(usize, usize)> {
        let spans = ScoresView { start, end }.best_spans(max_length, count);
        spans.iter().map(|span| (span.start, span.end)).collect()
    }

    const NONE: f32 = f32::NEG_INFINITY;

    #[test]
    fn best_spans_cases() {
        // One character is an answer.
        assert_eq!(spans(&[0.0, 5.0], &[0.0, 5.0], 30, 1), [(1, 1)]);
        // The best end given the best start is not the best pair.
        assert_eq!(spans(&[3.0, 2.9], &[NONE, 0.0], 30, 1), [(0, 1)]);
        assert_eq!(spans(&[3.0, 2.9, 0.0], &[NONE, 9.0, 0.0], 1, 1), [(1, 1)]);
        // End before start is never offered, and the cap counts characters.
        assert_eq!(spans(&[0.0, 0.0, 9.0], &[9.0, 0.0, 0.0], 30, 1), [(0, 0)]);
        assert_eq!(spans(&[9.0, NONE, NONE], &[NONE, NONE, 9.0], 2, 1), []);
        assert_eq!(
            spans(&[9.0, NONE, NONE], &[NONE, NONE, 9.0], 3, 1),
            [(0, 2)]
        );
        assert_eq!(spans(&[NONE], &[NONE], 30, 5), []);
        assert_eq!(spans(&[], &[], 30, 5), []);
    }

    #[test]
    fn a_span_that_tokens_cannot_express_scores_as_the_tightest_around_it() {
        // Tokens: characters 0–1, 2, and 4; nothing stands for the space at 3.
        let scores = ScoresView {
            start: &[1.0, NONE, 2.0, NONE, 3.0],
            end: &[NONE, 10.0, 20.0, NONE, 30.0],
        };
        let covering = scores.covering();
        assert_eq!(covering.start, [1.0, 1.0, 2.0, 2.0, 3.0]);
        assert_eq!(covering.end, [10.0, 10.0, 20.0, 30.0, 30.0]);
        assert_eq!(covering.view().of(1, 1), scores.of(0, 1));
        let nothing = Scores::none(2);
        assert_eq!(nothing.view().covering(), nothing);
    }

    proptest! {
        #[test]
        fn best_spans_equal_exhaustive_search(
            scores in prop::collection::vec((-5i8..5, -5i8..5, prop::bool::weighted(0.2)), 0..30),
            max_length in 1usize..12,
            count in 1usize..8,
        ) {
            let start: Vec<f32> = scores.iter().map(|s| if s.2 { NONE } else { f32::from(s.0) }).collect();
            let end: Vec<f32> = scores.iter().map(|s| if s.2 { NONE } else { f32::from(s.1) }).collect();
            let mut all = Vec::new();
            for (i, start) in start.iter().enumerate() {
                for (j, end) in end.iter().enumerate().skip(i).take(max_length) {
                    let score = start + end;
                    if score > NONE {
                        all.push(Span { start: i, end: j, score });
                    }
                }
            }
            all.sort_by(|a, b| b.score.total_cmp(&a.score)); // stable: ties stay in order of position
            all.truncate(count);
            prop_assert_eq!(ScoresView { start: &start, end: &end }.best_spans(max_length, count), all);
        }
    }

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
