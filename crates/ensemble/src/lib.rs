//! Several members' scores made one, in character space, so that members need not share a tokenizer.

#![warn(missing_docs)]

use std::path::Path;

use anyhow::{Result, ensure};
use spanwise_artifact::scores::{ScoreFile, ScoreWriter, Scores, ScoresView};
use spanwise_artifact::{Split, UserError};

/// The mean of the members' raw scores, character by character.
///
/// A character is a candidate where it is one for every member: the mean with minus infinity is minus
/// infinity. A single member passes through unchanged.
///
/// # Panics
/// Unless there is a member and all score the same characters.
pub fn mean(members: &[ScoresView]) -> Scores {
    let average = |column: fn(&ScoresView) -> Vec<f32>| {
        let columns: Vec<Vec<f32>> = members.iter().map(column).collect();
        let length = columns[0].len();
        assert!(
            columns.iter().all(|column| column.len() == length),
            "members score different paragraphs"
        );
        let mean_at = |place: usize| {
            columns.iter().map(|column| column[place]).sum::<f32>() / columns.len() as f32
        };
        (0..length).map(mean_at).collect()
    };
    Scores {
        start: average(|scores| scores.start.to_vec()),
        end: average(|scores| scores.end.to_vec()),
    }
}

/// Combines one split of the members' prediction artifacts into `output`. Nothing happens where no
/// member has the split.
pub fn combine(members: &[&Path], split: Split, output: &Path) -> Result<()> {
    let files = members
        .iter()
        .map(|member| ScoreFile::open(member, split))
        .collect::<Result<Vec<_>>>()?;
    let present = files.iter().flatten().count();
    if present == 0 {
        return Ok(());
    }
    let files: Vec<ScoreFile> = files.into_iter().flatten().collect();
    let lengths: Vec<usize> = files[0].lengths().collect();
    ensure!(
        present == members.len()
            && files
                .iter()
                .all(|file| file.lengths().eq(lengths.iter().copied())),
        UserError::new(format!(
            "the members have not scored the same {} questions",
            split.name()
        ))
    );
    let mut writer = ScoreWriter::create(output, split, lengths)?;
    for question in 0..files[0].questions() {
        let members: Vec<ScoresView> = files.iter().map(|file| file.get(question)).collect();
        writer.push(mean(&members).view())?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: f32 = f32::NEG_INFINITY;

    fn scores(start: &[f32], end: &[f32]) -> Scores {
        Scores {
            start: start.to_vec(),
            end: end.to_vec(),
        }
    }

    #[test]
    fn mean_cases() {
        let one = scores(&[1.0, NONE], &[0.3, 7.0]);
        let two = scores(&[3.0, 5.0], &[0.1, -1.0]);
        assert_eq!(mean(&[one.view()]), one);
        assert_eq!(
            mean(&[one.view(), two.view()]),
            scores(&[2.0, NONE], &[0.2, 3.0])
        );
    }

    #[test]
    fn members_must_have_scored_the_same_questions() -> Result<()> {
        let write = |lengths: &[usize]| -> Result<tempfile::TempDir> {
            let directory = tempfile::tempdir()?;
            let mut writer = ScoreWriter::create(directory.path(), Split::Dev, lengths.to_vec())?;
            for &length in lengths {
                writer.push(Scores::none(length).view())?;
            }
            writer.finish()?;
            Ok(directory)
        };
        let (a, b, output) = (write(&[2, 3])?, write(&[2, 4])?, tempfile::tempdir()?);
        combine(&[a.path(), a.path()], Split::Dev, output.path())?;
        assert_eq!(
            ScoreFile::open(output.path(), Split::Dev)?.map(|file| file.questions()),
            Some(2)
        );
        combine(&[a.path()], Split::Test, output.path())?;
        assert!(ScoreFile::open(output.path(), Split::Test)?.is_none());
        assert!(combine(&[a.path(), b.path()], Split::Dev, output.path()).is_err());
        assert!(combine(&[a.path(), output.path()], Split::Test, output.path()).is_ok());
        Ok(())
    }
}
