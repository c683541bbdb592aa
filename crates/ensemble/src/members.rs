//! The scores of all members, question by question.

use std::path::Path;

use anyhow::{Result, ensure};
use spanwise_artifact::scores::{ScoreFile, ScoresView};
use spanwise_artifact::{Split, UserError};

/// One split of all members.
pub struct Members {
    members: Vec<Member>,
    /// Length of every question's paragraph in characters.
    lengths: Vec<usize>,
}

/// A member's scores: from one model, or from one model per fold.
struct Member {
    files: Vec<ScoreFile>,
    /// Of every question: the index of its file, and its index in that file.
    indices: Vec<(usize, usize)>,
}

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
        let files = members.iter().map(open).collect::<Result<Vec<_>>>()?;
        if files.iter().all(Vec::is_empty) {
            return Ok(None);
        }
        let differ = || {
            UserError::new(format!(
                "the members have scored different {} questions",
                split.name()
            ))
        };
        let members = files
            .into_iter()
            .map(|files| {
                let questions: usize = files.iter().map(ScoreFile::questions).sum();
                let indices = match folds {
                    Some(folds) => in_folds(folds, &files).ok_or_else(differ)?,
                    None => (0..questions).map(|question| (0, question)).collect(),
                };
                ensure!(folds.is_some() || files.len() == 1, differ());
                Ok(Member { files, indices })
            })
            .collect::<Result<Vec<_>>>()?;
        let lengths = |member: &Member| -> Vec<usize> {
            let length =
                |&(file, index): &(usize, usize)| member.files[file].get(index).start.len();
            member.indices.iter().map(length).collect()
        };
        let first = lengths(&members[0]);
        ensure!(
            members.iter().all(|member| lengths(member) == first),
            differ()
        );
        Ok(Some(Self {
            members,
            lengths: first,
        }))
    }

    /// Number of members.
    pub fn count(&self) -> usize {
        self.members.len()
    }

    /// Number of questions.
    pub fn questions(&self) -> usize {
        self.lengths.len()
    }

    /// Length of every question's paragraph in characters.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// All members' scores of a question.
    pub fn get(&self, question: usize) -> Vec<ScoresView<'_>> {
        let views = self.members.iter().map(|member| {
            let (file, index) = member.indices[question];
            member.files[file].get(index)
        });
        views.collect()
    }
}

/// Returns for every question the index of its file and its index in that file: each fold's file
/// has its questions in order. `None` where the files have other numbers of questions than the
/// folds.
fn in_folds(folds: &[usize], files: &[ScoreFile]) -> Option<Vec<(usize, usize)>> {
    let mut next = vec![0; files.len()];
    let mut indices = Vec::with_capacity(folds.len());
    for &fold in folds {
        let index = next.get_mut(fold)?;
        indices.push((fold, *index));
        *index += 1;
    }
    let complete = files
        .iter()
        .zip(&next)
        .all(|(file, &count)| file.questions() == count);
    complete.then_some(indices)
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::scores::{ScoreWriter, Scores};

    use super::*;

    /// A prediction artifact whose questions have these lengths; every score is `score`.
    fn prediction(split: Split, lengths: &[usize], score: f32) -> Result<tempfile::TempDir> {
        let directory = tempfile::tempdir()?;
        let mut writer = ScoreWriter::create(directory.path(), split, lengths.to_vec())?;
        for &length in lengths {
            let column = vec![score; length];
            let (start, end) = (column.clone(), column);
            writer.push(Scores { start, end }.view())?;
        }
        writer.finish()?;
        Ok(directory)
    }

    #[test]
    fn members_must_have_scored_the_same_questions() -> Result<()> {
        let a = prediction(Split::Dev, &[2, 3], 0.0)?;
        let b = prediction(Split::Dev, &[2, 4], 0.0)?;
        let empty = tempfile::tempdir()?;
        let open = |members: &[&tempfile::TempDir], split| {
            let members: Vec<Vec<&Path>> = members.iter().map(|m| vec![m.path()]).collect();
            Members::open(&members, split, None)
        };
        let both = open(&[&a, &a], Split::Dev)?.expect("there");
        assert_eq!((both.count(), both.questions()), (2, 2));
        assert!(open(&[&a], Split::Test)?.is_none());
        assert!(open(&[&a, &b], Split::Dev).is_err());
        assert!(open(&[&a, &empty], Split::Dev).is_err());
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
        let score = |question: usize| members.get(question)[0].start[0];
        assert_eq!([score(0), score(1), score(2)], [1.0, 2.0, 1.0]);
        for folds in [&[0, 0][..], &[0, 1, 1], &[0, 1, 2]] {
            assert!(open(folds).is_err(), "{folds:?}");
        }
        Ok(())
    }
}
