//! The stage programs: built when they are needed, started as processes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use spanwise_artifact::settings::Device;
use spanwise_artifact::{Job, Stage, UserError, draft, jsonl};
use spanwise_program::EXIT_USER_ERROR;
use spanwise_program::output::message;
use spanwise_program::signals;

use crate::run::Execute;
use crate::workspace;

/// Programs of the workspace, built when [`Execute::prepare`] or [`Programs::path`] asks for them.
pub struct Programs {
    bring_libtorch: fn() -> Result<()>,
    /// Where cargo puts them, once it has been asked.
    directory: Option<PathBuf>,
    built: BTreeSet<String>,
    quiet: bool,
}

impl Programs {
    /// None is built yet. `bring_libtorch` is called before a program is built that computes on a
    /// device that takes libtorch where the checkout has none.
    pub fn new(bring_libtorch: fn() -> Result<()>) -> Self {
        Self {
            bring_libtorch,
            directory: None,
            built: BTreeSet::new(),
            quiet: false,
        }
    }

    /// The same, whose stages say only what is wrong.
    #[must_use]
    pub fn quiet(self) -> Self {
        Self {
            quiet: true,
            ..self
        }
    }

    /// Builds those of the programs `spanwise-NAME` that have not been built yet; returns the
    /// folder that they lie in.
    fn build(&mut self, names: &[&str], kind: Kind) -> Result<&Path> {
        let mut missing = names.to_vec();
        missing.retain(|&name| !self.built.contains(name));
        let directory = match self.directory.take() {
            Some(directory) => directory,
            None => target_directory()?.join("debug"),
        };
        if !missing.is_empty() {
            announce(&missing, kind, &directory);
            let mut build = workspace::cargo();
            // With `--workspace`, every dependency has the same features whichever program is
            // built: none is compiled twice.
            build
                .args(["build", "--workspace"])
                .args(workspace::features());
            for name in &missing {
                build.args(["--bin", &format!("spanwise-{name}")]);
            }
            workspace::check(&mut build)?;
            self.built.extend(missing.into_iter().map(str::to_owned));
        }
        Ok(self.directory.insert(directory))
    }

    /// Sets libtorch up where `device` takes it and the checkout has none.
    fn provide(&self, device: Device) -> Result<()> {
        if device.needs_libtorch() && !workspace::has_libtorch() {
            message(format_args!(
                "device = \"{device}\" computes with libtorch, which is not set up yet"
            ));
            (self.bring_libtorch)()?;
        }
        Ok(())
    }

    /// A program that computes with a model, built if it is not yet.
    pub fn path(&mut self, name: &str) -> Result<PathBuf> {
        let file = format!("spanwise-{name}");
        Ok(self.build(&[name], Kind::Model)?.join(file))
    }
}

/// What a program is built from, for people who wait for it.
#[derive(Clone, Copy)]
enum Kind {
    /// Neither Burn nor libtorch.
    Plain,
    /// Everything that a model takes.
    Model,
}

impl Execute for Programs {
    fn prepare(&mut self, stages: &[Stage], device: Device) -> Result<()> {
        let kind = if stages.iter().any(|stage| stage.takes_device()) {
            self.provide(device)?;
            Kind::Model
        } else {
            Kind::Plain
        };
        let names: Vec<&str> = stages.iter().map(|stage| stage.name()).collect();
        self.build(&names, kind)?;
        Ok(())
    }

    fn run(&mut self, job: &Job) -> Result<()> {
        let stage = job.stage;
        let directory = self.directory.as_deref();
        let directory = directory.context("no program has been made ready")?;
        let program = directory.join(format!("spanwise-{stage}"));
        // Beside the artifact, whose lock is held: what a kill leaves is replaced by the next run.
        let file = job.output.with_file_name(format!(".job-{}", job.name()?));
        jsonl::write_document(&file, job)?;
        let mut command = Command::new(&program);
        command.arg("--job").arg(&file);
        if self.quiet {
            command.env("RUST_LOG", "warn");
        }
        signals::bind(&mut command);
        let (process, status) =
            signals::run(&mut command).with_context(|| format!("start {}", program.display()))?;
        remove_drafts(&job.output, process);
        fs_err::remove_file(&file)?;
        signals::check(": the same command goes on from there")?;
        let status = status.with_context(|| format!("wait for {}", program.display()))?;
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

/// Removes what a process has left beside an artifact that it could not finish.
fn remove_drafts(output: &Path, process: u32) {
    let prefix = draft::prefix(process);
    let entries = output.parent().map(fs_err::read_dir);
    for entry in entries.into_iter().flatten().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            // What stays is removed by `gc`.
            let _ = fs_err::remove_dir_all(entry.path());
        }
    }
}

/// Says what cargo is about to build and how long that may take.
fn announce(names: &[&str], kind: Kind, directory: &Path) {
    let is_new = |name: &&&str| !directory.join(format!("spanwise-{name}")).exists();
    if !names.iter().any(|name| is_new(&name)) {
        // Quick, and cargo says what it compiles.
        return;
    }
    let time = match kind {
        Kind::Plain => "what it is built from is compiled first, which may take a minute",
        Kind::Model => "Burn is compiled first, which takes minutes, and only once",
    };
    message(format_args!("building {}: {time}", names.join(", ")));
}

/// Where cargo builds.
fn target_directory() -> Result<PathBuf> {
    let metadata = workspace::cargo()
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("start cargo metadata")?;
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let target = metadata["target_directory"].as_str();
    let target = target.context("cargo metadata names no target directory")?;
    Ok(target.into())
}
