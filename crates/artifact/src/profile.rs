//! What the data stage has seen of all questions, in `profile.json`: what settings follow where a
//! pipeline file leaves them open.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::error::damaged;
use crate::jsonl;
use crate::questions::{Question, Split};

/// File of the [`Profile`].
pub const PROFILE_FILE: &str = "profile.json";

/// What questions and answers are like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Whether every file has the course's layout.
    pub course_layout: bool,
    /// By split.
    pub splits: BTreeMap<Split, SplitProfile>,
}

/// What a split's questions and answers are like.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SplitProfile {
    /// Letters of all questions, by writing system.
    pub letters: BTreeMap<Script, usize>,
    /// Number of questions by the length in characters of their shortest reference answer.
    pub answer_lengths: BTreeMap<usize, usize>,
}

/// A writing system, as far as one tells languages apart that are measured in their own way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Script {
    /// Arabic.
    Arabic,
    /// Devanagari, as Hindi has it.
    Devanagari,
    /// Chinese characters.
    Han,
    /// Korean letters and syllables.
    Hangul,
    /// Japanese syllables.
    Kana,
    /// Any other.
    Other,
}

impl Script {
    /// The writing system of a character; `None` where it is no letter.
    pub fn of(character: char) -> Option<Self> {
        Some(match character {
            '\u{600}'..='\u{6ff}' | '\u{750}'..='\u{77f}' if character.is_alphabetic() => {
                Self::Arabic
            }
            '\u{900}'..='\u{97f}' if character.is_alphabetic() => Self::Devanagari,
            '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{20000}'..='\u{3ffff}' => Self::Han,
            '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7a3}' => {
                Self::Hangul
            }
            '\u{3041}'..='\u{30ff}' if character.is_alphabetic() => Self::Kana,
            _ if character.is_alphabetic() => Self::Other,
            _ => return None,
        })
    }
}

impl SplitProfile {
    /// Counts a question.
    pub fn count(&mut self, question: &Question) {
        self.count_letters(&question.text);
        let lengths = question.answers().iter().map(|answer| answer.range().len());
        if let Some(shortest) = lengths.min() {
            *self.answer_lengths.entry(shortest).or_default() += 1;
        }
    }

    /// Counts the letters of a question.
    pub fn count_letters(&mut self, question: &str) {
        for script in question.chars().filter_map(Script::of) {
            *self.letters.entry(script).or_default() += 1;
        }
    }

    /// Number of questions whose reference answers all have more characters than `limit`.
    pub fn longer_than(&self, limit: usize) -> usize {
        let longer = self.answer_lengths.range(limit.saturating_add(1)..);
        longer.map(|(_, count)| count).sum()
    }
}

/// The longest answer where no training answer says more, in characters.
const LONGEST_UNKNOWN: usize = 100;

/// Of a hundred training answers, this many are at most as long as the longest answer that is looked
/// for.
const USUAL: usize = 99;

/// The least longest answer: few training answers say little about long ones.
const LEAST: usize = 30;

/// How long an answer is looked for, in characters; `lengths`: the number of training questions by
/// the length of their answer. See [`Profile::longest_answer`].
pub fn longest_answer(lengths: &BTreeMap<usize, usize>) -> usize {
    let all: usize = lengths.values().sum();
    if all == 0 {
        return LONGEST_UNKNOWN;
    }
    let mut so_far = 0;
    let usual = lengths.iter().find(|(_, count)| {
        so_far += **count;
        so_far * 100 >= all * USUAL
    });
    usual.map_or(LEAST, |(length, _)| *length).max(LEAST)
}

impl Profile {
    /// How long an answer is looked for where the pipeline file does not say, in characters: as 99
    /// of 100 training answers are at most, but no less than 30; 100 without training answers.
    ///
    /// A model that is unsure of both ends picks spans that are too long, which a limit prevents.
    pub fn longest_answer(&self) -> usize {
        let train = self.splits.get(&Split::Train);
        train.map_or(LONGEST_UNKNOWN, |train| {
            longest_answer(&train.answer_lengths)
        })
    }

    /// The writing system that most letters of the questions of train and dev have, of test where
    /// there are no others; of equal ones the first. `None` without a letter.
    pub fn script(&self) -> Option<Script> {
        let mut letters: BTreeMap<Script, usize> = BTreeMap::new();
        let is_alone = self.splits.len() == 1;
        let splits = self.splits.iter();
        // Other questions than those that are measured change no metric.
        let splits = splits.filter(|(split, _)| **split != Split::Test || is_alone);
        for split in splits.map(|(_, profile)| profile) {
            for (script, count) in &split.letters {
                *letters.entry(*script).or_default() += count;
            }
        }
        // Japanese writes Chinese characters among its syllables.
        let count = |script| letters.get(&script).copied().unwrap_or(0);
        let (kana, han) = (count(Script::Kana), count(Script::Han));
        if kana > 0 && 10 * kana >= han {
            letters.remove(&Script::Han);
            letters.insert(Script::Kana, kana + han);
        }
        let most = letters.into_iter().rev().max_by_key(|(_, count)| *count);
        most.map(|(script, _)| script)
    }

    /// Reads the profile of a data artifact.
    ///
    /// # Errors
    /// Fails if it cannot be read.
    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(PROFILE_FILE);
        let profile = jsonl::read_document(&path);
        Ok(profile.map_err(|error| damaged(&path, &error.root_cause().to_string()))?)
    }

    /// Writes the profile into a data artifact.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub fn write(&self, directory: &Path) -> Result<()> {
        jsonl::write_document(&directory.join(PROFILE_FILE), self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::questions::{Answer, Reference};

    fn question(text: &str, answers: &[&str]) -> Question {
        let answers = answers.iter().map(|text| Answer {
            text: (*text).to_owned(),
            start: 0,
        });
        Question {
            id: String::new(),
            paragraph: 0,
            text: text.to_owned(),
            reference: Reference::from(answers.collect::<Vec<_>>()),
        }
    }

    fn profile(questions: &[Question]) -> Profile {
        let mut split = SplitProfile::default();
        for question in questions {
            split.count(question);
        }
        Profile {
            course_layout: false,
            splits: BTreeMap::from([(Split::Train, split)]),
        }
    }

    #[test]
    fn the_longest_answer_follows_the_training_answers() {
        fn check(lengths: &[(usize, usize)], expected: usize) {
            let answers = lengths.iter().flat_map(|&(length, count)| {
                let answer = "a".repeat(length);
                std::iter::repeat_n(question("?", &[&answer]), count)
            });
            let found = profile(&answers.collect::<Vec<_>>()).longest_answer();
            assert_eq!(found, expected, "{lengths:?}");
        }
        check(&[], LONGEST_UNKNOWN);
        check(&[(5, 100)], 30);
        check(&[(5, 50), (80, 49), (200, 1)], 80);
        check(&[(5, 50), (80, 48), (200, 2)], 200);
        check(&[(80, 1)], 80);
    }

    #[test]
    fn the_shortest_reference_counts() {
        let profile = profile(&[question("?", &["abc", "a"]), question("?", &["ab"])]);
        let longer = |limit| profile.splits[&Split::Train].longer_than(limit);
        assert_eq!([0, 1, 2, usize::MAX].map(longer), [2, 1, 0, 0]);
    }

    #[test]
    fn the_writing_system_is_that_of_most_letters() {
        fn check(text: &str, expected: Option<Script>) {
            assert_eq!(profile(&[question(text, &[])]).script(), expected, "{text}");
        }
        check("誰是BERT？", Some(Script::Other));
        check("誰是詩人李白的朋友？", Some(Script::Han));
        check("누가 썼습니까?", Some(Script::Hangul));
        check("من هو؟", Some(Script::Arabic));
        check("कौन है?", Some(Script::Devanagari));
        check("それはなに？", Some(Script::Kana));
        check("東京の江戸時代とは？", Some(Script::Kana));
        check("Wer?", Some(Script::Other));
        check("1?", None);
    }
}
