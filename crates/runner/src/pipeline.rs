//! Running a pipeline: stage after stage, only what is stale.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use spanwise_artifact::ensemble::EnsembleReport;
use spanwise_artifact::{Job, Manifest, Stage, UserError, answers};

use crate::links::relink;
use crate::pipeline_file::{self, Pipeline};
use crate::plan::{Node, Plan};
use crate::programs::Programs;
use crate::{Scope, gc, setup, workspace};

/// Files of the answers stage that stand at the top of a run.
const RESULTS: [&str; 4] = [
    "submission.csv",
    "report.html",
    "metrics.json",
    "answers.jsonl",
];

/// Brings a pipeline up to date and says what came out.
pub fn run(file: &Path, overrides: &[String], scope: &Scope) -> Result<()> {
    let pipeline = pipeline_file::read(file, overrides)?;
    if scope.dry_run {
        println!("{}", pipeline.resolved);
    }
    let runner = Runner::run(&pipeline, scope, None)?;
    if !scope.dry_run && scope.only.is_none() {
        runner.publish()?;
        say_results(&runner.plan)?;
    }
    Ok(())
}

/// Brings a pipeline up to date; gives the artifacts of its stages, that of `answers` last.
pub fn complete(pipeline: &Pipeline) -> Result<Vec<PathBuf>> {
    let scope = Scope::default();
    let runner = Runner::run(pipeline, &scope, None)?;
    runner.publish()?;
    Ok(runner.artifacts.into_iter().flatten().collect())
}

/// Answers the questions of a pipeline whose models are there, and says only what is wrong; gives the artifact of
/// `answers`.
pub fn answer(pipeline: &Pipeline, programs: Programs) -> Result<PathBuf> {
    let scope = Scope {
        only_answers: true,
        ..Scope::default()
    };
    let runner = Runner::run(pipeline, &scope, Some(programs.quiet()))?;
    let answers = runner.artifacts.into_iter().flatten().last();
    answers.context("answers come last")
}

/// Seconds that the stages took when they were run, each artifact once.
pub fn wall_seconds(artifacts: &[PathBuf]) -> Result<f64> {
    let mut counted: Vec<&PathBuf> = Vec::new();
    let mut seconds = 0.0;
    for artifact in artifacts {
        if !counted.contains(&artifact) {
            counted.push(artifact);
            seconds += Manifest::read(artifact)?.map_or(0.0, |manifest| manifest.wall_seconds);
        }
    }
    Ok(seconds)
}

/// Says what the last run came to.
pub fn report(file: &Path, overrides: &[String]) -> Result<()> {
    let pipeline = pipeline_file::read(file, overrides)?;
    let plan = Plan::new(&pipeline)?;
    ensure!(
        plan.run.join("metrics.json").exists(),
        UserError::new(format!("{} has not run yet", pipeline.file))
            .hint(format!("cargo xtask pipeline {}", pipeline.file))
    );
    say_results(&plan)
}

/// Says of every stage whether it is fresh.
pub fn status(file: &Path, overrides: &[String]) -> Result<()> {
    let pipeline = pipeline_file::read(file, overrides)?;
    let scope = Scope {
        dry_run: true,
        ..Scope::default()
    };
    Runner::run(&pipeline, &scope, None)?;
    Ok(())
}

struct Runner<'a> {
    pipeline: &'a Pipeline,
    scope: &'a Scope,
    plan: Plan,
    /// Per node, once it is there.
    artifacts: Vec<Option<PathBuf>>,
    programs: Option<Programs>,
    /// Keeps `gc` off what is not linked yet.
    _lock: Option<fs_err::File>,
}

impl<'a> Runner<'a> {
    /// Runs what is stale and in scope, with these programs or those that are built when one is needed.
    fn run(pipeline: &'a Pipeline, scope: &'a Scope, programs: Option<Programs>) -> Result<Self> {
        let plan = Plan::new(pipeline)?;
        let mut runner = Self {
            pipeline,
            scope,
            artifacts: vec![None; plan.nodes.len()],
            plan,
            programs,
            _lock: if scope.dry_run {
                None
            } else {
                Some(gc::keep_off()?)
            },
        };
        let mut index = 0;
        while index < runner.plan.nodes.len() {
            runner.leave_out(index)?;
            runner.bring_up_to_date(index)?;
            index += 1;
        }
        Ok(runner)
    }

    /// Leaves out the member whose first node is `index`, and those behind it, where training took those before it all
    /// the time that the ensemble has. What their manifests say decides, so that the next run decides the same.
    fn leave_out(&mut self, index: usize) -> Result<()> {
        let first = self.plan.members.iter().position(|&node| node == index);
        let (Some(limit), Some(member @ 1..)) = (self.pipeline.max_minutes, first) else {
            return Ok(());
        };
        let trained: Vec<PathBuf> = self.plan.nodes[..index]
            .iter()
            .zip(&self.artifacts)
            .filter(|(node, _)| matches!(node.stage, Stage::Pretrain | Stage::Train))
            .filter_map(|(_, artifact)| artifact.clone())
            .collect();
        let spent = wall_seconds(&trained)? / 60.0;
        if spent < limit {
            return Ok(());
        }
        if !self.scope.only_answers {
            let members = format!("member {}+", member + 1);
            eprintln!(
                "{members:<12} left out: training took {spent:.0} minutes, and ensemble.max_minutes is {limit}"
            );
        }
        self.plan.keep_members(self.pipeline, member)?;
        self.artifacts.resize(self.plan.nodes.len(), None);
        Ok(())
    }

    /// Runs node `index` if it is stale and in scope, and says what happens to it.
    fn bring_up_to_date(&mut self, index: usize) -> Result<()> {
        let node = &self.plan.nodes[index];
        let only_answers = self.scope.only_answers;
        let label = node.label.clone();
        let say = |state: &str| {
            if !only_answers {
                eprintln!("{label:<12} {state}");
            }
        };
        if self.scope.keep.contains(&node.stage) {
            let Some(current) = self.plan.current(node) else {
                bail!(UserError::new(format!(
                    "--keep {0}: the {0} stage of this pipeline has not run yet",
                    node.stage
                )));
            };
            say("kept as it is");
            self.artifacts[index] = Some(current);
            return Ok(());
        }
        if self.scope.only.is_some_and(|only| node.stage > only) {
            return Ok(());
        }
        let Some(ready) = self.plan.ready(index, &self.artifacts)? else {
            let waits = self.plan.missing(index, &self.artifacts).join(", ");
            say(&format!("stale: runs if {waits} changes"));
            return Ok(());
        };
        let forced = self.forced(node.stage);
        if Manifest::read(&ready.output)?.is_some() && !forced {
            say("fresh");
        } else {
            let reasons = if forced {
                vec!["forced".to_owned()]
            } else {
                self.plan.reasons(node, &ready)?
            };
            say(&format!("stale: {}", reasons.join(", ")));
            if self.scope.dry_run {
                return Ok(());
            }
            self.check_scope(node)?;
            let log = self
                .plan
                .run
                .join("logs")
                .join(format!("{}.log", node.label.replace(' ', "-")));
            let job = Job {
                stage: node.stage,
                settings: ready.recipe.settings,
                inputs: ready.inputs,
                output: ready.output.clone(),
                seed: ready.recipe.seed,
                device: node.device.clone(),
                code: ready.recipe.code,
                log: Some(log),
            };
            let stage = node.stage;
            let programs = self.programs()?;
            let began = Instant::now();
            programs.run(stage, &job)?;
            say(&format!("done in {}", minutes(began.elapsed())));
        }
        if !self.scope.dry_run {
            relink(
                &ready.output,
                &self.plan.run.join(&self.plan.nodes[index].link),
            )?;
        }
        self.artifacts[index] = Some(ready.output);
        Ok(())
    }

    /// Refuses a stale node that was not asked to run.
    fn check_scope(&self, node: &Node) -> Result<()> {
        if let Some(only) = self.scope.only.filter(|&only| only != node.stage) {
            let message = format!("{} is stale, and only {only} was to run", node.label);
            let hint = "run the whole pipeline, or add --keep for a stage to take as it is";
            bail!(UserError::new(message).hint(hint));
        }
        let models = [Stage::Checkpoint, Stage::Pretrain, Stage::Train];
        if self.scope.only_answers && models.contains(&node.stage) {
            let message = format!("{} is stale, and there is no model to ask", node.label);
            let hint = format!("run cargo xtask pipeline {}", self.pipeline.file);
            bail!(UserError::new(message).hint(hint));
        }
        Ok(())
    }

    fn forced(&self, stage: Stage) -> bool {
        let in_scope = self.scope.only.is_none_or(|only| only == stage);
        (self.scope.force && in_scope) || self.scope.from.is_some_and(|from| stage >= from)
    }

    /// The stage programs, built on first use.
    fn programs(&mut self) -> Result<&Programs> {
        if self.programs.is_none() {
            self.programs = Some(build(self.pipeline)?);
        }
        Ok(self.programs.as_ref().expect("built above"))
    }

    /// Leaves in the run's folder what is this run's, its results at the top.
    fn publish(&self) -> Result<()> {
        let run = &self.plan.run;
        self.plan.remove_other_links()?;
        fs_err::write(run.join("pipeline.toml"), &self.pipeline.resolved)?;
        for file in RESULTS {
            let target = run.join("answers").join(file);
            let link = run.join(file);
            if target.exists() {
                relink(&Path::new("answers").join(file), &link)?;
            }
        }
        Ok(())
    }
}

/// Builds the stage programs, and brings libtorch first where the pipeline computes with it.
pub fn build(pipeline: &Pipeline) -> Result<Programs> {
    let device = pipeline.device.as_str();
    if !workspace::has_libtorch() && !matches!(device, "auto" | "flex") {
        eprintln!("device = {device:?} computes with libtorch, which is not set up yet");
        setup::run(false)?;
    }
    eprintln!("building the stage programs (minutes the first time, seconds after)");
    Programs::build()
}

/// Says how good the answers are and where to find more.
fn say_results(plan: &Plan) -> Result<()> {
    let run = &plan.run;
    let metrics = answers::read_metrics(run)?;
    let shown = |file: &str| workspace::display(&run.join(file));
    println!();
    for (split, metrics) in &metrics {
        println!(
            "{:<12} task exact match {:.3} ± {:.3}, CMRC F1 {:.3} ({} questions)",
            split.name(),
            metrics.task_exact_match,
            metrics.task_exact_match_standard_error,
            metrics.cmrc_f1,
            metrics.questions,
        );
    }
    if let Some(report) = EnsembleReport::read(&run.join("ensemble"))? {
        let scores = report.task_exact_match;
        println!(
            "members      task exact match on dev {:.3} on average; together {:+.3}",
            scores.mean_member, scores.gain,
        );
    }
    if run.join("submission.csv").exists() {
        println!("submission   {}", shown("submission.csv"));
    }
    println!(
        "report       {}: where answers go wrong, to look at",
        shown("report.html")
    );
    println!(
        "more         {}: every answer with its candidates",
        shown("answers.jsonl")
    );
    println!("             {}: all rulers", shown("metrics.json"));
    let train = plan.nodes.iter().find(|node| node.stage == Stage::Train);
    if let Some(train) = train {
        println!(
            "             {}: loss, learning rate and speed of every step",
            workspace::display(&run.join(&train.link).join("training.jsonl"))
        );
    }
    Ok(())
}

fn minutes(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 60.. => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}
