//! `cargo xtask test`.

use std::process::Command;

use anyhow::Result;
use spanwise_program::output::message;
use spanwise_runner::workspace;

use crate::ci::is_installed;

/// Runs every test, on libtorch too where it is set up.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if !workspace::has_libtorch() {
        message(
            "libtorch is not set up: the model is tested on flex only (`cargo xtask setup` changes that)",
        );
    }
    // Arguments are those of `cargo test`.
    if !arguments.is_empty() || !is_installed("nextest") {
        return workspace::check(cargo_test().args(arguments));
    }
    let mut nextest = workspace::cargo();
    nextest.args(["nextest", "run", "--workspace"]);
    workspace::check(nextest.args(workspace::features()))?;
    // The one kind of test that nextest leaves out.
    workspace::check(cargo_test().arg("--doc"))
}

fn cargo_test() -> Command {
    let mut test = workspace::cargo();
    test.args(["test", "--workspace"])
        .args(workspace::features());
    test
}
