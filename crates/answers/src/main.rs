//! The answers stage: scores → `answers.jsonl`, `submission.csv`, `metrics.json`, `report.html`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_answers::decode::decode;
use spanwise_answers::length::{self, Limit};
use spanwise_answers::metrics;
use spanwise_answers::report::{Case, Report};
use spanwise_answers::rules::{self, Repair};
use spanwise_artifact::answers::{
    self, AnswerRecord, Candidate, Effect, REPORT_FILE, SUBMISSION_FILE, SplitMetrics,
};
use spanwise_artifact::ensemble;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::{ScoreFile, Span};
use spanwise_artifact::settings::{AnswersTable, LengthLimit, Rule};
use spanwise_artifact::{Answer, Characters, Draft, Job, Split, Stage};
use spanwise_program as program;

fn main() -> ExitCode {
    program::main(Stage::Answers, run)
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let mut settings: AnswersTable = job.settings()?;
    let mut limit = None;
    let mut all = Vec::new();
    let mut measured = BTreeMap::new();
    let mut applied = Vec::new();
    let mut report = Report::default();
    for split in [Split::Dev, Split::Test] {
        let Some(scored) = ScoredSplit::read(job, split)? else {
            continue;
        };
        let known = scored.known();
        // Nothing is fitted on test, whether or not its answers are known.
        if let (Split::Dev, LengthLimit::Fitted(_)) = (split, settings.max_answer_length) {
            let found = Limit::fit(&known, &settings);
            settings.max_answer_length = LengthLimit::Characters(found.to_apply());
            limit = Some(found);
        }
        let mut decoded = DecodedSplit::new(&scored, &settings);
        let effects = decoded.effects(&settings);
        if split == Split::Dev {
            let use_it = |(rule, effect): (&Rule, &Effect)| effect.applied.then_some(*rule);
            applied = effects.iter().filter_map(use_it).collect();
        }
        decoded.repair(&applied);
        let answered = decoded.answered(split);
        if answered.iter().any(|answered| answered.metrics.is_some()) {
            let marked = answered
                .iter()
                .map(|answered| (answered.answer.as_str(), answered.metrics));
            let measures = SplitMetrics {
                max_answer_length: limit
                    .as_ref()
                    .map(|limit: &Limit| limit.fitted(&known, &settings)),
                rules: effects,
                ..metrics::of_split(marked)
            };
            measured.insert(split, measures);
        }
        let measures = measured.get(&split);
        report.add(split, &decoded.cases(&answered), measures);
        if split == Split::Test {
            write_submission(&draft.file(SUBMISSION_FILE), &answered)?;
        }
        let empty = answered
            .iter()
            .filter(|answered| answered.answer.is_empty())
            .count();
        tracing::info!(
            "{}: {} answers, {empty} of them empty",
            split.name(),
            answered.len()
        );
        all.extend(answered);
    }
    for (split, measures) in &measured {
        say(*split, measures);
    }
    fs_err::write(draft.file(REPORT_FILE), report.render()?)?;
    answers::write(draft.path(), &all)?;
    answers::write_metrics(draft.path(), &measured)
}

/// Logs how good a split's answers are and what was done to them.
fn say(split: Split, metrics: &SplitMetrics) {
    let split = split.name();
    tracing::info!(
        "{split}: task exact match {:.3} (standard error {:.3}), CMRC F1 {:.3}, on {} questions",
        metrics.task_exact_match,
        metrics.task_exact_match_standard_error,
        metrics.cmrc_f1,
        metrics.questions,
    );
    let length = metrics.max_answer_length.iter().map(|fitted| {
        let name = format!("a limit of {} characters", fitted.characters);
        (name, &fitted.effect)
    });
    let rules = metrics
        .rules
        .iter()
        .map(|(rule, effect)| (format!("{rule:?}"), effect));
    for (name, effect) in length.chain(rules).filter(|(_, effect)| effect.applied) {
        let Effect {
            changed,
            fixed,
            broken,
            ..
        } = effect;
        tracing::info!("{split}: {name} changes {changed} answers, fixes {fixed}, breaks {broken}");
    }
}

/// A split's questions with their scores.
struct ScoredSplit {
    questions: Questions,
    scores: ScoreFile,
    /// A question's spans where the ensemble has ranked them, best first.
    ranked: Option<Vec<Vec<Span>>>,
}

impl ScoredSplit {
    /// `None` where the split does not exist.
    fn read(job: &Job, split: Split) -> Result<Option<Self>> {
        let Some(questions) = Questions::read(job.input("data")?, split)? else {
            return Ok(None);
        };
        let directory = job.input("ensemble")?;
        let Some(scores) = ScoreFile::open(directory, split)? else {
            return Ok(None);
        };
        let ranked = ensemble::read_ranked_spans(directory, split)?;
        let count = questions.questions.len();
        let ranked_count = ranked.as_ref().map_or(count, Vec::len);
        ensure!(
            (scores.questions(), ranked_count) == (count, count),
            "{} scored and {ranked_count} ranked questions for the {count} of the {} split",
            scores.questions(),
            split.name()
        );
        Ok(Some(Self {
            questions,
            scores,
            ranked,
        }))
    }

    fn ranked(&self, question: usize) -> Option<&[Span]> {
        self.ranked.as_ref().map(|ranked| &*ranked[question])
    }

    /// The questions with an answer to learn from.
    fn known(&self) -> Vec<length::Known<'_>> {
        let known = self.questions.questions.iter().enumerate();
        let known = known.filter_map(|(index, question)| {
            Some(length::Known {
                scores: self.scores.get(index),
                ranked: self.ranked(index),
                paragraph: self.questions.paragraph(question),
                reference: &question.answers.first()?.text,
            })
        });
        known.collect()
    }
}

/// A split's questions with their candidates.
struct DecodedSplit<'a> {
    questions: &'a Questions,
    candidates: Vec<Vec<Candidate>>,
    /// The answers' characters, empty for none.
    answers: Vec<Range<usize>>,
}

impl<'a> DecodedSplit<'a> {
    fn new(scored: &'a ScoredSplit, settings: &AnswersTable) -> Self {
        let questions = scored.questions.questions.iter().enumerate();
        let candidates: Vec<Vec<Candidate>> = questions
            .map(|(index, question)| {
                let paragraph = scored.questions.paragraph(question);
                let (scores, ranked) = (scored.scores.get(index), scored.ranked(index));
                decode(scores, ranked, paragraph, settings)
            })
            .collect();
        let range = |candidates: &Vec<Candidate>| {
            candidates.first().map_or(0..0, |best| best.start..best.end)
        };
        Self {
            questions: &scored.questions,
            answers: candidates.iter().map(range).collect(),
            candidates,
        }
    }

    /// What the repairs do to the answers that are known.
    fn effects(&self, settings: &AnswersTable) -> BTreeMap<Rule, Effect> {
        let paragraphs = self.characters();
        let known = self.questions.questions.iter().zip(&self.answers);
        let known = known.filter(|(_, answer)| !answer.is_empty());
        let known = known.filter_map(|(question, answer)| {
            Some(rules::Known {
                paragraph: &paragraphs[question.paragraph],
                answer: answer.clone(),
                reference: &question.answers.first()?.text,
            })
        });
        rules::fit(&settings.rules, known.collect())
    }

    fn repair(&mut self, applied: &[Rule]) {
        let paragraphs = self.characters();
        for (question, answer) in self.questions.questions.iter().zip(&mut self.answers) {
            if answer.start < answer.end {
                let paragraph = &paragraphs[question.paragraph];
                *answer = applied.iter().fold(answer.clone(), |answer, rule| {
                    rule.repair(paragraph, answer)
                });
            }
        }
    }

    fn characters(&self) -> Vec<Vec<char>> {
        let paragraphs = self.questions.paragraphs.iter();
        paragraphs.map(|p| p.text.chars().collect()).collect()
    }

    fn answered(&self, split: Split) -> Vec<AnswerRecord> {
        let questions = self.questions.questions.iter();
        let answered = questions.zip(&self.candidates).zip(&self.answers).map(
            |((question, candidates), answer)| {
                let paragraph = Characters::new(self.questions.paragraph(question));
                let answer = paragraph.get(answer.clone()).unwrap_or_default();
                let references = question.answers.iter().map(|answer| &*answer.text);
                let references: Vec<&str> = references.collect();
                AnswerRecord {
                    split,
                    id: question.id.clone(),
                    question: question.text.clone(),
                    answer: answer.to_owned(),
                    metrics: metrics::of_answer(answer, &references),
                    references: references.into_iter().map(str::to_owned).collect(),
                    candidates: candidates.clone(),
                }
            },
        );
        answered.collect()
    }

    /// The questions as the report shows them; `answered` are their answers.
    fn cases<'b>(&'b self, answered: &'b [AnswerRecord]) -> Vec<Case<'b>> {
        let questions = self.questions.questions.iter();
        let cases =
            questions
                .zip(&self.answers)
                .zip(answered)
                .map(|((question, answer), answered)| Case {
                    id: &question.id,
                    question: &question.text,
                    paragraph: self.questions.paragraph(question),
                    answer: answer.clone(),
                    reference: question.answers.first().map(Answer::range),
                    candidates: &answered.candidates,
                    marks: answered.metrics,
                });
        cases.collect()
    }
}

/// `ID,Answer`, quoted where a field needs it.
fn write_submission(path: &Path, answered: &[AnswerRecord]) -> Result<()> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(["ID", "Answer"])?;
    for answered in answered {
        writer.write_record([&answered.id, &answered.answer])?;
    }
    writer.flush()?;
    Ok(())
}
