//! What every program of the pipeline shares: `main`, logging, progress, exit codes, pip.
//!
//! Nothing here changes an artifact, so the package is in no fingerprint.

#![warn(missing_docs)]

pub mod measure;
pub mod output;
pub mod parallel;
pub mod pip;
pub mod progress;
pub mod safe_csv;
pub mod signals;

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::SystemTime;

use anyhow::{Result, bail, ensure};
use clap::Parser;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::prelude::*;

use spanwise_artifact::draft::{Draft, STATE_PREFIX};
use spanwise_artifact::durable;
use spanwise_artifact::error::UserError;
use spanwise_artifact::job::Job;
use spanwise_artifact::manifest::Manifest;
use spanwise_artifact::stage::Stage;

use crate::output::Plain;
use crate::signals::Interrupted;

/// Exit code of a mistake that the user can fix; any other failure ends with 1.
pub const EXIT_USER_ERROR: u8 = 2;

#[derive(Parser)]
#[command(
    name = "spanwise",
    about = "One stage of a spanwise pipeline. `cargo xtask pipeline` writes the job and starts it.",
    version
)]
struct Arguments {
    /// What to do: settings, inputs and output, as JSON
    #[arg(long, value_name = "FILE")]
    job: PathBuf,

    /// Only say what is wrong with the job, as far as that is known before its work; write nothing
    #[arg(long)]
    check: bool,
}

/// Runs a stage program: reads the job, lets `run` fill the draft, commits it as an artifact.
pub fn main(stage: Stage, run: impl FnOnce(&Job, &mut Draft) -> Result<()>) -> ExitCode {
    main_with_check(stage, |_| Ok(()), run)
}

/// The same for a stage that can `check` a job before its work.
pub fn main_with_check(
    stage: Stage,
    check: impl FnOnce(&Job) -> Result<()>,
    run: impl FnOnce(&Job, &mut Draft) -> Result<()>,
) -> ExitCode {
    let arguments = Arguments::parse();
    signals::end_with_parent();
    let result = read_job(stage, &arguments.job).and_then(|job| {
        if arguments.check {
            listen(None)?;
            check(&job)
        } else {
            listen(job.log.clone())?;
            run_job(stage, &job, run)
        }
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error),
    }
}

fn read_job(stage: Stage, file: &Path) -> Result<Job> {
    let job = Job::read(file)?;
    ensure!(
        job.stage == stage,
        UserError::new(format!(
            "a job for the {} stage was given to the {stage} stage",
            job.stage
        ))
    );
    Ok(job)
}

fn run_job(
    stage: Stage,
    job: &Job,
    run: impl FnOnce(&Job, &mut Draft) -> Result<()>,
) -> Result<()> {
    let mut draft = Draft::create(stage, &job.output)?;
    run(job, &mut draft)?;
    let inputs = job.input_contents()?;
    check_unchanged(job, &inputs)?;
    let manifest = Manifest {
        name: job.name()?,
        stage,
        format: stage.format_version(),
        settings: job.settings.clone(),
        seed: job.seed,
        inputs,
        code: job.code.clone(),
        files: draft.files()?,
        device: draft.computing().device.clone(),
        precision: draft.computing().precision.clone(),
        created: humantime::format_rfc3339(SystemTime::now()).to_string(),
        wall_seconds: draft.seconds(),
        tool_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    draft.commit(&manifest)?;
    // What it would have resumed from is needed until here.
    let state = format!("{STATE_PREFIX}{}", job.name()?);
    let state = job.output.with_file_name(state);
    if state.exists() {
        durable::remove(&state)?;
    }
    Ok(())
}

/// Refuses inputs that are not what the job was written for: what was made from them would stand
/// under a wrong name.
fn check_unchanged(job: &Job, inputs: &BTreeMap<String, String>) -> Result<()> {
    let changed = |role: &&String| job.contents.get(*role) != inputs.get(*role);
    if job.contents.is_empty() {
        return Ok(()); // written by hand
    }
    let Some(role) = inputs.keys().find(changed) else {
        return Ok(());
    };
    let path = job.input(role)?.display();
    Err(UserError::new(format!(
        "{path} was changed while the {} stage read it",
        job.stage
    ))
    .hint("run the same command again, and leave the file alone meanwhile")
    .into())
}

/// Prints an error, its causes and its remedy on standard error, and returns the exit code that
/// fits. Standard output that its reader has closed is no error.
pub fn report(error: &anyhow::Error) -> ExitCode {
    if output::is_closed(error) {
        return ExitCode::SUCCESS;
    }
    let color = io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let (bold, reset) = if color {
        ("\x1b[1;31m", "\x1b[0m")
    } else {
        ("", "")
    };
    let mut out = io::stderr().lock();
    // A closed standard error leaves nobody to tell.
    let text = shortened(&chain(error));
    let text = output::plain(&text);
    let _ = if error.is::<Interrupted>() {
        writeln!(out, "{text}")
    } else {
        writeln!(out, "{bold}error{reset}: {text}")
    };
    if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
        return ExitCode::from(interrupted.exit_code());
    }
    let hint = match error.downcast_ref::<UserError>() {
        Some(user) => user.hint.as_deref(),
        None => match remedy(error) {
            Some(remedy) => Some(remedy),
            None => return ExitCode::FAILURE,
        },
    };
    if let Some(hint) = hint {
        let _ = writeln!(out, "hint: {}", output::plain(hint));
    }
    ExitCode::from(EXIT_USER_ERROR)
}

/// An error and its causes, but for those that the sentence has already.
fn chain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text.extend([": ", &cause]);
        }
    }
    text
}

/// A text whose long lines, as of somebody's file of one line, are cut after some characters.
fn shortened(text: &str) -> String {
    const KEPT: usize = 300;
    let short = |line: &str| {
        if line.chars().count() <= 2 * KEPT {
            return line.to_owned();
        }
        let start: String = line.chars().take(KEPT).collect();
        format!(
            "{start} … and {} characters more",
            line.chars().count() - KEPT
        )
    };
    text.lines().map(short).collect::<Vec<_>>().join("\n")
}

/// What to do where the machine is in the way and not the program: its disk or its permissions.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    let kind = error.chain().find_map(|cause| {
        let error = cause.downcast_ref::<io::Error>()?;
        Some(error.kind())
    })?;
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("make room: cargo xtask gc removes what no run needs")
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            Some("allow it, or let SPANWISE_OUTPUT name another place for all results")
        }
        ErrorKind::NotADirectory => Some("a file is where a directory belongs"),
        _ => None,
    }
}

/// Sends messages to standard error, above any progress bar, and to a log file. `RUST_LOG` sets the
/// level.
pub fn listen(log: Option<PathBuf>) -> Result<()> {
    let levels = std::env::var("RUST_LOG").ok();
    let levels = levels.filter(|levels| !levels.is_empty());
    let filter: Targets = match levels.map(|levels| levels.parse()) {
        Some(Ok(filter)) => filter,
        Some(Err(error)) => bail!(
            UserError::new(format!("RUST_LOG: {error}"))
                .hint("such as RUST_LOG=warn, or info,spanwise_train=debug")
        ),
        None => Targets::new().with_default(LevelFilter::INFO),
    };
    let console = tracing_subscriber::fmt::layer()
        .without_time()
        .with_target(false)
        .with_level(false)
        .with_writer(StandardError);
    let file = match log {
        Some(path) => {
            if let Some(parent) = path.parent() {
                fs_err::create_dir_all(parent)?;
            }
            let file = fs_err::File::create(&path)?;
            let layer = tracing_subscriber::fmt::layer();
            Some(
                layer
                    .with_target(false)
                    .with_writer(Mutex::new(Plain(file))),
            )
        }
        None => None,
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(console)
        .with(file)
        .init();
    Ok(())
}

/// Standard error that takes progress bars away while a message is written.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        progress::suspend(|| Plain(io::stderr()).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for StandardError {
    type Writer = StandardError;

    fn make_writer(&'a self) -> Self::Writer {
        StandardError
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_lines_are_cut() {
        let check = |text: &str, expected: &str| assert_eq!(shortened(text), expected);
        check("a\nb", "a\nb");
        let start = "[".repeat(300);
        let line = "[".repeat(1000);
        check(
            &format!("a\n{line}\nb"),
            &format!("a\n{start} … and 700 characters more\nb"),
        );
    }

    #[test]
    fn what_the_machine_refuses_has_a_remedy() {
        let check = |kind: ErrorKind, is_theirs| {
            let error = io::Error::new(kind, "the cause");
            let error = anyhow::Error::from(error).context("write a file: the cause");
            assert_eq!(chain(&error), "write a file: the cause");
            assert_eq!(remedy(&error).is_some(), is_theirs, "{kind}");
        };
        check(ErrorKind::StorageFull, true);
        check(ErrorKind::ReadOnlyFilesystem, true);
        check(ErrorKind::PermissionDenied, true);
        check(ErrorKind::NotFound, false);
    }

    #[test]
    fn a_changed_input_stops_the_stage() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs_err::write(file.path(), "old")?;
        let inputs = json!({"train.0": {"path": file.path()}});
        let job = json!({"stage": "data", "settings": {}, "inputs": inputs, "output": "data/0"});
        let mut job: Job = serde_json::from_value(job)?;
        let contents = job.input_contents()?;
        check_unchanged(&job, &BTreeMap::new())?; // by hand, nothing is expected
        job.contents.clone_from(&contents);
        check_unchanged(&job, &contents)?;
        fs_err::write(file.path(), "new")?;
        let error = check_unchanged(&job, &job.input_contents()?).unwrap_err();
        assert!(
            error.is::<UserError>() && error.to_string().contains("was changed"),
            "{error:#}"
        );
        Ok(())
    }
}
