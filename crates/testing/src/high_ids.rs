//! A task small enough for a test, that models learn in a second: the answer is the run of tokens
//! with high ids.

use std::ops::Range;
use std::path::Path;

use anyhow::Result;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::Placement;
use spanwise_artifact::windows::{Layout, Special, Target, Template, WindowFile, WindowWriter};
use spanwise_artifact::{Answer, Paragraph, Question, Reference, Split};
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
        Self::with(|_| false)
    }

    /// Writes and opens files in which every third question is unanswerable: its paragraph has no
    /// high id.
    pub fn with_unanswerable() -> Result<Self> {
        Self::with(|question| question % 3 == 2)
    }

    fn with(is_unanswerable: fn(usize) -> bool) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        write(64, is_unanswerable, directory.path(), Split::Train)?;
        let references = write(24, is_unanswerable, directory.path(), Split::Dev)?;
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

/// A question and its paragraph as tokens.
struct Tokens {
    paragraph: Vec<u32>,
    target: Target,
}

/// Writes `count` questions, each on a paragraph of its own: one character a token, one answer
/// somewhere, or none.
fn write(
    count: usize,
    is_unanswerable: fn(usize) -> bool,
    directory: &Path,
    split: Split,
) -> Result<Questions> {
    let mut questions = Questions::default();
    let mut tokens = Vec::new();
    for index in 0..count {
        let sample =
            |below: usize, salt: u64| (derive_seed(index as u64, salt) % below as u64) as usize;
        let length = 10 + sample(20, 1);
        let answer_length = 1 + sample(3, 2);
        let start = sample(length - answer_length, 3);
        let answer = if is_unanswerable(index) {
            start..start
        } else {
            start..start + answer_length
        };
        let ids: Vec<u32> = (0..length)
            .map(|position| {
                if answer.contains(&position) {
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
        let answer_text: String = text.chars().skip(start).take(answer.len()).collect();
        questions.paragraphs.push(Paragraph {
            text,
            article: None,
        });
        questions.questions.push(Question {
            id: index.to_string(),
            paragraph: index,
            text: "?".to_owned(),
            reference: if answer.is_empty() {
                Reference::Unanswerable
            } else {
                Reference::Spans(vec![Answer {
                    text: answer_text,
                    start,
                }])
            },
        });
        tokens.push(Tokens {
            paragraph: ids,
            target: if answer.is_empty() {
                Target::Unanswerable
            } else {
                Target::Spans(vec![answer])
            },
        });
    }
    let mut writer = WindowWriter::create(directory, split)?;
    for Tokens { paragraph, .. } in &tokens {
        let length = paragraph.len();
        let characters: Vec<_> = (0..length).map(|index| index..index + 1).collect();
        writer.push_paragraph(paragraph, &characters, length)?;
    }
    for (index, Tokens { paragraph, target }) in tokens.into_iter().enumerate() {
        writer.push_question(&[5, 6], index, &target)?;
        let (length, room) = (paragraph.len(), layout().room(2));
        for start in (0..).step_by(7) {
            writer.push_window(start..(start + room).min(length))?;
            if start + room >= length {
                break;
            }
        }
    }
    writer.finish()?;
    Ok(questions)
}
