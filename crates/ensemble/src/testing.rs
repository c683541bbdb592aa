//! Artifacts of a few questions for this crate's tests.

use std::path::Path;

use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::{ScoreWriter, Scores, Whole};
use spanwise_artifact::{Paragraph, Question, QuestionFile, Reference, Split};

use crate::dev::Dev;
use crate::members::Members;

/// A dev question.
pub(crate) struct TestQuestion {
    /// Every member's scores.
    pub(crate) members: Vec<Scores>,
    /// The paragraph's index. All have the same text.
    pub(crate) paragraph: usize,
    /// What is known about the answer.
    pub(crate) references: Reference,
}

/// Every member's score of no answer.
pub(crate) const NULL: f32 = 1.0;

/// Writes artifacts of these questions and reads them as dev.
pub(crate) fn with_dev(paragraph: &str, questions: &[TestQuestion], test: impl FnOnce(&Dev)) {
    let data = tempfile::tempdir().unwrap();
    let paragraphs = questions.iter().map(|question| question.paragraph + 1);
    Questions {
        paragraphs: vec![
            Paragraph {
                text: paragraph.to_owned(),
                article: None,
            };
            paragraphs.max().unwrap_or(0)
        ],
        questions: questions
            .iter()
            .map(|question| Question {
                id: String::new(),
                paragraph: question.paragraph,
                text: String::new(),
                reference: question.references.clone(),
            })
            .collect(),
    }
    .write(data.path(), Split::Dev)
    .unwrap();
    let predictions: Vec<tempfile::TempDir> = (0..questions[0].members.len())
        .map(|member| {
            let directory = tempfile::tempdir().unwrap();
            let scores = questions.iter().map(|question| &question.members[member]);
            let lengths = scores.clone().map(|scores| scores.start.len()).collect();
            let mut writer = ScoreWriter::create(directory.path(), Split::Dev, lengths).unwrap();
            // No answer scores in between the best spans of tests and their others.
            let whole = Whole::with_null(NULL);
            scores.for_each(|scores| writer.push(scores.view(), whole).unwrap());
            writer.finish().unwrap();
            directory
        })
        .collect();
    let predictions: Vec<Vec<&Path>> = predictions.iter().map(|one| vec![one.path()]).collect();
    let members = Members::open(&predictions, Split::Dev, None).unwrap();
    let questions = QuestionFile::open(data.path(), Split::Dev).unwrap();
    test(&Dev::read(&members.unwrap(), &questions.unwrap()).unwrap());
}
