//! The answers stage: scores → `answers.jsonl`, `submission.csv`, `metrics.json`, `report.html`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use spanwise_answers::decode::{Candidate, decode};
use spanwise_answers::metrics::{Marks, Metrics};
use spanwise_answers::report::{Case, Report};
use spanwise_answers::rules::{self, Effect, Rule};
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::{ScoreFile, Span, candidates_file};
use spanwise_artifact::settings::AnswersSettings;
use spanwise_artifact::{Answer, Characters, Draft, Job, Split, Stage, jsonl, program};

fn main() -> ExitCode {
    program::main(Stage::Answers, run)
}

/// A line of `answers.jsonl`.
#[derive(Debug, Serialize)]
struct Answered {
    split: Split,
    id: String,
    question: String,
    answer: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    references: Vec<String>,
    /// Where there are references.
    #[serde(skip_serializing_if = "Option::is_none")]
    marks: Option<Marks>,
    candidates: Vec<Candidate>,
}

/// What `metrics.json` says of a labelled split.
#[derive(Debug, Serialize)]
struct Measured {
    #[serde(flatten)]
    metrics: Metrics,
    /// What the repairs do to the split's answers.
    rules: BTreeMap<Rule, Effect>,
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: AnswersSettings = job.settings()?;
    let mut all = Vec::new();
    let mut measured = BTreeMap::new();
    let mut applied = Vec::new();
    let mut report = Report::default();
    for split in [Split::Dev, Split::Test] {
        let Some(mut decoded) = DecodedSplit::read(job, split, &settings)? else {
            continue;
        };
        let effects = decoded.effects(&settings);
        if split == Split::Dev {
            // Nothing is fitted on test, whether or not its answers are known.
            let use_it = |(rule, effect): (&Rule, &Effect)| effect.applied.then_some(*rule);
            applied = effects.iter().filter_map(use_it).collect();
        }
        decoded.repair(&applied);
        let answered = decoded.answered(split);
        if answered.iter().any(|answered| answered.marks.is_some()) {
            let marked = answered
                .iter()
                .map(|answered| (answered.answer.as_str(), answered.marks));
            let measures = Measured {
                metrics: Metrics::measure(marked),
                rules: effects,
            };
            measured.insert(split.name(), measures);
        }
        let measures = measured.get(split.name());
        report.add(
            split,
            &decoded.cases(&answered),
            measures.map(|measures| (&measures.metrics, &measures.rules)),
        );
        if split == Split::Test {
            write_submission(&draft.file("submission.csv"), &answered)?;
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
    for (split, Measured { metrics, rules }) in &measured {
        tracing::info!(
            "{split}: exact match {:.3} (standard error {:.3}), CMRC F1 {:.3}, on {} questions",
            metrics.task_exact_match,
            metrics.task_exact_match_standard_error,
            metrics.cmrc_f1,
            metrics.questions,
        );
        for (rule, effect) in rules.iter().filter(|(_, effect)| effect.applied) {
            let Effect {
                changed,
                fixed,
                broken,
                ..
            } = effect;
            tracing::info!(
                "{split}: {rule:?} changes {changed} answers, fixes {fixed}, breaks {broken}"
            );
        }
    }
    fs_err::write(draft.file("report.html"), report.render()?)?;
    jsonl::write(&draft.file("answers.jsonl"), &all)?;
    jsonl::write_document(&draft.file("metrics.json"), &measured)
}

/// A split's questions with their candidates.
struct DecodedSplit {
    questions: Questions,
    candidates: Vec<Vec<Candidate>>,
    /// The answers' characters, empty for none.
    answers: Vec<Range<usize>>,
}

impl DecodedSplit {
    /// `None` where the split does not exist.
    fn read(job: &Job, split: Split, settings: &AnswersSettings) -> Result<Option<Self>> {
        let Some(questions) = Questions::read(job.input("data")?, split)? else {
            return Ok(None);
        };
        let directory = job.input("ensemble")?;
        let Some(scores) = ScoreFile::open(directory, split)? else {
            return Ok(None);
        };
        ensure!(
            scores.questions() == questions.questions.len(),
            "{} scored questions for the {} of the {} split",
            scores.questions(),
            questions.questions.len(),
            split.name()
        );
        let ranking = directory.join(candidates_file(split));
        let mut ranking = ranking
            .exists()
            .then(|| jsonl::read(&ranking))
            .transpose()?;
        let mut candidates = Vec::with_capacity(questions.questions.len());
        for (index, question) in questions.questions.iter().enumerate() {
            let ranked: Option<Vec<Span>> = match &mut ranking {
                Some(ranking) => Some(ranking.next().context("a ranking a question")??),
                None => None,
            };
            let paragraph = questions.paragraph(question);
            candidates.push(decode(scores.get(index), ranked, paragraph, settings));
        }
        let range = |candidates: &Vec<Candidate>| {
            candidates.first().map_or(0..0, |best| best.start..best.end)
        };
        Ok(Some(Self {
            answers: candidates.iter().map(range).collect(),
            questions,
            candidates,
        }))
    }

    /// What the repairs do to the answers that are known.
    fn effects(&self, settings: &AnswersSettings) -> BTreeMap<Rule, Effect> {
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

    fn answered(&self, split: Split) -> Vec<Answered> {
        let questions = self.questions.questions.iter();
        let answered = questions.zip(&self.candidates).zip(&self.answers).map(
            |((question, candidates), answer)| {
                let paragraph = Characters::new(self.questions.paragraph(question));
                let answer = paragraph.get(answer.clone()).unwrap_or_default();
                let references = question.answers.iter().map(|answer| &*answer.text);
                let references: Vec<&str> = references.collect();
                Answered {
                    split,
                    id: question.id.clone(),
                    question: question.text.clone(),
                    answer: answer.to_owned(),
                    marks: Marks::of(answer, &references),
                    references: references.into_iter().map(str::to_owned).collect(),
                    candidates: candidates.clone(),
                }
            },
        );
        answered.collect()
    }

    /// The questions as the report shows them; `answered` are their answers.
    fn cases<'a>(&'a self, answered: &'a [Answered]) -> Vec<Case<'a>> {
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
                    marks: answered.marks,
                });
        cases.collect()
    }
}

/// `ID,Answer`, quoted where a field needs it.
fn write_submission(path: &Path, answered: &[Answered]) -> Result<()> {
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(["ID", "Answer"])?;
    for answered in answered {
        writer.write_record([&answered.id, &answered.answer])?;
    }
    writer.flush()?;
    Ok(())
}
