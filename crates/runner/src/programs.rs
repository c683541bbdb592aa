//! The stage programs: built when one is needed, started as processes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spanwise_artifact::{Job, Stage, UserError, jsonl};
use spanwise_program::EXIT_USER_ERROR;

use crate::workspace;

/// Where the built programs lie.
#[derive(Clone)]
pub struct Programs {
    directory: PathBuf,
    quiet: bool,
}

impl Programs {
    /// Builds every stage's program. Quick where nothing changed.
    pub fn build() -> Result<Self> {
        let mut build = workspace::cargo();
        build
            .args(["build", "--workspace", "--exclude", "xtask", "--bins"])
            .args(workspace::features());
        workspace::check(&mut build)?;
        let metadata = workspace::cargo()
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .output();
        let metadata: Value =
            serde_json::from_slice(&metadata.context("start cargo metadata")?.stdout)?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target directory")?;
        Ok(Self {
            directory: Path::new(target).join("debug"),
            quiet: false,
        })
    }

    /// The same, saying only what is wrong.
    pub fn quiet(self) -> Self {
        Self {
            quiet: true,
            ..self
        }
    }

    /// A program, by the end of its name.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.join(format!("spanwise-{name}"))
    }

    /// Runs a stage. Its messages go where ours go.
    pub fn run(&self, stage: Stage, job: &Job) -> Result<()> {
        let file = tempfile::Builder::new()
            .prefix("job-")
            .suffix(".json")
            .tempfile()?;
        jsonl::write_document(file.path(), job)?;
        let program = self.path(stage.name());
        let mut command = Command::new(&program);
        command.arg("--job").arg(file.path());
        if self.quiet {
            command.env("RUST_LOG", "warn");
        }
        let status = command.status();
        let status = status.with_context(|| format!("start {}", program.display()))?;
        match status.code() {
            Some(0) => Ok(()),
            // The stage has said what and why.
            Some(code) if code == i32::from(EXIT_USER_ERROR) => {
                bail!(UserError::new(format!("the {stage} stage stopped")))
            }
            _ => bail!("the {stage} stage failed: {status}"),
        }
    }
}
