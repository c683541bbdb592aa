//! Made artifacts of any number of questions.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use spanwise_artifact::profile::Profile;
use spanwise_artifact::questions::QuestionCounts;
use spanwise_artifact::scores::{ScoreWriter, Scores, Whole};
use spanwise_artifact::{Answer, Paragraph, Question, Split, jsonl};

/// Characters of a paragraph.
const CHARACTERS: usize = 60;

/// Questions about a paragraph.
const QUESTIONS: usize = 4;

/// Numbers in no order: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn score(&mut self) -> f32 {
        self.below(1100) as f32 / 100.0 - 9.0
    }
}

/// Where the answer to a question is: first character and length.
fn answer(question: usize) -> (usize, usize) {
    let mut random = Random(question as u64);
    let length = 1 + random.below(12);
    (random.below(CHARACTERS - length), length)
}

/// Writes a data artifact with one split.
pub(crate) fn data(directory: &Path, split: Split, questions: usize, labelled: bool) -> Result<()> {
    fs_err::create_dir_all(directory)?;
    let mut paragraphs = jsonl::Writer::create(&directory.join(split.paragraphs_file()))?;
    let mut lines = jsonl::Writer::create(&directory.join(split.questions_file()))?;
    let mut text = Vec::new();
    for index in 0..questions {
        if index % QUESTIONS == 0 {
            let mut random = Random(index as u64);
            text = (0..CHARACTERS)
                .map(|_| char::from_u32(0x4e00 + random.below(20_000) as u32).unwrap_or('一'))
                .collect();
            paragraphs.push(&Paragraph {
                text: text.iter().collect(),
                article: None,
            })?;
        }
        let (start, length) = answer(index);
        let answer = Answer {
            text: text[start..start + length].iter().collect(),
            start,
        };
        lines.push(&Question {
            id: format!("question-{index}"),
            paragraph: index / QUESTIONS,
            text: text[..12].iter().collect::<String>() + "是什麼?",
            reference: if labelled { vec![answer] } else { Vec::new() }.into(),
        })?;
    }
    paragraphs.finish()?;
    lines.finish()?;
    profile(directory)
}

/// Writes what a data artifact has besides questions: they are the course's, and answerable.
pub(crate) fn profile(directory: &Path) -> Result<()> {
    let profile = Profile {
        course_layout: true,
        ..Profile::default()
    };
    profile.write(directory)?;
    QuestionCounts::write(directory, &BTreeMap::new())
}

/// Writes a prediction artifact with one split: scores in no order, of which those of the answer are
/// mostly the best.
pub(crate) fn prediction(
    directory: &Path,
    split: Split,
    questions: usize,
    seed: u64,
) -> Result<()> {
    fs_err::create_dir_all(directory)?;
    let mut writer = ScoreWriter::create(directory, split, vec![CHARACTERS; questions])?;
    let mut random = Random(seed);
    for index in 0..questions {
        let mut column = || (0..CHARACTERS).map(|_| random.score()).collect();
        let (mut start, mut end): (Vec<f32>, Vec<f32>) = (column(), column());
        let (first, length) = answer(index);
        start[first] = 1.0 + random.below(20) as f32 / 10.0;
        end[first + length - 1] = 1.0 + random.below(20) as f32 / 10.0;
        // Characters in the middle of a token.
        for index in 0..5 {
            let character = random.below(CHARACTERS);
            if character != first && character != first + length - 1 {
                [&mut start, &mut end][index % 2][character] = f32::NEG_INFINITY;
            }
        }
        let null = random.below(60) as f32 / 10.0 - 1.0;
        writer.push(Scores { start, end }.view(), Whole::with_null(null))?;
    }
    writer.finish()
}
