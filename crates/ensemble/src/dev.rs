//! Labelled dev questions: what weights are fitted to and methods are measured on.

use anyhow::{Result, ensure};
use spanwise_artifact::scores::{ScoresView, Whole};
use spanwise_artifact::{Answer, Question, QuestionFile, Reference, UserError};
use spanwise_program::parallel;
use spanwise_spans::holdout;

use crate::fit::Questions;
use crate::members::{MemberBlock, Members};

/// Parts of dev that are held out in turn: weights are measured on the part that they were not
/// fitted to.
pub const PARTS: usize = 5;

/// Dev, of which some questions are labelled: they have reference answers, or are unanswerable. It
/// holds the numbers that fitting needs again and again; scores and texts are read when they are
/// looked at.
pub struct Dev<'a> {
    members: &'a Members,
    questions: &'a QuestionFile,
    /// Of every question's references the first and the last character, one question after the
    /// other.
    references: Vec<[u32; 2]>,
    /// Where each question's references begin, and their number.
    offsets: Vec<u32>,
    /// The part that each question is in; of no meaning for one that is not labelled.
    parts: Vec<u8>,
    /// Of each question whether it is unanswerable.
    unanswerable: Vec<bool>,
    /// Number of labelled questions.
    labelled: usize,
    are_held_out: bool,
}

/// A labelled question, and every member's scores.
pub struct Labelled<'a> {
    /// The scores of every member.
    pub members: Vec<ScoresView<'a>>,
    /// Every member's score of no answer.
    pub wholes: Vec<Whole>,
    /// The first and the last character of every reference answer; none where the question is
    /// unanswerable.
    pub references: &'a [[u32; 2]],
    /// The part that it is in.
    pub part: usize,
}

impl<'a> Dev<'a> {
    /// Reads the reference answers. Questions about one paragraph are held out together: they share
    /// what is hard about it.
    ///
    /// # Errors
    /// Fails where the members have scored other questions than these, or what the file says cannot
    /// be.
    pub fn read(members: &'a Members, questions: &'a QuestionFile) -> Result<Self> {
        ensure!(
            questions.len() == members.questions(),
            UserError::new(format!(
                "there are {} dev questions, and the members have scored {}",
                questions.len(),
                members.questions()
            ))
        );
        let mut references = Vec::new();
        let mut offsets = vec![0];
        let mut unanswerable = Vec::new();
        let mut groups = Vec::new();
        let ranges_of = |range: std::ops::Range<usize>| {
            let block = questions.questions().read(range.clone())?;
            let question = |index| -> Result<(usize, Vec<[u32; 2]>, bool)> {
                let question: Question = block.get(index)?;
                let length = members.lengths()[range.start + index];
                let answers = question.answers().iter();
                let boundaries = answers.map(|answer| boundaries(answer, length));
                let boundaries: Option<Vec<_>> = boundaries.collect();
                let refused = || {
                    let question = range.start + index + 1;
                    UserError::new(format!(
                        "an answer of dev question {question} is not within its paragraph, of which {length} characters are scored"
                    ))
                };
                let is_unanswerable = question.reference == Reference::Unanswerable;
                let boundaries = boundaries.ok_or_else(refused)?;
                Ok((question.paragraph, boundaries, is_unanswerable))
            };
            (0..range.len()).map(question).collect::<Result<Vec<_>>>()
        };
        parallel::in_order(members.ranges(), ranges_of, |read| {
            for (paragraph, boundaries, is_unanswerable) in read {
                if is_unanswerable || !boundaries.is_empty() {
                    groups.push(paragraph as u32);
                }
                unanswerable.push(is_unanswerable);
                references.extend(boundaries);
                offsets.push(references.len() as u32);
            }
            Ok(())
        })?;
        let labelled = groups.len();
        let of_labelled = holdout::parts(groups, PARTS);
        let are_held_out = holdout::are_held_out(&of_labelled);
        let mut of_labelled = of_labelled.into_iter();
        let parts = offsets.windows(2).zip(&unanswerable);
        let parts = parts.map(|(pair, is_unanswerable)| {
            if *is_unanswerable || pair[0] < pair[1] {
                of_labelled.next().unwrap_or(0) as u8
            } else {
                0
            }
        });
        Ok(Self {
            parts: parts.collect(),
            unanswerable,
            members,
            questions,
            references,
            offsets,
            labelled,
            are_held_out,
        })
    }

    /// The members.
    pub fn members(&self) -> &Members {
        self.members
    }

    /// Number of labelled questions.
    pub fn labelled(&self) -> usize {
        self.labelled
    }

    /// Whether weights can be fitted without some questions and measured on them: not where all are
    /// about one paragraph.
    pub fn are_held_out(&self) -> bool {
        self.are_held_out
    }

    /// Number of the selected questions that have reference answers.
    pub fn answered_in(&self, questions: Questions) -> usize {
        let is_in = |question: &usize| {
            let [start, end] = [self.offsets[*question], self.offsets[question + 1]];
            start < end && questions != Questions::Without(self.parts[*question].into())
        };
        (0..self.parts.len()).filter(is_in).count()
    }

    /// Hands the labelled questions to `work`, some at a time, on all cores, and the results to
    /// `take` in order.
    ///
    /// # Errors
    /// Fails if the scores cannot be read, or `work` fails.
    pub fn in_order<R: Send>(
        &self,
        work: impl Fn(&mut dyn Iterator<Item = Labelled>) -> Result<R> + Sync,
        mut take: impl FnMut(R),
    ) -> Result<()> {
        parallel::in_order(
            self.members.ranges(),
            |range| {
                let block = self.members.read(range.clone())?;
                work(&mut range.filter_map(|question| self.labelled_at(question, &block)))
            },
            |result| {
                take(result);
                Ok(())
            },
        )
    }

    /// As [`Self::in_order`], one question at a time and with its text and its reference answers.
    ///
    /// # Errors
    /// As [`Self::in_order`]; also if the texts cannot be read.
    pub fn in_order_with_texts<R: Send>(
        &self,
        work: impl Fn(&Labelled, &str, &[Answer]) -> R + Sync,
        mut take: impl FnMut(R),
    ) -> Result<()> {
        parallel::in_order(
            self.members.ranges(),
            |range| -> Result<Vec<R>> {
                let block = self.members.read(range.clone())?;
                let texts = self.questions.read(range.clone())?;
                let results = range.zip(&texts).filter_map(|(question, text)| {
                    let labelled = self.labelled_at(question, &block)?;
                    Some(work(&labelled, &text.paragraph, text.question.answers()))
                });
                Ok(results.collect())
            },
            |results| {
                results.into_iter().for_each(&mut take);
                Ok(())
            },
        )
    }

    fn labelled_at<'b>(&'b self, question: usize, block: &'b MemberBlock) -> Option<Labelled<'b>> {
        let [start, end] = [self.offsets[question], self.offsets[question + 1]];
        let is_labelled = start < end || self.unanswerable[question];
        is_labelled.then(|| Labelled {
            members: block.get(question),
            wholes: block.wholes(question),
            references: &self.references[start as usize..end as usize],
            part: self.parts[question].into(),
        })
    }
}

/// Returns an answer's first and last character; `None` where it has none, or is not within the
/// paragraph.
fn boundaries(answer: &Answer, length: usize) -> Option<[u32; 2]> {
    let end = answer.start.checked_add(answer.text.chars().count())?;
    let is_within = answer.start < end && end <= length;
    is_within.then_some([answer.start as u32, end as u32 - 1])
}
