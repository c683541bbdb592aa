//! `cargo xtask ci`: what continuous integration runs, in the order in which it fails soonest.

use std::path::Path;

use anyhow::Result;

use spanwise_runner::{Scope, pipeline, setup, workspace};

use crate::test;

/// Formats, lints, the README's two commands, then the model on libtorch.
pub fn run() -> Result<()> {
    step("format");
    workspace::check(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    step("lint");
    lint()?;
    step("test");
    test::run(&[])?;
    step("demo");
    pipeline::run(Path::new("pipelines/demo.toml"), &[], &Scope::default())?;
    step("libtorch");
    setup::run(false)?;
    lint()?;
    let mut model = workspace::cargo();
    model
        .args([
            "test",
            "--package",
            "spanwise-ops",
            "--package",
            "spanwise-training",
            "--package",
            "spanwise-train",
        ])
        .args(workspace::features());
    workspace::check(&mut model)
}

fn lint() -> Result<()> {
    let mut clippy = workspace::cargo();
    clippy
        .args(["clippy", "--workspace", "--all-targets"])
        .args(workspace::features())
        .args(["--", "--deny", "warnings"]);
    workspace::check(&mut clippy)
}

fn step(name: &str) {
    eprintln!("\n=== {name}");
}
