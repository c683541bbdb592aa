//! `cargo xtask test`.

use std::process::Command;

use anyhow::{Result, ensure};
use spanwise_program::output::message;
use spanwise_runner::workspace;

use crate::ci::{is_installed, must_run_all};

/// Runs every test, on libtorch too where it is set up.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    run_where(arguments, None)
}

/// The same, without the trials, which take minutes.
pub(crate) fn run_without_trials() -> Result<()> {
    run_where(&[], Some("not test(/^trials::/)"))
}

/// What a GPU computes, libtorch's own operators in place of this project's kernels, on the CPU:
/// every operation forward and backward, the model's parity, gradients and optimizer steps.
pub(crate) fn run_as_a_gpu() -> Result<()> {
    const WHAT: &str = "package(spanwise-ops) + package(spanwise-model) \
        + (package(spanwise-train) and test(/^(gradients|optimizer)::/))";
    if !is_installed("nextest") {
        let missing = "cargo-nextest is not installed (`cargo install --locked cargo-nextest`)";
        ensure!(!must_run_all(), "{missing}");
        message(format_args!("skipped: {missing}"));
        return Ok(());
    }
    workspace::check(nextest(Some(WHAT)).env("SPANWISE_NATIVE", "1"))
}

/// `filter`: what nextest runs, in its own language.
fn run_where(arguments: &[String], filter: Option<&str>) -> Result<()> {
    if !workspace::has_libtorch() {
        message(
            "libtorch is not set up: the model is tested on flex only (`cargo xtask setup` changes that)",
        );
    }
    // Arguments are those of `cargo test`.
    if !arguments.is_empty() || !is_installed("nextest") {
        let mut test = cargo_test();
        test.args(arguments);
        if filter.is_some() {
            test.args(["--", "--skip", "trials::"]);
        }
        return workspace::check(&mut test);
    }
    workspace::check(&mut nextest(filter))?;
    // The one kind of test that nextest leaves out.
    workspace::check(cargo_test().arg("--doc"))
}

/// `filter`: what nextest runs, in its own language.
fn nextest(filter: Option<&str>) -> Command {
    let mut nextest = workspace::cargo();
    nextest.args(["nextest", "run", "--workspace"]);
    if let Some(filter) = filter {
        nextest.args(["-E", filter]);
    }
    nextest.args(workspace::features());
    nextest
}

fn cargo_test() -> Command {
    let mut test = workspace::cargo();
    test.args(["test", "--workspace"])
        .args(workspace::features());
    test
}
