//! What a run is asked to do, as typed.

use std::path::PathBuf;

use clap::Args;
use spanwise_artifact::Stage;

/// The pipeline file and changes to it.
#[derive(Args)]
pub struct FileArguments {
    /// The pipeline file
    #[arg(default_value = "pipelines/demo.toml")]
    pub file: PathBuf,
    /// Change a setting for this run, such as `--set train.epochs=3`
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,
}

/// Which stages run.
#[derive(Args, Default)]
pub struct Scope {
    /// Run this stage and all after it even if they are fresh
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    pub from: Option<Stage>,
    /// Run this stage only, if it is stale; everything before it must be fresh
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    pub only: Option<Stage>,
    /// Take this stage's current artifact as it is, stale or not
    #[arg(long, value_name = "STAGE", value_parser = stage)]
    pub keep: Vec<Stage>,
    /// Run every stage even if it is fresh
    #[arg(long)]
    pub force: bool,
    /// Print the resolved pipeline file and what would run, and stop
    #[arg(long)]
    pub dry_run: bool,
    /// Answer with the models that are there, and say only what is wrong.
    #[arg(skip)]
    pub only_answers: bool,
}

/// A stage by name.
pub fn stage(name: &str) -> Result<Stage, String> {
    let names = || Stage::ALL.map(Stage::name).join(", ");
    Stage::from_name(name).ok_or_else(|| format!("the stages are {}", names()))
}
