//! One split: its files' paragraphs and checked questions, written as they are read.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err::File;
use spanwise_artifact::profile::SplitProfile;
use spanwise_artifact::questions::{ParagraphReader, QuestionCounts, QuestionReader};
use spanwise_artifact::settings::OnBadRecord;
use spanwise_artifact::{Question, Split, UserError, jsonl};
use spanwise_spans::in_sample;

use crate::check::{Checked, Checker, Fault, Passages};
use crate::faults::Faults;
use crate::input::shown;
use crate::record::{Malformed, Record};
use crate::rejected::Rejected;
use crate::repeated::Repeated;
use crate::sources::Source;

/// A split in files of the data artifact's layout.
#[derive(Debug, Clone)]
pub struct Collected {
    /// The split.
    pub split: Split,
    /// Where its files are.
    pub directory: PathBuf,
    /// What became of its records.
    pub counts: QuestionCounts,
    /// What its questions and answers are like.
    pub profile: SplitProfile,
    /// Whether every file that it is read from has the course's layout.
    pub course_layout: bool,
}

impl Collected {
    /// Reads and checks the files of a split. `repeated` knows the questions of earlier splits.
    /// What is left out goes to `rejected`; where nothing is to be, what is wrong goes to `faults`,
    /// and the caller refuses it once all splits are read.
    ///
    /// # Errors
    /// Fails if a file cannot be read, or if no question is left for another reason than `faults`.
    pub fn read(
        split: Split,
        sources: &[Source],
        on_bad_record: OnBadRecord,
        repeated: &mut Repeated,
        rejected: &mut jsonl::Writer,
        faults: &mut Faults,
        directory: &Path,
    ) -> Result<Self> {
        let mut counts = QuestionCounts::default();
        let path = directory.join(split.paragraphs_file());
        let mut paragraphs = jsonl::Writer::create(&path)?;
        let mut files = Vec::new();
        let mut course_layout = true;
        for source in sources {
            let first = counts.paragraphs;
            let format = source.format(directory)?;
            course_layout &= format.is_course();
            tracing::info!("{}: {format}", source.shown());
            source.read_paragraphs(&format, &mut |paragraph| {
                counts.paragraphs += 1;
                paragraphs.push(&paragraph)
            })?;
            files.push((source, format, first..counts.paragraphs));
        }
        paragraphs.finish()?;

        let mut paragraphs = ParagraphReader::open(&path)?;
        let mut collecting = Collecting {
            split,
            on_bad_record,
            checker: Checker::new(split),
            questions: jsonl::Writer::create(&directory.join(split.questions_file()))?,
            rejected,
            faults,
            repeated,
            counts,
            profile: SplitProfile::default(),
            left_out: Faults::default(),
            first_rejected: None,
            first_wrong_label: None,
        };
        for (source, format, of_file) in files {
            let mut passages = Passages::new(&mut paragraphs, of_file);
            collecting.checker.next_file();
            source.read_records(&format, &mut |record| {
                collecting.record(source, record, &mut passages)
            })?;
        }
        let profile = std::mem::take(&mut collecting.profile);
        Ok(Self {
            split,
            directory: directory.to_owned(),
            counts: collecting.finish()?,
            profile,
            course_layout,
        })
    }

    /// The questions, each with its paragraph.
    ///
    /// # Errors
    /// Fails if the files cannot be read.
    pub fn questions(&self) -> Result<QuestionReader> {
        QuestionReader::open(&self.directory, self.split)?.context("a split was collected")
    }

    /// Writes `count` of the questions, spread evenly, and their paragraphs into `directory`.
    ///
    /// # Errors
    /// Fails if a file cannot be read or written.
    pub fn sample(&self, count: usize, directory: &Path) -> Result<Self> {
        let all = self.counts.questions;
        select(&[self], self.split, directory, |index| {
            in_sample(index, count, all)
        })
    }

    /// Moves the files into another directory.
    ///
    /// # Errors
    /// Fails if they cannot be moved.
    pub fn move_to(&mut self, directory: &Path) -> Result<()> {
        for file in [self.split.questions_file(), self.split.paragraphs_file()] {
            fs_err::rename(self.directory.join(&file), directory.join(&file))?;
        }
        directory.clone_into(&mut self.directory);
        Ok(())
    }
}

/// A split whose records are being checked.
struct Collecting<'a> {
    split: Split,
    on_bad_record: OnBadRecord,
    checker: Checker,
    questions: jsonl::Writer,
    rejected: &'a mut jsonl::Writer,
    faults: &'a mut Faults,
    repeated: &'a mut Repeated,
    counts: QuestionCounts,
    profile: SplitProfile,
    /// What is wrong with the records that were left out, where that is wanted.
    left_out: Faults,
    /// What is wrong with the first of them.
    first_rejected: Option<String>,
    /// What is wrong with the first label that was left out, where that is wanted.
    first_wrong_label: Option<String>,
}

impl Collecting<'_> {
    fn record(
        &mut self,
        source: &Source,
        record: Result<Record, Malformed>,
        passages: &mut Passages<'_>,
    ) -> Result<()> {
        let (id, checked) = match record {
            Ok(record) => (record.id.clone(), self.checker.check(record, passages)?),
            Err(malformed) => (malformed.id, Err(Fault::Malformed(malformed.reason))),
        };
        match checked {
            Ok(checked) => {
                if let Some(fault) = &checked.wrong_label {
                    let left_out = self.leave_out(source, &id, fault, true)?;
                    self.counts.labels_left_out += 1;
                    self.first_wrong_label = self.first_wrong_label.take().or(left_out);
                }
                self.accept(&checked)
            }
            Err(fault) => {
                let left_out = self.leave_out(source, &id, &fault, false)?;
                self.counts.rejected += 1;
                self.first_rejected = self.first_rejected.take().or(left_out);
                Ok(())
            }
        }
    }

    fn accept(&mut self, checked: &Checked) -> Result<()> {
        let Checked {
            question,
            paragraph,
            ..
        } = checked;
        let repeated = self.repeated.see(&question.id, &question.text, paragraph);
        self.counts.in_earlier_splits += usize::from(repeated);
        self.counts.count(&question.reference);
        self.profile.count(question);
        self.questions.push(question)
    }

    /// Lists what is left out, where that is wanted, and returns it for people; else it is a fault.
    fn leave_out(
        &mut self,
        source: &Source,
        id: &str,
        fault: &Fault,
        is_label: bool,
    ) -> Result<Option<String>> {
        let fault = fault.to_string();
        if self.on_bad_record == OnBadRecord::Error {
            self.faults.push(self.split, source.name(), id, &fault);
            return Ok(None);
        }
        let rejected = Rejected::new(self.split, source.name(), id, &fault, is_label);
        self.rejected.push(&rejected)?;
        if !is_label {
            self.left_out.push(self.split, source.name(), id, &fault);
        }
        let (id, file) = (shown(id), source.shown());
        Ok(Some(format!("question {id} of {file}: {fault}")))
    }

    /// Says what is lost.
    fn finish(self) -> Result<QuestionCounts> {
        let Self { split, counts, .. } = self;
        self.questions.finish()?;
        let repeated = self.repeated.end(split);
        let name = split.name();
        if counts.questions == 0 && self.faults.is_empty() {
            let empty = format!("the {name} files have no usable question");
            let wrong = self.left_out.finish().err();
            let wrong = wrong.map_or_else(String::new, |wrong| format!(": {}", wrong.message));
            return Err(UserError::new(format!("{empty}{wrong}")).into());
        }
        let kept = counts.questions;
        if let Some(first) = self.first_rejected {
            let lost = counts.rejected;
            let all = kept + lost;
            let so = match split {
                Split::Test => ", for which the submission has no row",
                Split::Train | Split::Dev => "",
            };
            tracing::warn!("{name}: {lost} of {all} questions left out{so}; {first}");
        }
        if let Some(first) = self.first_wrong_label {
            let wrong = counts.labels_left_out;
            tracing::warn!("{name}: {wrong} of {kept} questions answered without a label; {first}");
        }
        let QuestionCounts {
            unlabelled,
            unanswerable,
            ..
        } = counts;
        if split == Split::Dev && unlabelled > 0 {
            tracing::warn!("{name}: {unlabelled} of {kept} questions have no label to measure on");
        }
        if split == Split::Dev && unanswerable > 0 && counts.answered == 0 {
            tracing::warn!(
                "{name}: none of {kept} questions has an answer: where answers are not known, leave \
                 out the field"
            );
        } else if unanswerable > 0 {
            tracing::info!("{name}: {unanswerable} of {kept} questions have no answer");
        }
        for sentence in repeated {
            tracing::warn!("{sentence}");
        }
        Ok(counts)
    }
}

/// Writes those questions of `parts`, one after the other, whose index `keep` returns `true` for,
/// and the paragraphs that they are about, as a split of its own.
///
/// # Errors
/// Fails if a file cannot be read or written.
pub fn select(
    parts: &[&Collected],
    split: Split,
    directory: &Path,
    keep: impl Fn(usize) -> bool,
) -> Result<Collected> {
    let mut counts = losses(parts);
    let mut profile = SplitProfile::default();
    let mut questions = jsonl::Writer::create(&directory.join(split.questions_file()))?;
    let mut paragraphs = jsonl::Writer::create(&directory.join(split.paragraphs_file()))?;
    let mut index = 0;
    for part in parts {
        let mut new_indices = vec![None; part.counts.paragraphs];
        for next in part.questions()? {
            let (question, paragraph) = next?;
            index += 1;
            if !keep(index - 1) {
                continue;
            }
            let new_index = match new_indices[question.paragraph] {
                Some(new_index) => new_index,
                None => {
                    paragraphs.push(&*paragraph)?;
                    counts.paragraphs += 1;
                    counts.paragraphs as u32 - 1
                }
            };
            new_indices[question.paragraph] = Some(new_index);
            profile.count(&question);
            push(&mut questions, question, new_index as usize, &mut counts)?;
        }
    }
    questions.finish()?;
    paragraphs.finish()?;
    Ok(Collected {
        split,
        directory: directory.to_owned(),
        counts,
        profile,
        course_layout: parts.iter().all(|part| part.course_layout),
    })
}

/// Writes all questions and paragraphs of `parts`, one after the other, as a split of its own.
///
/// # Errors
/// Fails if a file cannot be read or written.
pub fn append(parts: &[&Collected], split: Split, directory: &Path) -> Result<Collected> {
    let mut counts = losses(parts);
    let mut profile = SplitProfile::default();
    let mut questions = jsonl::Writer::create(&directory.join(split.questions_file()))?;
    let mut paragraphs = File::create(directory.join(split.paragraphs_file()))?;
    for part in parts {
        let path = part.directory.join(part.split.paragraphs_file());
        std::io::copy(&mut File::open(path)?, &mut paragraphs)?;
        for next in part.questions()? {
            let (question, _) = next?;
            let index = counts.paragraphs + question.paragraph;
            profile.count(&question);
            push(&mut questions, question, index, &mut counts)?;
        }
        counts.paragraphs += part.counts.paragraphs;
    }
    questions.finish()?;
    Ok(Collected {
        split,
        directory: directory.to_owned(),
        counts,
        profile,
        course_layout: parts.iter().all(|part| part.course_layout),
    })
}

fn push(
    questions: &mut jsonl::Writer,
    question: Question,
    paragraph: usize,
    counts: &mut QuestionCounts,
) -> Result<()> {
    counts.count(&question.reference);
    questions.push(&Question {
        paragraph,
        ..question
    })
}

/// What was lost of the records that parts were made from.
fn losses(parts: &[&Collected]) -> QuestionCounts {
    let mut sum = QuestionCounts::default();
    for part in parts {
        sum.rejected += part.counts.rejected;
        sum.labels_left_out += part.counts.labels_left_out;
        sum.in_earlier_splits += part.counts.in_earlier_splits;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use spanwise_artifact::questions::Questions;
    use spanwise_artifact::{Paragraph, Reference};

    /// Questions of these ids, each about one of these paragraphs.
    fn part(
        directory: &Path,
        split: Split,
        paragraphs: &[&str],
        questions: &[(&str, usize)],
    ) -> Collected {
        let paragraph = |text: &&str| Paragraph {
            text: (*text).to_owned(),
            article: None,
        };
        let question = |&(id, paragraph): &(&str, usize)| Question {
            id: id.to_owned(),
            paragraph,
            text: "?".to_owned(),
            reference: Reference::Unknown,
        };
        let data = Questions {
            paragraphs: paragraphs.iter().map(paragraph).collect(),
            questions: questions.iter().map(question).collect(),
        };
        data.write(directory, split).unwrap();
        Collected {
            split,
            directory: directory.to_owned(),
            counts: QuestionCounts {
                questions: questions.len(),
                paragraphs: paragraphs.len(),
                rejected: 1,
                ..QuestionCounts::default()
            },
            profile: SplitProfile::default(),
            course_layout: false,
        }
    }

    /// Ids with their paragraphs' texts, and all paragraphs.
    fn content(collected: &Collected) -> (Vec<(String, String)>, Vec<String>) {
        let data = Questions::read(&collected.directory, collected.split).unwrap();
        let data = data.unwrap();
        assert_eq!(
            (data.questions.len(), data.paragraphs.len()),
            (collected.counts.questions, collected.counts.paragraphs)
        );
        let texts = data
            .paragraphs
            .iter()
            .map(|paragraph| paragraph.text.clone());
        let questions = data.questions.iter();
        let questions =
            questions.map(|question| (question.id.clone(), data.paragraph(question).to_owned()));
        (questions.collect(), texts.collect())
    }

    #[test]
    fn selected_questions_keep_their_paragraphs() -> Result<()> {
        let from = tempfile::tempdir()?;
        let to = tempfile::tempdir()?;
        let train = part(
            from.path(),
            Split::Train,
            &["unused", "a", "b"],
            &[("0", 2), ("1", 1), ("2", 2)],
        );
        let dev = part(from.path(), Split::Dev, &["c", "d"], &[("3", 1), ("4", 0)]);
        let check = |keep: &[usize], ids: &[&str], of_questions: &[&str], all: &[&str]| {
            let selected = select(&[&train, &dev], Split::Dev, to.path(), |index| {
                keep.contains(&index)
            });
            let selected = selected.unwrap();
            assert_eq!(selected.counts.rejected, 2);
            let (found, paragraphs) = content(&selected);
            let expected = ids.iter().zip(of_questions);
            let expected: Vec<_> = expected
                .map(|(id, text)| ((*id).to_owned(), (*text).to_owned()))
                .collect();
            assert_eq!(
                (found, paragraphs),
                (expected, all.iter().map(|&text| text.to_owned()).collect())
            );
        };
        check(&[0, 2, 3], &["0", "2", "3"], &["b", "b", "d"], &["b", "d"]);
        check(&[1, 4], &["1", "4"], &["a", "c"], &["a", "c"]);
        check(&[], &[], &[], &[]);
        Ok(())
    }

    #[test]
    fn appended_questions_keep_their_paragraphs() -> Result<()> {
        let from = tempfile::tempdir()?;
        let to = tempfile::tempdir()?;
        let train = part(from.path(), Split::Train, &["unused", "a"], &[("0", 1)]);
        let dev = part(from.path(), Split::Dev, &["b"], &[("1", 0)]);
        let (questions, paragraphs) = content(&append(&[&train, &dev], Split::Dev, to.path())?);
        let texts: Vec<_> = questions.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(paragraphs, ["unused", "a", "b"]);
        Ok(())
    }
}
