//! `cargo xtask doctor`: what this machine has, for people and for bug reports.

use std::io::Write;
use std::process::Command;

use anyhow::Result;
use spanwise_runner::workspace;

use crate::{programs, setup};

/// Prints what the machine has, then what the programs find on it.
pub(crate) fn run(out: &mut dyn Write) -> Result<()> {
    let mut fact = |name: &str, fact: &str| writeln!(out, "{name:<18} {fact}");
    fact(
        "system",
        &format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
    )?;
    let threads = std::thread::available_parallelism().map_or(0, usize::from);
    fact("processor threads", &threads.to_string())?;
    fact(
        "rustc",
        &first_line("rustc", &["--version"]).unwrap_or_else(|| "not found".to_owned()),
    )?;
    fact(
        "python3",
        &first_line("python3", &["--version"]).unwrap_or_else(|| {
            "not found: the demo's checkpoint and `setup` come through pip".to_owned()
        }),
    )?;
    let gpu = [
        "--query-gpu=name,memory.total,compute_cap,driver_version",
        "--format=csv,noheader",
    ];
    fact(
        "NVIDIA GPU",
        &first_line("nvidia-smi", &gpu).unwrap_or_else(|| "none".to_owned()),
    )?;
    fact("libtorch", &libtorch())?;
    workspace::check(&mut Command::new(programs().path("doctor")?))
}

/// What is set up.
pub(crate) fn libtorch() -> String {
    let directory = workspace::libtorch();
    if !workspace::has_libtorch() {
        return "not set up: `cargo xtask setup` fetches it".to_owned();
    }
    let version = setup::version(&directory).unwrap_or_else(|| "of unknown version".to_owned());
    match setup::cuda_version(&directory) {
        Some(cuda) => format!("{version}, with CUDA {cuda}"),
        None => format!("{version}, CPU only"),
    }
}

/// The first line a program prints; `None` where it is missing or fails.
pub(crate) fn first_line(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().next()?.trim().to_owned();
    output.status.success().then_some(line)
}
