//! The stage programs: built when they are needed, started as processes.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::Value;
use spanwise_artifact::settings::Device;
use spanwise_artifact::{Job, Stage, UserError, jsonl};
use spanwise_program::EXIT_USER_ERROR;
use spanwise_program::output::message;
use spanwise_program::signals;

use crate::run::{Execute, trains};
use crate::workspace;

/// What the names of job files begin with, beside the artifacts that they are for.
pub(crate) const JOB_PREFIX: &str = ".job-";

/// Programs of the workspace, built when [`Execute::prepare`] or [`Programs::path`] asks for them.
pub struct Programs {
    bring_libtorch: fn() -> Result<()>,
    /// Where cargo puts them, once it has been asked.
    directory: Option<PathBuf>,
    built: BTreeSet<String>,
    /// The level of the stages' messages, where it is not their own.
    level: Option<&'static str>,
}

impl Programs {
    /// None is built yet. `bring_libtorch` is called before a program is built that computes on a
    /// device that takes libtorch where the checkout has none.
    pub fn new(bring_libtorch: fn() -> Result<()>) -> Self {
        Self {
            bring_libtorch,
            directory: None,
            built: BTreeSet::new(),
            level: None,
        }
    }

    /// The same, whose stages say only what is wrong.
    #[must_use]
    pub fn quiet(self) -> Self {
        Self {
            level: Some("warn"),
            ..self
        }
    }

    /// The same, whose stages say only why they stop.
    #[must_use]
    pub fn silent(self) -> Self {
        Self {
            level: Some("error"),
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

    /// A stage that has been made ready, with a job.
    fn command(&self, stage: Stage, job: &Path) -> Result<Command> {
        let directory = self.directory.as_deref();
        let directory = directory.context("no program has been made ready")?;
        let mut command = Command::new(directory.join(format!("spanwise-{stage}")));
        command.arg("--job").arg(job);
        Ok(command)
    }

    /// Sets libtorch up where `device` takes it and the checkout has none.
    fn provide(&self, device: Device) -> Result<()> {
        // A libtorch that is there knows best what there is.
        if !workspace::has_libtorch()
            && let Some(reason) = cannot_be(device, std::env::consts::OS, has_nvidia_gpu)
        {
            let hint = "device = \"auto\" takes the best there is";
            bail!(UserError::new(format!("device = \"{device}\": {reason}")).hint(hint));
        }
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

/// Why a device cannot be on this machine, where that is known without libtorch.
fn cannot_be(device: Device, system: &str, has_nvidia_gpu: impl Fn() -> bool) -> Option<String> {
    match device {
        Device::Mps if system != "macos" => Some(format!("Macs have it, and this is {system}")),
        Device::Cuda(_) if !has_nvidia_gpu() => {
            Some("no NVIDIA GPU is found: nvidia-smi lists none".to_owned())
        }
        _ => None,
    }
}

/// Whether the driver lists a GPU.
pub fn has_nvidia_gpu() -> bool {
    let output = Command::new("nvidia-smi").arg("-L").output();
    output.is_ok_and(|output| output.status.success())
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

    fn check(&mut self, job: &Job) -> Result<()> {
        let stage = job.stage;
        let file = workspace::temporary(tempfile::NamedTempFile::new())?;
        jsonl::write_document(file.path(), job)?;
        let mut command = self.command(stage, file.path())?;
        // What it says is said again by its work, but for what is wrong.
        command.arg("--check").env("RUST_LOG", "warn");
        run(stage, &mut command, "")
    }

    fn run(&mut self, job: &Job) -> Result<()> {
        let stage = job.stage;
        // Beside the artifact, whose lock is held: what a kill leaves is replaced by the next run.
        let file = job
            .output
            .with_file_name(format!("{JOB_PREFIX}{}", job.name()?));
        jsonl::write_document(&file, job)?;
        let mut command = self.command(stage, &file)?;
        if let Some(level) = self.level {
            command.env("RUST_LOG", level);
        }
        let resumes = if trains(stage) {
            ": the same command resumes"
        } else {
            ""
        };
        let result = run(stage, &mut command, resumes);
        let removed = fs_err::remove_file(&file);
        result?;
        Ok(removed?)
    }
}

/// Runs a stage to its end, unless a signal interrupts it; `resumes` is the rest of the sentence
/// then.
fn run(stage: Stage, command: &mut Command, resumes: &str) -> Result<()> {
    signals::bind(command);
    let (_, status) = signals::run(command).with_context(|| format!("start {command:?}"))?;
    let status = status.with_context(|| format!("wait for {command:?}"))?;
    ended(stage, status, resumes)
}

/// What it means that a stage has ended so.
fn ended(stage: Stage, status: ExitStatus, resumes: &str) -> Result<()> {
    signals::check_ended(status, resumes)?;
    match status.code() {
        Some(0) => Ok(()),
        // The stage has said what and why.
        Some(code) if code == i32::from(EXIT_USER_ERROR) => {
            bail!(UserError::new(format!("the {stage} stage stopped")))
        }
        _ if status.signal() == Some(Signal::KILL.as_raw()) => {
            let takes_less = if trains(stage) {
                ": a smaller micro_batch_size takes less"
            } else if stage == Stage::Predict {
                ": a smaller predict.batch_size takes less"
            } else {
                ""
            };
            let message = format!("the {stage} stage was killed{resumes}");
            let hint = format!("the system does that where memory runs out{takes_less}");
            bail!(UserError::new(message).hint(hint))
        }
        _ => bail!("the {stage} stage failed: {status}"),
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
    ensure!(
        metadata.status.success(),
        "cargo metadata failed: {}",
        String::from_utf8_lossy(&metadata.stderr).trim()
    );
    let metadata: Value = serde_json::from_slice(&metadata.stdout)?;
    let target = metadata["target_directory"].as_str();
    let target = target.context("cargo metadata names no target directory")?;
    Ok(target.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_that_the_system_has_killed_is_no_fault_of_ours() {
        let ended = |stage, status| ended(stage, ExitStatus::from_raw(status), ": again").err();
        assert!(ended(Stage::Train, 0).is_none());
        let killed = ended(Stage::Train, 9).unwrap();
        let killed: &UserError = killed.downcast_ref().unwrap();
        assert_eq!(killed.message, "the train stage was killed: again");
        assert_eq!(
            killed.hint.as_deref(),
            Some(
                "the system does that where memory runs out: a smaller micro_batch_size takes less"
            )
        );
        let killed = ended(Stage::Data, 9).unwrap();
        let killed: &UserError = killed.downcast_ref().unwrap();
        let hint = "the system does that where memory runs out";
        assert_eq!(killed.hint.as_deref(), Some(hint));
        // A fault that the processor has found.
        assert!(!ended(Stage::Train, 11).unwrap().is::<UserError>());
        assert!(ended(Stage::Train, 2 << 8).unwrap().is::<UserError>());
    }

    #[test]
    fn what_cannot_be_is_known_before_libtorch_is_fetched() {
        let check = |device, system, has_gpu, expected: bool| {
            let reason = cannot_be(device, system, || has_gpu);
            assert_eq!(
                reason.is_some(),
                expected,
                "{device} on {system}: {reason:?}"
            );
        };
        check(Device::Mps, "linux", false, true);
        check(Device::Mps, "macos", false, false);
        check(Device::Cuda(0), "linux", false, true);
        check(Device::Cuda(0), "linux", true, false);
        check(Device::Auto, "linux", false, false);
        check(Device::Cpu, "linux", false, false);
    }
}
