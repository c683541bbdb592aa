//! The project's tasks: `cargo xtask <task>`.
//!
//! This program knows stages by name and starts them as processes. It links neither Burn nor tokenizers,
//! so it builds in seconds.

mod bench;
mod ci;
mod doctor;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use spanwise_artifact::Stage;
use spanwise_program as program;
use spanwise_runner::scope::{FileArguments, Scope, stage};
use spanwise_runner::{ask, experiment, gc, pipeline, setup};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
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
        scope: Scope,
    },
    /// Run one stage of a pipeline; everything before it must be fresh
    Stage {
        /// checkpoint, data, windows, pretrain, train, predict, ensemble or answers
        #[arg(value_parser = stage)]
        name: Stage,
        #[command(flatten)]
        file: FileArguments,
        /// Run it even if it is fresh
        #[arg(long)]
        force: bool,
    },
    /// Ask a trained pipeline questions about a text of your own
    Ask(ask::Ask),
    /// Say again what a pipeline's last run came to, and where its report is
    Report {
        #[command(flatten)]
        file: FileArguments,
    },
    /// Say of every stage of a pipeline whether it is fresh, and if not, why
    Status {
        #[command(flatten)]
        file: FileArguments,
    },
    /// Bring libtorch into the checkout: faster on CPU, and the way to a GPU
    Setup {
        /// Bring the CUDA build even if no NVIDIA GPU is found
        #[arg(long)]
        cuda: bool,
    },
    /// Run all tests
    Test {
        /// Passed on to `cargo test`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Say what this machine has and what `device = "auto"` would choose
    Doctor,
    /// Run the rungs of the ladder and compare each with the one below
    Ladder(experiment::Ladder),
    /// Run a pipeline with and without changes and compare the answers
    Compare(experiment::Compare),
    /// Time training and evaluation against PyTorch with transformers
    Bench(bench::Bench),
    /// Remove artifacts that no run links to any more, and what interrupted runs have left behind
    Gc {
        /// Only say what would go
        #[arg(long)]
        dry_run: bool,
    },
    /// Run what continuous integration runs
    Ci,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => program::report(&error),
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Pipeline { file, scope } => pipeline::run(&file.file, &file.overrides, &scope),
        Task::Stage { name, file, force } => {
            let scope = Scope {
                only: Some(name),
                force,
                ..Scope::default()
            };
            pipeline::run(&file.file, &file.overrides, &scope)
        }
        Task::Ask(ask) => ask::run(&ask),
        Task::Report { file } => pipeline::report(&file.file, &file.overrides),
        Task::Status { file } => pipeline::status(&file.file, &file.overrides),
        Task::Setup { cuda } => setup::run(cuda),
        Task::Test { arguments } => test::run(&arguments),
        Task::Doctor => doctor::run(),
        Task::Ladder(ladder) => experiment::ladder(&ladder),
        Task::Compare(compare) => experiment::compare(&compare),
        Task::Bench(bench) => bench::run(&bench),
        Task::Gc { dry_run } => gc::run(dry_run),
        Task::Ci => ci::run(),
    }
}
