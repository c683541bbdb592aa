//! The project's tasks: `cargo xtask <task>`.
//!
//! What was typed becomes a call into [`spanwise_runner`], or one of this checkout's own tasks.

mod bench;
mod ci;
mod doctor;
mod python;
mod setup;
mod test;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use spanwise_artifact::Stage;
use spanwise_artifact::settings::{Metric, MlqaLanguage};
use spanwise_program as program;
use spanwise_program::{output, signals};
use spanwise_runner::ask::{self, Ask, Terminal};
use spanwise_runner::evaluate::{self, Evaluation};
use spanwise_runner::experiment::{self, Repetition};
use spanwise_runner::inspect::{self, Inspection};
use spanwise_runner::pipeline_file::{self, Pipeline};
use spanwise_runner::programs::Programs;
use spanwise_runner::run::{self, Scope};
use spanwise_runner::{gc, reference, summary, workspace};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Fine-tune BERT-family encoders for extractive question answering",
    version
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a pipeline: whatever is stale, in order, and nothing else
    Pipeline {
        #[command(flatten)]
        file: FileArguments,
        #[command(flatten)]
        scope: ScopeArguments,
        /// Print the resolved pipeline file and what would run, and stop
        #[arg(long)]
        dry_run: bool,
    },
    /// Run one stage of a pipeline; everything before it must be fresh
    Stage {
        /// The stage
        #[arg(value_parser = stages())]
        name: Stage,
        #[command(flatten)]
        file: FileArguments,
        /// Run it even if it is fresh
        #[arg(long)]
        force: bool,
    },
    /// Ask a trained pipeline questions about a text of your own
    Ask {
        #[command(flatten)]
        file: FileArguments,
        /// A text file with the paragraph. Without one, it is read from standard input, up to an
        /// empty line
        #[arg(long, value_name = "FILE")]
        paragraph: Option<PathBuf>,
        /// A question, or several of them. Without any, they are read from standard input, one a
        /// line
        #[arg(long = "question", value_name = "TEXT")]
        questions: Vec<String>,
    },
    /// Print the summary of a pipeline's last run again
    Report {
        #[command(flatten)]
        file: FileArguments,
        /// Also write the submission as safe-submission.csv, in which a spreadsheet takes no answer
        /// for a formula; not to be handed in
        #[arg(long)]
        safe_csv: bool,
    },
    /// Print whether every stage of a pipeline is fresh, and if not, why
    Status {
        #[command(flatten)]
        file: FileArguments,
        /// Compare every byte of the artifacts with what was written
        #[arg(long)]
        verify: bool,
    },
    /// Set up libtorch in the checkout: faster on CPU, and the way to a GPU
    Setup {
        /// Fetch the CUDA build even if no NVIDIA GPU is found
        #[arg(long)]
        cuda: bool,
    },
    /// Run all tests
    Test {
        /// Passed on to `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Print what this machine has and what `device = "auto"` would choose
    Doctor,
    /// Run the rungs of the ladder and compare each with the one below
    Ladder {
        /// The rungs, lowest first
        #[arg(default_values = ["pipelines/simple.toml", "pipelines/medium.toml", "pipelines/strong.toml", "pipelines/boss.toml"])]
        files: Vec<PathBuf>,
        #[command(flatten)]
        repetition: RepetitionArguments,
    },
    /// Run a pipeline with and without changes and compare the answers
    Compare {
        /// The pipeline file that the changes are made to
        file: PathBuf,
        /// A pipeline that differs by these settings, such as `--with train.fgm=1` or `--with
        /// "train.epochs=4 train.ema=0.99"`
        #[arg(long = "with", value_name = "KEY=VALUE …", required = true)]
        changes: Vec<String>,
        #[command(flatten)]
        repetition: RepetitionArguments,
    },
    /// Show what data looks like before any training: counts, lengths, what tokens lose, what splits
    /// share
    Inspect {
        /// A pipeline file, or files of questions that belong to no split. Default: pipelines/demo.toml
        #[arg(value_name = "PIPELINE|FILE")]
        files: Vec<PathBuf>,
        /// A file to train on; several take the option several times
        #[arg(long, value_name = "FILE")]
        train: Vec<PathBuf>,
        /// A file to measure on; several take the option several times
        #[arg(long, value_name = "FILE")]
        dev: Vec<PathBuf>,
        /// A file to answer; several take the option several times
        #[arg(long, value_name = "FILE")]
        test: Vec<PathBuf>,
        /// Show files in the tokens of this checkpoint: a hub id, directory or package. Its weights
        /// are not fetched
        #[arg(long, value_name = "SOURCE")]
        checkpoint: Option<String>,
        /// Change a setting, such as `--set windows.max_length=512`
        #[arg(long = "set", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// Write inspect.html and inspect.json into this folder, in place of runs/PIPELINE or
        /// runs/inspect-FILE
        #[arg(long, value_name = "DIR")]
        output: Option<PathBuf>,
    },
    /// Score predictions, of any program, by a published metric
    Evaluate {
        /// The predictions: JSON, `{"id": "answer"}` with "" for no answer, or a submission's CSV
        predictions: PathBuf,
        /// The questions with their answers, in any layout that a pipeline reads
        data: PathBuf,
        /// Compare with these predictions, question by question
        #[arg(long, value_name = "PREDICTIONS")]
        against: Option<PathBuf>,
        /// The metric's definition. Default: task for the course's layout, cmrc for Chinese, korquad
        /// for Korean, and for others squad2 where some questions have no answer, else squad
        #[arg(long, value_parser = named(Metric::ALL.map(Metric::name), Metric::from_name))]
        metric: Option<Metric>,
        /// The answers' language, for mlqa
        #[arg(long, value_parser = named(MlqaLanguage::ALL.map(MlqaLanguage::name), MlqaLanguage::from_name))]
        language: Option<MlqaLanguage>,
        /// How likely each question has no answer, `{"id": number}`, for squad2
        #[arg(long, value_name = "FILE", conflicts_with = "against")]
        no_answer_probability: Option<PathBuf>,
        /// Take back an answer where that is above this number
        #[arg(
            long,
            value_name = "NUMBER",
            default_value_t = 1.0,
            requires = "no_answer_probability",
            allow_negative_numbers = true,
            value_parser = finite
        )]
        no_answer_threshold: f64,
        /// Print JSON, with all digits
        #[arg(long)]
        json: bool,
    },
    /// Time training and evaluation against a program that does the same work
    Bench(bench::Bench),
    /// Remove artifacts that no run links to any more, and drafts of interrupted runs
    Gc {
        /// Remove what interrupted trainings resume from, too
        #[arg(long)]
        states: bool,
        /// Only list what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Write the documents that are made from the code: the reference of the pipeline file
    Docs,
    /// Run what continuous integration runs
    Ci,
}

/// The pipeline file and changes to it.
#[derive(Args)]
struct FileArguments {
    /// The pipeline file
    #[arg(default_value = "pipelines/demo.toml")]
    file: PathBuf,
    /// Change a setting for this run, such as `--set train.epochs=3`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Which stages run.
#[derive(Args)]
struct ScopeArguments {
    /// Run this stage and all after it even if they are fresh
    #[arg(long, value_name = "STAGE", value_parser = stages())]
    from: Option<Stage>,
    /// Run this stage only, if it is stale; everything before it must be fresh
    #[arg(long, value_name = "STAGE", value_parser = stages())]
    only: Option<Stage>,
    /// Use this stage's current artifact as it is, stale or not
    #[arg(long, value_name = "STAGE", value_parser = stages())]
    keep: Vec<Stage>,
    /// Run every stage even if it is fresh
    #[arg(long)]
    force: bool,
    /// Compare every byte of the artifacts with what was written, and make damaged ones again
    #[arg(long)]
    verify: bool,
}

/// How a comparison is repeated.
#[derive(Args)]
struct RepetitionArguments {
    /// Run everything so many times, with other seeds
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1000))]
    seeds: u64,
    /// Change a setting of every pipeline
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Keep runs and table in this folder below `runs`, in place of `ladder` or `compare-FILE`
    #[arg(long)]
    name: Option<String>,
}

/// A stage by its name.
fn stages() -> impl TypedValueParser<Value = Stage> {
    named(Stage::ALL.map(Stage::name), Stage::from_name)
}

/// One of some by its name.
fn named<T: Clone + Send + Sync + 'static, const COUNT: usize>(
    names: [&'static str; COUNT],
    from_name: fn(&str) -> Option<T>,
) -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(names)
        .map(move |name| from_name(&name).expect("only these names pass"))
}

/// A number that something can be above.
fn finite(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => Err("must be a finite number".to_owned()),
    }
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => program::report(&error),
    }
}

fn run(task: Task) -> Result<()> {
    let out = &mut output::results();
    let folder = &workspace::output();
    let mut programs = programs();
    match task {
        Task::Pipeline {
            file,
            scope,
            dry_run: true,
        } => {
            let pipeline = file.read()?;
            writeln!(out, "{}", pipeline.resolved)?;
            run::status(folder, &pipeline, &scope.into(), out)
        }
        Task::Pipeline { file, scope, .. } => pipeline(&file, &scope.into()),
        Task::Stage { name, file, force } => {
            let scope = Scope {
                only: Some(name),
                force,
                ..Scope::default()
            };
            pipeline(&file, &scope)
        }
        Task::Ask {
            file,
            paragraph,
            questions,
        } => {
            let ask = Ask {
                paragraph,
                questions,
            };
            let stdin = io::stdin();
            let mut prompts: Box<dyn Write> = if stdin.is_terminal() {
                Box::new(output::messages())
            } else {
                Box::new(io::sink())
            };
            let terminal = Terminal {
                input: &mut stdin.lock(),
                prompts: &mut prompts,
                results: out,
            };
            ask::run(folder, file.read()?, &ask, &mut programs.quiet(), terminal)
        }
        Task::Report { file, safe_csv } => {
            let pipeline = file.read()?;
            summary::print_last(folder, &pipeline, out)?;
            if safe_csv {
                summary::write_safe_csv(folder, &pipeline)?;
            }
            Ok(())
        }
        Task::Status { file, verify } => {
            let scope = Scope {
                verify,
                ..Scope::default()
            };
            run::status(folder, &file.read()?, &scope, out)
        }
        Task::Setup { cuda } => setup::run(cuda),
        Task::Test { arguments } => {
            signals::keep()?;
            test::run(&arguments)
        }
        Task::Doctor => doctor::run(out),
        Task::Ladder { files, repetition } => {
            signals::keep()?;
            let session = session(folder, &mut programs, out);
            experiment::ladder(&files, &repetition.into(), session)
        }
        Task::Compare {
            file,
            changes,
            repetition,
        } => {
            signals::keep()?;
            let session = session(folder, &mut programs, out);
            experiment::compare(&file, &changes, &repetition.into(), session)
        }
        Task::Evaluate {
            predictions,
            data,
            against,
            metric,
            language,
            no_answer_probability,
            no_answer_threshold,
            json,
        } => {
            let evaluation = Evaluation {
                predictions,
                data,
                against,
                metric,
                language,
                no_answer_probability,
                no_answer_threshold,
                json,
            };
            // What is read may have been put in order in a temporary folder.
            signals::keep()?;
            evaluate::run(&evaluation, out)
        }
        Task::Inspect {
            files,
            train,
            dev,
            test,
            checkpoint,
            overrides,
            output,
        } => {
            signals::keep()?;
            let inspection = Inspection {
                files,
                train,
                dev,
                test,
                checkpoint,
                overrides,
                output,
            };
            let log = &mut output::messages();
            inspect::run(folder, &inspection, &mut programs.silent(), log, out)
        }
        Task::Bench(bench) => bench::run(&bench, out),
        Task::Gc { dry_run, states } => gc::run(folder, gc::Scope { dry_run, states }, out),
        Task::Docs => reference::write(),
        Task::Ci => {
            signals::keep()?;
            ci::run()
        }
    }
}

/// Brings a pipeline up to date; prints the summary of a whole run.
fn pipeline(file: &FileArguments, scope: &Scope) -> Result<()> {
    signals::keep()?;
    let pipeline = file.read()?;
    let folder = &workspace::output();
    let log = &mut output::messages();
    let run = run::run(folder, &pipeline, scope, &mut programs(), log)?;
    if scope.only.is_none() {
        let out = &mut output::results();
        writeln!(out)?;
        summary::print(&run, out)?;
    }
    Ok(())
}

/// The stage programs; libtorch is set up where a pipeline needs it.
fn programs() -> Programs {
    Programs::new(|| setup::run(false))
}

fn session<'a>(
    folder: &'a Path,
    programs: &'a mut Programs,
    out: &'a mut dyn Write,
) -> experiment::Session<'a> {
    experiment::Session {
        output: folder,
        stages: programs,
        results: out,
    }
}

impl FileArguments {
    fn read(&self) -> Result<Pipeline> {
        pipeline_file::read(&self.file, &self.overrides)
    }
}

impl From<ScopeArguments> for Scope {
    fn from(typed: ScopeArguments) -> Self {
        let ScopeArguments {
            from,
            only,
            keep,
            force,
            verify,
        } = typed;
        Self {
            from,
            only,
            keep,
            force,
            verify,
        }
    }
}

impl From<RepetitionArguments> for Repetition {
    fn from(typed: RepetitionArguments) -> Self {
        let RepetitionArguments {
            seeds,
            overrides,
            name,
        } = typed;
        Self {
            seeds,
            overrides,
            name,
        }
    }
}
