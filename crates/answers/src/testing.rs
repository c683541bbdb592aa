//! Artifacts of a few questions for this crate's tests.

use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::{ScoreWriter, Scores, Whole};
use spanwise_artifact::settings::{Metric, MlqaLanguage};
use spanwise_artifact::{Paragraph, Question, Split};

use crate::metrics::Headline;
use crate::split::ScoredSplit;

/// The task's metric.
pub(crate) const TASK: Headline = Headline {
    metric: Metric::Task,
    language: MlqaLanguage::Chinese,
};

/// Artifacts of data and of scores with a dev split.
pub(crate) struct TestSplit {
    data: tempfile::TempDir,
    scores: tempfile::TempDir,
}

impl TestSplit {
    /// Writes these questions, about paragraphs that all have the same text.
    pub(crate) fn new(paragraph: &str, questions: &[(Question, Scores)]) -> Self {
        let data = tempfile::tempdir().unwrap();
        let scores = tempfile::tempdir().unwrap();
        let paragraphs = questions.iter().map(|(question, _)| question.paragraph + 1);
        let text = Paragraph {
            text: paragraph.to_owned(),
            article: None,
        };
        Questions {
            paragraphs: vec![text; paragraphs.max().unwrap_or(0)],
            questions: questions
                .iter()
                .map(|(question, _)| question.clone())
                .collect(),
        }
        .write(data.path(), Split::Dev)
        .unwrap();
        let lengths = questions.iter().map(|(_, scores)| scores.start.len());
        let mut writer = ScoreWriter::create(scores.path(), Split::Dev, lengths.collect()).unwrap();
        for (_, scores) in questions {
            writer.push(scores.view(), Whole::NONE).unwrap();
        }
        writer.finish().unwrap();
        Self { data, scores }
    }

    /// Opens the split.
    pub(crate) fn open(&self) -> ScoredSplit {
        let split = ScoredSplit::open(self.data.path(), self.scores.path(), Split::Dev, TASK);
        split.unwrap().unwrap()
    }
}
