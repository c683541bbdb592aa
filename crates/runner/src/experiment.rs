//! Comparing pipelines with one another, question by question: the ladder, and changes to one pipeline.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use spanwise_artifact::{Split, UserError, jsonl};

use crate::statistics::{self, Estimate, Marked, mean};
use crate::{pipeline, pipeline_file, workspace};

/// Added to every seed of a pipeline from one repetition to the next; more than a pipeline has members.
const SEED_STEP: u64 = 100;

#[derive(Args)]
pub struct Ladder {
    /// The rungs, lowest first
    #[arg(default_values = ["pipelines/simple.toml", "pipelines/medium.toml", "pipelines/strong.toml", "pipelines/boss.toml"])]
    files: Vec<PathBuf>,
    #[command(flatten)]
    repetition: Repetition,
}

#[derive(Args)]
pub struct Compare {
    /// The pipeline file that the changes are made to
    file: PathBuf,
    /// A pipeline that differs by these settings, such as `--with train.fgm=1` or `--with "train.epochs=4 train.ema=0.99"`
    #[arg(long = "with", value_name = "KEY=VALUE …", required = true)]
    changes: Vec<String>,
    #[command(flatten)]
    repetition: Repetition,
}

#[derive(Args)]
struct Repetition {
    /// Run everything so many times, with other seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Change a setting of every pipeline
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Keep runs and table in this folder below `runs`, in place of `ladder` or `compare-FILE`
    #[arg(long)]
    name: Option<String>,
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

/// Runs the rungs and prints their table.
pub fn ladder(ladder: &Ladder) -> Result<()> {
    let contenders = ladder.files.iter().map(|file| Contender {
        name: stem(file),
        file: file.clone(),
        overrides: Vec::new(),
    });
    run(
        "ladder",
        contenders.collect(),
        Against::Previous,
        &ladder.repetition,
    )
}

/// Runs a pipeline as it is and with every change, and prints their table.
pub fn compare(compare: &Compare) -> Result<()> {
    let base = Contender {
        name: stem(&compare.file),
        file: compare.file.clone(),
        overrides: Vec::new(),
    };
    let changed = compare.changes.iter().map(|change| Contender {
        name: change.clone(),
        file: compare.file.clone(),
        overrides: change.split_whitespace().map(str::to_owned).collect(),
    });
    let contenders = std::iter::once(base).chain(changed).collect();
    let title = format!("compare-{}", stem(&compare.file));
    run(&title, contenders, Against::First, &compare.repetition)
}

fn stem(file: &Path) -> String {
    file.file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// A line of `answers.jsonl`, as far as it is read here.
#[derive(Deserialize)]
struct Answered {
    split: Split,
    marks: Option<Marks>,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
struct Marks {
    task_exact_match: f64,
    any_reference_exact_match: f64,
    cmrc_exact_match: f64,
    cmrc_f1: f64,
}

/// A row of the table.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    /// Task exact match of every repetition.
    repetitions: Vec<f64>,
    task_exact_match: f64,
    /// Half the width of its 95 % confidence interval, over questions and repetitions.
    task_exact_match_confidence: f64,
    any_reference_exact_match: f64,
    cmrc_exact_match: f64,
    cmrc_f1: f64,
    /// Task exact match gained over the pipeline it is measured against.
    gain: Option<f64>,
    /// Half the width of its 95 % confidence interval, over questions and repetitions, paired.
    gain_confidence: Option<f64>,
    /// The gain of every repetition over the same one of the other pipeline.
    gain_repetitions: Vec<f64>,
    /// Probability of a gain at least as far from none if there were none.
    p: Option<f64>,
    /// Seconds that the stages of one repetition took when they were run, on average.
    seconds: f64,
}

fn run(
    default_title: &str,
    contenders: Vec<Contender>,
    against: Against,
    repetition: &Repetition,
) -> Result<()> {
    ensure!(repetition.seeds > 0, UserError::new("--seeds is 1 or more"));
    let title = repetition.name.as_deref().unwrap_or(default_title);
    // All of them are read first: a mistake in the last should not show after hours.
    let mut pipelines = Vec::new();
    for contender in &contenders {
        let overrides = [&repetition.overrides[..], &contender.overrides[..]].concat();
        for repetition in 0..repetition.seeds {
            let mut pipeline = pipeline_file::read(&contender.file, &overrides)?;
            let name = contender.name.replace([' ', '/', '"', '[', ']'], "_");
            pipeline.name = format!("{title}/{name}.{repetition}");
            pipeline.shift_seeds(repetition * SEED_STEP);
            pipelines.push(pipeline);
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    let mut marks: Vec<Vec<Vec<Marks>>> = Vec::new();
    let mut left = pipelines.iter();
    for contender in &contenders {
        let mut seconds = 0.0;
        let mut repetitions = Vec::new();
        for _ in 0..repetition.seeds {
            let pipeline = left.next().context("a pipeline a repetition")?;
            eprintln!("\n── {} ──", pipeline.name);
            let artifacts = pipeline::complete(pipeline)?;
            seconds += pipeline::wall_seconds(&artifacts)?;
            let answers = artifacts.last().context("answers come last")?;
            repetitions.push(read_marks(&answers.join("answers.jsonl"))?);
        }
        ensure!(
            repetitions.iter().all(|marks| !marks.is_empty()),
            UserError::new(format!("{}: no dev question has an answer", contender.name))
        );
        let rival = match against {
            Against::Previous => marks.last(),
            Against::First => marks.first(),
        };
        let seconds = seconds / repetition.seeds as f64;
        rows.push(Row::new(&contender.name, &repetitions, rival, seconds)?);
        marks.push(repetitions);
    }
    let table = markdown(&rows);
    let folder = workspace::output().join("runs").join(title);
    fs_err::write(folder.join("table.md"), &table)?;
    jsonl::write_document(&folder.join("table.json"), &rows)?;
    println!("\n{table}\nsaved to {}", workspace::display(&folder));
    Ok(())
}

/// The marks of all dev questions with a known answer.
fn read_marks(path: &Path) -> Result<Vec<Marks>> {
    let mut marks = Vec::new();
    for answered in jsonl::read::<Answered>(path)? {
        let answered = answered?;
        if answered.split == Split::Dev {
            marks.extend(answered.marks);
        }
    }
    Ok(marks)
}

/// Task exact match by repetition and question.
fn exact_matches(repetitions: &[Vec<Marks>]) -> Marked {
    let matches = |marks: &Vec<Marks>| marks.iter().map(|marks| marks.task_exact_match).collect();
    repetitions.iter().map(matches).collect()
}

impl Row {
    fn new(
        name: &str,
        repetitions: &[Vec<Marks>],
        rival: Option<&Vec<Vec<Marks>>>,
        seconds: f64,
    ) -> Result<Self> {
        let average = |mark: fn(&Marks) -> f64| {
            let all: Vec<f64> = repetitions.iter().flatten().map(mark).collect();
            mean(&all)
        };
        let own = exact_matches(repetitions);
        let gains = match rival {
            Some(rival) => {
                let gains = statistics::gains(&own, &exact_matches(rival));
                let differ =
                    || UserError::new(format!("{name} was measured on other dev questions"));
                Some(gains.ok_or_else(differ)?)
            }
            None => None,
        };
        let exact_match = Estimate::of(&own);
        let gain = gains.as_deref().map(Estimate::of);
        let means = |marked: &[Vec<f64>]| marked.iter().map(|marks| mean(marks)).collect();
        Ok(Self {
            name: name.to_owned(),
            gain_repetitions: gains.as_deref().map_or_else(Vec::new, means),
            repetitions: means(&own),
            task_exact_match: exact_match.mean,
            task_exact_match_confidence: exact_match.confidence(),
            any_reference_exact_match: average(|marks| marks.any_reference_exact_match),
            cmrc_exact_match: average(|marks| marks.cmrc_exact_match),
            cmrc_f1: average(|marks| marks.cmrc_f1),
            gain: gain.map(|gain| gain.mean),
            gain_confidence: gain.map(Estimate::confidence),
            p: gains.as_deref().map(statistics::probability),
            seconds,
        })
    }
}

fn markdown(rows: &[Row]) -> String {
    let mut table = String::from(
        "| pipeline | task EM (95 %) | gain (95 %) | by seed | p | any-reference EM | CMRC EM | CMRC F1 | minutes |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let gain = match (row.gain, row.gain_confidence) {
            (Some(gain), Some(confidence)) => format!("{gain:+.3} ± {confidence:.3}"),
            _ => "–".to_owned(),
        };
        let by_seed: Vec<String> = row
            .gain_repetitions
            .iter()
            .map(|gain| format!("{gain:+.3}"))
            .collect();
        let by_seed = by_seed.join(" ");
        let p = match row.p {
            Some(p) if p < 0.001 => "< 0.001".to_owned(),
            Some(p) => format!("{p:.3}"),
            None => "–".to_owned(),
        };
        writeln!(
            table,
            "| {} | {:.3} ± {:.3} | {gain} | {by_seed} | {p} | {:.3} | {:.3} | {:.3} | {:.1} |",
            row.name,
            row.task_exact_match,
            row.task_exact_match_confidence,
            row.any_reference_exact_match,
            row.cmrc_exact_match,
            row.cmrc_f1,
            row.seconds / 60.0,
        )
        .expect("writing to a string does not fail");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_measured_against_its_rival_question_by_question() {
        let marks = |right: &[f64]| -> Vec<Marks> {
            let marks = |&task_exact_match: &f64| Marks {
                task_exact_match,
                ..Default::default()
            };
            right.iter().map(marks).collect()
        };
        let below = vec![marks(&[1.0, 0.0, 0.0, 0.0]), marks(&[0.0, 0.0, 1.0, 0.0])];
        let row = Row::new("a", &below, None, 1.0).unwrap();
        assert_eq!((row.task_exact_match, row.gain), (0.25, None));
        let two = vec![marks(&[1.0, 1.0, 0.0, 1.0]), marks(&[1.0, 1.0, 0.0, 0.0])];
        let row = Row::new("b", &two, Some(&below), 1.0).unwrap();
        assert_eq!(row.repetitions, [0.75, 0.5]);
        assert_eq!((row.task_exact_match, row.gain), (0.625, Some(0.375)));
        assert_eq!(row.gain_repetitions, [0.5, 0.25]);
        // Gains 0 1 0 1 and 1 1 -1 0, by question ½ 1 -½ ½: variance of their mean 0.0990.
        assert!((row.gain_confidence.unwrap() - 1.96 * 0.098_958f64.sqrt()).abs() < 1e-5);
        assert!((row.p.unwrap() - 0.2332).abs() < 1e-3, "{:?}", row.p);
        assert!(Row::new("c", &[marks(&[1.0])], Some(&below), 1.0).is_err());
        let table = markdown(&[row]);
        assert!(table.contains("| b | 0.625 ± "), "{table}");
    }
}
