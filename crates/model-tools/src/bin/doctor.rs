//! Prints what this machine computes with. `cargo xtask doctor` runs it.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use spanwise_program as program;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => program::report(&error),
    }
}

fn run() -> Result<()> {
    let mut out = program::output::results();
    for (name, fact) in spanwise_ops::device::facts() {
        writeln!(out, "{name:<18} {fact}")?;
    }
    Ok(())
}
