//! A task small enough for a test, that models learn in a second: the answer is the run of tokens
//! with high ids.

use std::ops::Range;

use anyhow::Result;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::Placement;
use spanwise_artifact::windows::{Layout, Special, Template, WindowArrays, WindowFile};
use spanwise_artifact::{Answer, Paragraph, Question, Split};
use spanwise_training::derive_seed;

/// Tokens of these ids are the answer.
const ANSWER_IDS: Range<u32> = 60..80;

/// The task's files.
pub struct Files {
    /// Where they are.
    pub directory: tempfile::TempDir,
    /// Pair template and lengths.
    pub layout: Layout,
    /// 64 training questions.
    pub train: WindowFile,
    /// 24 dev questions.
    pub dev: WindowFile,
    /// The dev questions' references.
    pub references: Questions,
}

impl Files {
    /// Writes and opens the files.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        task(64).0.write(directory.path(), Split::Train)?;
        let (dev, references) = task(24);
        dev.write(directory.path(), Split::Dev)?;
        Ok(Self {
            layout: layout(),
            train: open(&directory, Split::Train)?,
            dev: open(&directory, Split::Dev)?,
            references,
            directory,
        })
    }

    /// Opens the windows of a split once more.
    pub fn open(&self, split: Split) -> Result<WindowFile> {
        open(&self.directory, split)
    }
}

fn open(directory: &tempfile::TempDir, split: Split) -> Result<WindowFile> {
    Ok(WindowFile::open(directory.path(), split)?.expect("just written"))
}

fn layout() -> Layout {
    let special = |id, token_type| vec![Special { id, token_type }];
    let template = Template {
        before: special(1, 0),
        between: special(2, 0),
        after: special(2, 1),
        question_type: 0,
        paragraph_type: 1,
        padding_id: 0,
        mask_id: Some(4),
    };
    Layout {
        max_length: 20,
        placement: Placement::Random,
        template,
    }
}

/// `count` questions, each on a paragraph of its own: one character a token, one answer somewhere.
fn task(count: usize) -> (WindowArrays, Questions) {
    let mut arrays = WindowArrays::default();
    let mut questions = Questions::default();
    for index in 0..count {
        let sample =
            |below: usize, salt: u64| (derive_seed(index as u64, salt) % below as u64) as usize;
        let length = 10 + sample(20, 1);
        let answer_length = 1 + sample(3, 2);
        let start = sample(length - answer_length, 3);
        let ids: Vec<u32> = (0..length)
            .map(|position| {
                if (start..start + answer_length).contains(&position) {
                    ANSWER_IDS.start + sample(ANSWER_IDS.len(), 100 + position as u64) as u32
                } else {
                    10 + sample(50, 200 + position as u64) as u32
                }
            })
            .collect();
        let text: String = ids
            .iter()
            .filter_map(|id| char::from_u32(0x4e00 + id))
            .collect();
        let answer: String = text.chars().skip(start).take(answer_length).collect();
        questions.paragraphs.push(Paragraph {
            text,
            article: None,
        });
        questions.questions.push(Question {
            id: index.to_string(),
            paragraph: index,
            text: "?".to_owned(),
            answers: vec![Answer {
                text: answer,
                start,
            }],
        });
        let characters: Vec<_> = (0..length).map(|index| index..index + 1).collect();
        arrays
            .push_paragraph(&ids, &characters, length)
            .expect("a range for each token");
        arrays
            .push_question(&[5, 6], index, Some(start..start + answer_length))
            .expect("the paragraph was pushed");
        let room = layout().room(2);
        for start in (0..).step_by(7) {
            arrays
                .push_window(start..(start + room).min(length))
                .expect("the question was pushed");
            if start + room >= length {
                break;
            }
        }
    }
    (arrays, questions)
}
