//! The scores of all members, some questions at a time.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, ensure};
use spanwise_artifact::scores::{self, ScoreBlock, ScoreFile, ScoresView, Whole};
use spanwise_artifact::{Split, UserError};

/// Characters read at a time, of one member.
const CHARACTERS: usize = 1 << 17;

/// One split of all members.
pub struct Members {
    /// Of every member a file, or one a fold.
    files: Vec<Vec<ScoreFile>>,
    /// Length of every question's paragraph in characters.
    lengths: Vec<usize>,
    /// Of every question its file and its index in that file; `None` where there is one file.
    places: Option<Vec<Place>>,
}

/// Where a question is: its file, and its index in that file.
type Place = (u32, u32);

impl Members {
    /// Opens a split of the members' prediction artifacts; `None` where no member has it. A member
    /// is one artifact, or one per fold; `folds` holds the fold of every question.
    ///
    /// # Errors
    /// Where the members have scored different questions.
    pub fn open(
        members: &[Vec<&Path>],
        split: Split,
        folds: Option<&[usize]>,
    ) -> Result<Option<Self>> {
        let open = |artifacts: &Vec<&Path>| -> Result<Vec<ScoreFile>> {
            let files = artifacts
                .iter()
                .map(|artifact| ScoreFile::open(artifact, split));
            Ok(files
                .collect::<Result<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect())
        };
        let members = members.iter().map(open).collect::<Result<Vec<_>>>()?;
        if members.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let differ = || {
            UserError::new(format!(
                "the members have scored different {} questions",
                split.name()
            ))
        };
        let places = match folds {
            Some(folds) => {
                let mut all = members.iter();
                let places =
                    places(folds, &members[0]).filter(|_| all.all(|files| complete(folds, files)));
                Some(places.ok_or_else(differ)?)
            }
            None => None,
        };
        let one_each = members.iter().all(|files| files.len() == 1);
        ensure!(places.is_some() || one_each, differ());
        let mut split = Self {
            files: members,
            lengths: Vec::new(),
            places,
        };
        split.lengths = split.lengths_of(0).collect();
        let same = |member| split.lengths_of(member).eq(split.lengths.iter().copied());
        ensure!((1..split.count()).all(same), differ());
        Ok(Some(split))
    }

    /// Number of members.
    pub fn count(&self) -> usize {
        self.files.len()
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.lengths.len()
    }

    /// Length of every question's paragraph in characters.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Ranges of questions, to be read one after the other.
    pub fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        scores::ranges(self.lengths.iter().copied(), CHARACTERS / self.count())
    }

    /// Reads all members' scores of consecutive questions.
    ///
    /// # Errors
    /// As [`ScoreFile::read`].
    pub fn read(&self, questions: Range<usize>) -> Result<MemberBlock<'_>> {
        let ranges: Vec<Range<usize>> = match &self.places {
            None => vec![questions.clone()],
            Some(places) => (0..self.files[0].len())
                .map(|file| {
                    let places = places[questions.clone()].iter();
                    let mut indices = places
                        .filter(|place| place.0 as usize == file)
                        .map(|place| place.1 as usize);
                    let first = indices.next();
                    first.map_or(0..0, |first| {
                        first..indices.next_back().unwrap_or(first) + 1
                    })
                })
                .collect(),
        };
        let read = |files: &Vec<ScoreFile>| -> Result<Vec<ScoreBlock>> {
            let files = files.iter().zip(&ranges);
            files
                .map(|(file, range)| file.read(range.clone()))
                .collect()
        };
        Ok(MemberBlock {
            blocks: self.files.iter().map(read).collect::<Result<_>>()?,
            first: questions.start,
            ranges,
            places: self.places.as_deref(),
        })
    }

    fn lengths_of(&self, member: usize) -> Box<dyn Iterator<Item = usize> + '_> {
        let files = &self.files[member];
        match &self.places {
            None => Box::new(files[0].lengths()),
            Some(places) => {
                let mut lengths: Vec<_> = files.iter().map(ScoreFile::lengths).collect();
                // The files' questions are in order.
                let next = move |place: &Place| lengths[place.0 as usize].next();
                Box::new(places.iter().filter_map(next))
            }
        }
    }
}

/// All members' scores of consecutive questions.
pub struct MemberBlock<'a> {
    /// `[member][file]`
    blocks: Vec<Vec<ScoreBlock>>,
    /// Index of the first question in the split.
    first: usize,
    /// What is read of each file.
    ranges: Vec<Range<usize>>,
    places: Option<&'a [Place]>,
}

impl MemberBlock<'_> {
    /// All members' scores of a question, by its index in the split.
    pub fn get(&self, question: usize) -> Vec<ScoresView<'_>> {
        let (file, index) = self.place(question);
        let members = self.blocks.iter();
        members.map(|files| files[file].get(index)).collect()
    }

    /// What all members know of a question besides the scores of its characters.
    pub fn wholes(&self, question: usize) -> Vec<Whole> {
        let (file, index) = self.place(question);
        let members = self.blocks.iter();
        members.map(|files| files[file].whole(index)).collect()
    }

    /// Returns a question's file, and its index in what is read of it.
    fn place(&self, question: usize) -> (usize, usize) {
        let (file, index) = match self.places {
            None => (0, question),
            Some(places) => (places[question].0 as usize, places[question].1 as usize),
        };
        debug_assert!(question >= self.first);
        (file, index - self.ranges[file].start)
    }
}

/// Returns every question's place: each fold's file has its questions in order. `None` where there
/// are more folds than files.
fn places(folds: &[usize], files: &[ScoreFile]) -> Option<Vec<Place>> {
    let mut next = vec![0; files.len()];
    let places = folds.iter().map(|&fold| {
        let index = next.get_mut(fold)?;
        *index += 1;
        Some((fold as u32, *index - 1))
    });
    places.collect()
}

/// Whether the files of a member have as many questions as the folds.
fn complete(folds: &[usize], files: &[ScoreFile]) -> bool {
    let mut counts = vec![0; files.len()];
    for &fold in folds {
        match counts.get_mut(fold) {
            Some(count) => *count += 1,
            None => return false,
        }
    }
    files.iter().map(ScoreFile::questions).eq(counts)
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::scores::{ScoreWriter, Scores};

    use super::*;

    /// A prediction artifact whose questions have these lengths; every score is `score`, and that of
    /// a question's first character its index behind it.
    fn prediction(split: Split, lengths: &[usize], score: f32) -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        let mut writer = ScoreWriter::create(directory.path(), split, lengths.to_vec())?;
        for (index, &length) in lengths.iter().enumerate() {
            let mut column = vec![score; length];
            column[0] += index as f32 / 10.0;
            let column_sum = column.iter().sum::<f32>();
            let (start, end) = (column.clone(), column);
            writer.push(Scores { start, end }.view(), Whole::with_null(-column_sum))?;
        }
        writer.finish()?;
        Ok(directory)
    }

    #[test]
    fn members_must_have_scored_the_same_questions() -> Result<()> {
        let a = prediction(Split::Dev, &[2, 3], 0.0)?;
        let b = prediction(Split::Dev, &[2, 4], 0.0)?;
        let c = prediction(Split::Dev, &[2], 0.0)?;
        let empty = tempfile::tempdir()?;
        let open = |members: &[&tempfile::TempDir], split| {
            let members: Vec<Vec<&Path>> = members.iter().map(|m| vec![m.path()]).collect();
            Members::open(&members, split, None)
        };
        let both = open(&[&a, &a], Split::Dev)?.expect("there");
        assert_eq!((both.count(), both.questions()), (2, 2));
        assert!(open(&[&a], Split::Test)?.is_none());
        for other in [&b, &c, &empty] {
            assert!(open(&[&a, other], Split::Dev).is_err());
            assert!(open(&[other, &a], Split::Dev).is_err());
        }
        Ok(())
    }

    #[test]
    fn every_question_is_read_from_the_file_of_its_fold() -> Result<()> {
        let first = prediction(Split::Dev, &[2, 3], 1.0)?;
        let second = prediction(Split::Dev, &[4], 2.0)?;
        let member = vec![first.path(), second.path()];
        let open =
            |folds: &[usize]| Members::open(std::slice::from_ref(&member), Split::Dev, Some(folds));
        let members = open(&[0, 1, 0])?.expect("there");
        assert_eq!(members.lengths(), [2, 4, 3]);
        for range in [0..3, 0..1, 1..3, 2..3, 1..2] {
            let block = members.read(range.clone())?;
            for question in range {
                let score = block.get(question)[0].start[0];
                assert_eq!(score, [1.0, 2.0, 1.1][question]);
                let null = block.wholes(question)[0].null;
                assert_eq!(null, [-2.0, -8.0, -3.1][question]);
            }
        }
        for folds in [&[0, 0][..], &[0, 1, 1], &[0, 1, 2], &[0, 0, 0]] {
            assert!(open(folds).is_err(), "{folds:?}");
        }
        Ok(())
    }
}
