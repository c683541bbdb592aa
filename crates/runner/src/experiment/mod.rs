//! Comparing pipelines with one another, question by question: the ladder, and changes to one
//! pipeline.

mod table;

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use spanwise_artifact::answers::{self, QuestionMetrics};
use spanwise_artifact::{Split, UserError, fingerprint, jsonl};
use spanwise_program::output::{message, messages};

use crate::pipeline_file::{self, Pipeline};
use crate::run::{self, Execute, Scope};
use crate::{links, workspace};
use table::{Row, markdown};

/// Added to every seed of a pipeline from one repetition to the next, where it has no more members:
/// their seeds count up from the pipeline's.
const SEED_STEP: u64 = 100;

/// Bytes of a change that name a folder; file systems allow 255, with endings.
const LONGEST_NAME: usize = 150;

/// How a comparison is repeated and where it is kept.
#[derive(Debug, Clone)]
pub struct Repetition {
    /// Everything runs so many times, with other seeds.
    pub seeds: u64,
    /// Changes to every pipeline, `KEY=VALUE` each.
    pub overrides: Vec<String>,
    /// Folder below `runs` in place of `ladder` or `compare-FILE`.
    pub name: Option<String>,
}

/// One pipeline of a comparison.
struct Contender {
    name: String,
    file: PathBuf,
    overrides: Vec<String>,
}

/// What a contender is measured against.
#[derive(Clone, Copy)]
enum Against {
    /// The one before it.
    Previous,
    /// The first.
    First,
}

/// Where a comparison runs and what it writes to.
pub struct Session<'a> {
    /// The folder of `artifacts` and `runs`.
    pub output: &'a Path,
    /// Runs the stages.
    pub stages: &'a mut dyn Execute,
    /// The table.
    pub results: &'a mut dyn Write,
}

/// Runs pipelines, lowest first, and compares each with the one before it.
pub fn ladder(files: &[PathBuf], repetition: &Repetition, session: Session) -> Result<()> {
    let contenders = files.iter().map(|file| Contender {
        name: stem(file),
        file: file.clone(),
        overrides: Vec::new(),
    });
    let contenders: Vec<_> = contenders.collect();
    compare_all(
        "ladder",
        &contenders,
        Against::Previous,
        repetition,
        session,
    )
}

/// Runs a pipeline as it is and with every one of `changes`, each some `KEY=VALUE` with spaces
/// between them, and compares the changed ones with the first.
pub fn compare(
    file: &Path,
    changes: &[String],
    repetition: &Repetition,
    session: Session,
) -> Result<()> {
    ensure!(
        changes.iter().all(|change| !change.trim().is_empty()),
        UserError::new("--with: there is no setting").hint("such as --with train.epochs=3")
    );
    let base = Contender {
        name: stem(file),
        file: file.to_owned(),
        overrides: Vec::new(),
    };
    let changed = changes.iter().map(|change| Contender {
        name: change.clone(),
        file: file.to_owned(),
        overrides: change.split_whitespace().map(str::to_owned).collect(),
    });
    let contenders: Vec<_> = std::iter::once(base).chain(changed).collect();
    let title = format!("compare-{}", stem(file));
    compare_all(&title, &contenders, Against::First, repetition, session)
}

fn stem(file: &Path) -> String {
    file.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

fn compare_all(
    default_title: &str,
    contenders: &[Contender],
    against: Against,
    repetition: &Repetition,
    session: Session,
) -> Result<()> {
    let Session {
        output,
        stages,
        results,
    } = session;
    ensure!(
        repetition.seeds > 0,
        UserError::new("--seeds = 0: must be at least 1")
    );
    let title = repetition.name.as_deref().unwrap_or(default_title);
    ensure!(
        pipeline_file::is_folder_name(title),
        UserError::new(format!("no folder can have the name {title:?}"))
            .hint("--name NAME gives it another one")
    );
    // All of them are read first: a mistake in the last should not show after hours.
    let mut pipelines = Vec::new();
    for contender in contenders {
        let repeated = repetitions(contender, repetition, title)?;
        ensure!(
            repeated.iter().all(Pipeline::has_dev),
            UserError::new(format!("{}: there are no dev questions", contender.name))
                .hint("what is compared is measured on data.dev, or with ensemble.folds")
        );
        pipelines.push(repeated);
    }
    for (index, contender) in contenders.iter().enumerate() {
        let mut others = contenders[..index].iter();
        ensure!(
            others.all(|other| other.name != contender.name),
            UserError::new(format!("{} is compared with itself", contender.name))
                .hint("pipeline files, or changes, of one name share a folder in runs/")
        );
    }
    let mut rows: Vec<Row> = Vec::new();
    let (mut metric, mut questions) = (None, None);
    let mut all: Vec<Vec<Vec<QuestionMetrics>>> = Vec::new();
    for (contender, pipelines) in contenders.iter().zip(&pipelines) {
        let mut seconds = 0.0;
        let mut metrics = Vec::new();
        let name = &contender.name;
        for pipeline in pipelines {
            message(format_args!("\n── {} ──", pipeline.name));
            let run = run::run(output, pipeline, &Scope::default(), stages, &mut messages())?;
            seconds += run::wall_seconds(run.artifacts())?;
            let artifact = run.answers()?;
            let measured = Measured::read(&artifact)?;
            let first = questions.get_or_insert_with(|| measured.questions.clone());
            let other = format!("{name} was measured on other dev questions than the first");
            let hint = "compare pipelines with the same data.dev";
            ensure!(
                *first == measured.questions,
                UserError::new(other).hint(hint)
            );
            metrics.push(measured.metrics);
            let dev = answers::read_metrics(&artifact)?.remove(&Split::Dev);
            let unlabelled = || UserError::new(format!("{name}: no dev question is labelled"));
            let title = dev.ok_or_else(unlabelled)?.title();
            let first = metric.get_or_insert_with(|| title.clone());
            let differ = format!("{name} is measured by {title}, and the first by {first}");
            let hint = "set answers.metric to the same for all";
            ensure!(*first == title, UserError::new(differ).hint(hint));
        }
        let rival = match against {
            Against::Previous => all.last(),
            Against::First => all.first(),
        };
        let seconds = seconds / repetition.seeds as f64;
        let metric = metric.as_deref().unwrap_or_default();
        rows.push(Row::new(name, metric, &metrics, rival, seconds)?);
        all.push(metrics);
    }
    let table = markdown(&rows);
    let folder = output.join("runs").join(title);
    links::write(&folder.join("table.md"), &table)?;
    jsonl::write_document(&folder.join("table.json"), &rows)?;
    let shown = workspace::display(&folder);
    writeln!(results, "\n{table}\nsaved to {shown}")?;
    Ok(())
}

/// A contender's pipeline once a repetition, with other seeds.
fn repetitions(
    contender: &Contender,
    repetition: &Repetition,
    title: &str,
) -> Result<Vec<Pipeline>> {
    let overrides = [&repetition.overrides[..], &contender.overrides[..]].concat();
    let mut name = contender.name.replace([' ', '/', '"', '[', ']'], "_");
    if name.len() > LONGEST_NAME {
        let digest = fingerprint::of_bytes(name.as_bytes());
        let cut = name.floor_char_boundary(LONGEST_NAME);
        name.truncate(cut);
        name.push_str(&digest[..8]);
    }
    (0..repetition.seeds)
        .map(|index| {
            let mut pipeline = pipeline_file::read(&contender.file, &overrides)?;
            pipeline.name = format!("{title}/{name}.{index}");
            let step = SEED_STEP.max(pipeline.members.len() as u64);
            pipeline.shift_seeds(index * step);
            Ok(pipeline)
        })
        .collect()
}

/// What an artifact of `answers` says of the labelled dev questions.
struct Measured {
    /// A digest of the questions: only the same ones are compared one by one.
    questions: String,
    /// By the questions' ids, since the files may have them in any order.
    metrics: Vec<QuestionMetrics>,
}

impl Measured {
    fn read(artifact: &Path) -> Result<Self> {
        let mut measured = Vec::new();
        for record in answers::read(artifact)? {
            let record = record.context("read the answers to compare")?;
            if let (Split::Dev, Some(metrics)) = (record.split, record.metrics) {
                let asked = serde_json::to_string(&(record.question, record.references))?;
                measured.push((record.id, fingerprint::of_bytes(asked.as_bytes()), metrics));
            }
        }
        // Files of the course layout all count from 0, so that ids may repeat.
        measured.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        let mut questions = String::new();
        for (id, asked, _) in &measured {
            questions += &serde_json::to_string(&(id, asked))?;
        }
        let metrics = measured.into_iter().map(|(_, _, metrics)| metrics);
        Ok(Self {
            questions: fingerprint::of_bytes(questions.as_bytes()),
            metrics: metrics.collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use spanwise_artifact::answers::AnswerRecord;

    use super::*;

    fn measured(asked: &[(&str, &str, f64)]) -> Measured {
        let record = |&(id, question, exact_match): &(&str, &str, f64)| AnswerRecord {
            split: Split::Dev,
            id: id.to_owned(),
            question: question.to_owned(),
            answer: String::new(),
            probability: None,
            null_score_diff: None,
            references: vec!["甲".to_owned()],
            is_impossible: false,
            metrics: Some(QuestionMetrics {
                exact_match,
                ..QuestionMetrics::default()
            }),
            candidates: Vec::new(),
        };
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<AnswerRecord> = asked.iter().map(record).collect();
        answers::write(folder.path(), &records).unwrap();
        Measured::read(folder.path()).unwrap()
    }

    #[test]
    fn questions_are_compared_by_what_is_asked_and_not_by_their_place() {
        let first = measured(&[("1", "who?", 1.0), ("2", "when?", 0.0)]);
        let reversed = measured(&[("2", "when?", 0.0), ("1", "who?", 1.0)]);
        assert_eq!(first.questions, reversed.questions);
        assert_eq!(first.metrics, reversed.metrics);
        let two_files = measured(&[("1", "who?", 1.0), ("1", "when?", 0.0)]);
        let other_order = measured(&[("1", "when?", 0.0), ("1", "who?", 1.0)]);
        assert_eq!(two_files.questions, other_order.questions);
        assert_eq!(two_files.metrics, other_order.metrics);
        for others in [
            [("1", "who?", 1.0), ("2", "where?", 0.0)],
            [("1", "who?", 1.0), ("3", "when?", 0.0)],
        ] {
            assert_ne!(first.questions, measured(&others).questions, "{others:?}");
        }
    }
}
