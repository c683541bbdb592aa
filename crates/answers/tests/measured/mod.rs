//! Runs of a stage program, with the memory that it takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use spanwise_program::output::message;

/// A run of a stage.
#[derive(Debug)]
pub(crate) struct Run {
    /// What it wrote.
    pub(crate) output: PathBuf,
    /// Its largest resident set, with what is mapped, in bytes.
    pub(crate) peak: u64,
    /// The largest part of it that is no file's.
    pub(crate) anonymous: u64,
    /// How long it took.
    pub(crate) time: Duration,
}

impl Run {
    /// Prints the figures of a run over this many questions.
    pub(crate) fn print(&self, what: &str, questions: usize) {
        message(format_args!(
            "{what}, {questions} questions: {:.0} MB at most, {:.0} MB of it anonymous; {:.1} s, {:.1} µs a question",
            self.peak as f64 / 1e6,
            self.anonymous as f64 / 1e6,
            self.time.as_secs_f64(),
            self.time.as_secs_f64() * 1e6 / questions as f64,
        ));
    }
}

/// Runs a stage program in `directory` to its end. `inputs`: by role, the name of each in the
/// directory.
pub(crate) fn run(
    program: &str,
    directory: &Path,
    stage: &str,
    settings: &Value,
    inputs: &[(&str, &str)],
) -> Result<Run> {
    let output = directory.join("artifacts").join(stage);
    let inputs = inputs
        .iter()
        .map(|(role, name)| ((*role).to_owned(), json!({"path": directory.join(name)})));
    let job = json!({
        "stage": stage,
        "settings": settings,
        "inputs": inputs.collect::<serde_json::Map<_, _>>(),
        "output": output,
    });
    let path = directory.join("job.json");
    fs_err::write(&path, job.to_string())?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .arg("--job")
        .arg(&path)
        .stderr(Stdio::inherit())
        .spawn()?;
    let (mut peak, mut anonymous) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let status = fs_err::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let bytes = |key: &str| -> u64 {
            let value = status.lines().find_map(|line| line.strip_prefix(key));
            let kibibytes = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
            kibibytes.unwrap_or(0) * 1024
        };
        peak = peak.max(bytes("VmHWM:"));
        anonymous = anonymous.max(bytes("RssAnon:"));
        std::thread::sleep(Duration::from_millis(2));
    };
    ensure!(status.success(), "{program} ended with {status}");
    Ok(Run {
        output,
        peak,
        anonymous,
        time: began.elapsed(),
    })
}

/// Number of questions of the long form of a test: `SPANWISE_QUESTIONS`, or a million.
pub(crate) fn many() -> usize {
    let number = std::env::var("SPANWISE_QUESTIONS").ok();
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or(1_000_000)
}
