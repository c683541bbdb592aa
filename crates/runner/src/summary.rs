//! The summary of a run: how good its answers are, and where to look further.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use spanwise_artifact::answers::{
    self, ANSWERS_FILE, METRICS_FILE, REPORT_FILE, SUBMISSION_FILE, SplitMetrics,
};
use spanwise_artifact::ensemble::EnsembleReport;
use spanwise_artifact::questions::COUNTS_FILE;
use spanwise_artifact::{Stage, UserError};
use spanwise_program::safe_csv::safe_csv;

use crate::pipeline_file::Pipeline;
use crate::plan::freshness::Store;
use crate::plan::graph::Graph;
use crate::run::Run;
use crate::statistics::plus_minus;
use crate::{links, losses, owner, workspace};

/// Prints the summary of a run: its own results, whatever other runs of the pipeline have left in
/// its folder meanwhile.
pub fn print(run: &Run, out: &mut dyn Write) -> Result<()> {
    let training_log = training_log(run.pipeline)?;
    let results = Results {
        answers: &run.answers()?,
        ensemble: run.of_stage(Stage::Ensemble).next_back(),
        data: run.of_stage(Stage::Data).next(),
        windows: run.of_stage(Stage::Windows).next(),
        run: run.folder(),
    };
    write(&results, training_log.as_deref(), out)
}

/// Prints the summary of the last run of a pipeline below `output`.
pub fn print_last(output: &Path, pipeline: &Pipeline, out: &mut dyn Write) -> Result<()> {
    let run = last(output, pipeline)?;
    let again = format!("cargo xtask pipeline {} makes it again", pipeline.file);
    let artifact = |link: &Path| {
        links::follow(&run.join(link)).transpose().map_err(|_| {
            let link = workspace::display(&run.join(link));
            UserError::new(format!("{link} links to what is not there")).hint(&again)
        })
    };
    let of_stage = |stage: Stage| artifact(stage.name().as_ref());
    let (answers, ensemble) = (of_stage(Stage::Answers)?, of_stage(Stage::Ensemble)?);
    let data = of_stage(Stage::Data)?;
    let windows = match first_link(pipeline, Stage::Windows)? {
        Some(link) => artifact(&link)?,
        None => None,
    };
    let counts = [COUNTS_FILE.to_owned()];
    for (artifact, files) in [
        (&answers, None),
        (&ensemble, None),
        (&data, Some(&counts[..])),
        (&windows, Some(&counts[..])),
    ] {
        if let Some(artifact) = artifact
            && let Some(damage) = Store::damage(artifact, files)
        {
            let shown = workspace::display(artifact);
            let error = UserError::new(format!("{shown} is damaged: {damage}"));
            return Err(error.hint(again).into());
        }
    }
    let results = Results {
        // Its metrics lie beside it, too.
        answers: answers.as_deref().unwrap_or(&run),
        ensemble: ensemble.as_deref(),
        data: data.as_deref(),
        windows: windows.as_deref(),
        run: &run,
    };
    write(&results, training_log(pipeline)?.as_deref(), out)
}

/// Writes the submission of a pipeline's last run once more, for spreadsheets.
pub fn write_safe_csv(output: &Path, pipeline: &Pipeline) -> Result<()> {
    let run = last(output, pipeline)?;
    let submission = run.join(SUBMISSION_FILE);
    ensure!(
        submission.exists(),
        UserError::new(format!("{} is not there", workspace::display(&submission))).hint(format!(
            "cargo xtask pipeline {} writes it where there are test questions",
            pipeline.file
        ))
    );
    let text = safe_csv(&fs_err::read_to_string(submission)?)?;
    links::write(&run.join(SAFE_SUBMISSION_FILE), &text)
}

/// The folder of a pipeline's last run. Fails where there was none.
fn last(output: &Path, pipeline: &Pipeline) -> Result<PathBuf> {
    let run = output.join("runs").join(&pipeline.name);
    owner::check(&run, pipeline)?;
    ensure!(
        run.join(METRICS_FILE).exists(),
        UserError::new(format!("{} has not run yet", pipeline.file))
            .hint(format!("cargo xtask pipeline {}", pipeline.file))
    );
    Ok(run)
}

/// The submission for spreadsheets.
pub(crate) const SAFE_SUBMISSION_FILE: &str = "safe-submission.csv";

/// Where a run's results lie.
struct Results<'a> {
    /// The artifact of the answers.
    answers: &'a Path,
    /// The artifact of the ensemble.
    ensemble: Option<&'a Path>,
    /// The artifact of the questions.
    data: Option<&'a Path>,
    /// The artifact of the first model's windows.
    windows: Option<&'a Path>,
    /// The folder that people look into.
    run: &'a Path,
}

/// The log of a run's first training, below its folder; `None` where the first model is not trained.
fn training_log(pipeline: &Pipeline) -> Result<Option<PathBuf>> {
    if !pipeline.members[0].train.learns() {
        return Ok(None);
    }
    let link = first_link(pipeline, Stage::Train)?;
    Ok(link.map(|link| link.join("training.jsonl")))
}

/// The link of a pipeline's first node of a stage that the first member has, below its folder.
fn first_link(pipeline: &Pipeline, stage: Stage) -> Result<Option<PathBuf>> {
    let mut graph = Graph::new(pipeline)?;
    graph.add_windows();
    graph.add_member();
    let node = graph.nodes().iter().find(|node| node.stage == stage);
    Ok(node.map(|node| node.link.clone()))
}

fn write(results: &Results, training_log: Option<&Path>, out: &mut dyn Write) -> Result<()> {
    let all_metrics = answers::read_metrics(results.answers)?;
    let losses = losses::lines(results.data, results.windows, &all_metrics)?;
    for (split, metrics) in all_metrics {
        let title = metrics.title();
        let SplitMetrics {
            questions,
            exact_match,
            exact_match_standard_error: error,
            f1,
            cmrc_f1,
            ..
        } = metrics;
        let f1 = match f1 {
            Some(f1) => format!("F1 {f1:.3}"),
            None => format!("CMRC F1 {cmrc_f1:.3}"),
        };
        let error = plus_minus(error, 3);
        writeln!(
            out,
            "{:<12} {title} exact match {exact_match:.3}{error}, {f1} ({questions} questions)",
            split.name(),
        )?;
        if let Some([has_answer, no_answer]) = metrics.by_answerability {
            writeln!(
                out,
                "{:<12} {:.3} of {} questions with an answer, {:.3} of {} without",
                "",
                has_answer.exact_match,
                has_answer.questions,
                no_answer.exact_match,
                no_answer.questions,
            )?;
        }
    }
    for (split, lost) in losses {
        writeln!(out, "{:<12} {}: {lost}", "note", split.name())?;
    }
    let report = results.ensemble.map(EnsembleReport::read).transpose()?;
    if let Some(report) = report.flatten() {
        let scores = report.task_exact_match;
        writeln!(
            out,
            "{:<12} task exact match on dev {:.3} on average; together {:+.3}",
            "members", scores.mean_member, scores.gain,
        )?;
    }
    let mut line = |name: &str, file: &Path, what: &str| {
        let shown = workspace::display(&results.run.join(file));
        writeln!(out, "{name:<12} {shown}{what}")
    };
    if results.answers.join(SUBMISSION_FILE).exists() {
        line("submission", SUBMISSION_FILE.as_ref(), "")?;
    }
    line(
        "report",
        REPORT_FILE.as_ref(),
        ": where answers go wrong, to look at",
    )?;
    line(
        "more",
        ANSWERS_FILE.as_ref(),
        ": every answer with its candidates",
    )?;
    line("", METRICS_FILE.as_ref(), ": all metrics")?;
    if let Some(log) = training_log {
        line("", log, ": loss, learning rate and speed of every step")?;
    }
    Ok(())
}
