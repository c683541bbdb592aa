//! The files that a split's answers go to, some answers at a time.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fs_err::File;
use spanwise_artifact::answers::{
    ObjectWriter, SUBMISSION_FILE, nbest_file, null_odds_file, predictions_file,
};
use spanwise_artifact::{Split, fingerprint};

use crate::answer::Answers;

/// A split's files: JSON objects by id, and the submission of test.
pub struct SplitFiles {
    split: Split,
    predictions: Object,
    nbest: Object,
    /// `None` where every question is answered.
    null_odds: Option<Object>,
    submission: Option<csv::Writer<File>>,
    /// Short digests of the ids so far.
    ids: HashSet<[u8; 16]>,
    /// The first id that two questions have.
    repeated: Option<String>,
}

impl SplitFiles {
    /// Starts the files of a split in `directory`. `has_test`: whether test is answered as well.
    ///
    /// # Errors
    /// Fails if a file cannot be created.
    pub fn create(
        directory: &Path,
        split: Split,
        has_test: bool,
        knows_no_answer: bool,
    ) -> Result<Self> {
        let object = |file: &str| Object::create(directory.join(file));
        let null_odds = knows_no_answer.then(|| object(null_odds_file(split, has_test)));
        let submission = (split == Split::Test).then(|| submission(directory));
        Ok(Self {
            split,
            predictions: object(predictions_file(split, has_test))?,
            nbest: object(nbest_file(split, has_test))?,
            null_odds: null_odds.transpose()?,
            submission: submission.transpose()?,
            ids: HashSet::new(),
            repeated: None,
        })
    }

    /// Writes the next answers.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn push(&mut self, some: &Answers) -> Result<()> {
        for row in &some.rows {
            let [id, _] = row;
            if !self.ids.insert(fingerprint::short(id.as_bytes())) {
                self.repeated.get_or_insert_with(|| id.clone());
            }
            if let Some(submission) = &mut self.submission {
                submission.write_record(row)?;
            }
        }
        self.predictions.writer.push(&some.predictions)?;
        self.nbest.writer.push(&some.nbest)?;
        if let (Some(file), Some(some)) = (&mut self.null_odds, &some.null_odds) {
            file.writer.push(some)?;
        }
        Ok(())
    }

    /// Ends the files. Objects in which an id would stand twice are removed: their readers would take
    /// one of the answers for both questions, without a word.
    ///
    /// # Errors
    /// Fails if a file cannot be written.
    pub fn finish(mut self) -> Result<()> {
        if let Some(submission) = &mut self.submission {
            submission.flush()?;
        }
        let objects = [Some(self.predictions), Some(self.nbest), self.null_odds];
        for object in objects.into_iter().flatten() {
            object.writer.finish()?;
            if self.repeated.is_some() {
                fs_err::remove_file(object.path)?;
            }
        }
        if let Some(id) = self.repeated {
            tracing::warn!(
                "{}: several questions have the id {id:?}, so there are no files of answers by id; answers.jsonl has them all",
                self.split.name()
            );
        }
        Ok(())
    }
}

/// A JSON object by id.
struct Object {
    path: PathBuf,
    writer: ObjectWriter,
}

impl Object {
    fn create(path: PathBuf) -> Result<Self> {
        let writer = ObjectWriter::create(&path)?;
        Ok(Self { path, writer })
    }
}

/// Starts a file with the columns `ID` and `Answer`, in which a field is in quotes where it needs
/// them.
fn submission(directory: &Path) -> Result<csv::Writer<File>> {
    let file = File::create(directory.join(SUBMISSION_FILE))?;
    let mut writer = csv::Writer::from_writer(file);
    writer.write_record(["ID", "Answer"])?;
    Ok(writer)
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::answers::NBest;

    use super::*;

    fn answers(ids: &[&str]) -> Answers {
        let mut answers = Answers::default();
        for id in ids {
            answers.predictions.push(id, &"a").unwrap();
            answers.nbest.push(id, &Vec::<NBest>::new()).unwrap();
            answers.rows.push([(*id).to_owned(), "a".to_owned()]);
        }
        answers
    }

    #[test]
    fn objects_by_id_are_written_where_ids_tell_questions_apart() -> Result<()> {
        for (ids, expected) in [
            ([&["0", "1"][..], &["2"]], true),
            ([&["0", "1"], &["0"]], false),
            ([&[], &[]], true),
        ] {
            let directory = tempfile::tempdir()?;
            let path = directory.path();
            let mut files = SplitFiles::create(path, Split::Dev, false, true)?;
            for some in ids {
                files.push(&answers(some))?;
            }
            files.finish()?;
            for file in [predictions_file, nbest_file, null_odds_file] {
                let file = path.join(file(Split::Dev, false));
                assert_eq!(file.exists(), expected, "{ids:?}: {}", file.display());
            }
        }
        Ok(())
    }
}
