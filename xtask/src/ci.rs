//! `cargo xtask ci`: what continuous integration runs, in the order in which it fails soonest.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Result, ensure};
use spanwise_program::output::{message, messages};
use spanwise_runner::run::{self, Scope};
use spanwise_runner::{pipeline_file, workspace};

use crate::{programs, python, setup, test};

/// Format, lints, documentation, dependencies, the README's two commands, transformers on what they
/// wrote, then the model on libtorch.
pub(crate) fn run() -> Result<()> {
    step("format");
    workspace::check(workspace::cargo().args(["fmt", "--all", "--check"]))?;
    step("lint");
    lint()?;
    step("docs");
    document()?;
    step("dependencies");
    dependencies()?;
    step("test");
    // They run once, below.
    test::run_without_trials()?;
    step("demo");
    let demo = pipeline_file::read(Path::new("pipelines/demo.toml"), &[])?;
    let output = workspace::output();
    run::run(
        &output,
        &demo,
        &Scope::default(),
        &mut programs(),
        &mut messages(),
    )?;
    step("transformers");
    transformers()?;
    step("libtorch");
    setup::run(false)?;
    lint()?;
    // With the whole workspace, so that dependencies keep their features and are not compiled once
    // more.
    test::run(&[])?;
    step("libtorch as a GPU runs it");
    test::run_as_a_gpu()
}

fn lint() -> Result<()> {
    let mut clippy = workspace::cargo();
    clippy
        .args(["clippy", "--workspace", "--all-targets"])
        .args(workspace::features())
        .args(["--", "--deny", "warnings"]);
    workspace::check(&mut clippy)
}

fn document() -> Result<()> {
    let mut doc = workspace::cargo();
    doc.args(["doc", "--workspace", "--no-deps"])
        .args(workspace::features())
        .env("RUSTDOCFLAGS", "--deny warnings");
    workspace::check(&mut doc)
}

/// Licences, sources and versions by `deny.toml`.
fn dependencies() -> Result<()> {
    if !is_installed("deny") {
        let missing = "cargo-deny is not installed (`cargo install --locked cargo-deny`)";
        ensure!(!must_run_all(), "{missing}");
        message(format_args!("skipped: {missing}"));
        return Ok(());
    }
    let mut deny = workspace::cargo();
    // Its database of advisories cannot be fetched from everywhere.
    deny.args(["deny", "check", "bans", "licenses", "sources"]);
    workspace::check(&mut deny)
}

/// Both releases of transformers that the model card speaks to, on what pipelines write: the tokens,
/// and the models where that is asked for, since torch takes gigabytes to fetch.
fn transformers() -> Result<()> {
    check_with_transformers("check_tokens.py", python::without_torch)?;
    if std::env::var_os("SPANWISE_TRANSFORMERS").is_none_or(|value| value != "1") {
        message("skipped: SPANWISE_TRANSFORMERS=1 compares models too, and fetches torch, 3.5 GB");
        return Ok(());
    }
    check_with_transformers("check_transformers.py", python::environment)
}

fn check_with_transformers(script: &str, environment: fn() -> Result<PathBuf>) -> Result<()> {
    let environments = environment().and_then(|python| {
        let newest = python::newest(&python)?;
        Ok((python, newest))
    });
    let (python, newest) = match environments {
        Ok(found) => found,
        Err(error) if must_run_all() => return Err(error),
        Err(error) => {
            message(format_args!(
                "skipped: what {script} needs cannot be had: {error:#}"
            ));
            return Ok(());
        }
    };
    let check = || {
        let mut check = Command::new(&python);
        check.arg("-B").arg(Path::new("scripts").join(script));
        check.current_dir(workspace::root());
        check
    };
    workspace::check(&mut check())?;
    workspace::check(check().env("PYTHONPATH", newest))
}

/// Whether what cannot run is a failure, as in continuous integration.
pub(crate) fn must_run_all() -> bool {
    std::env::var_os("SPANWISE_REQUIRE_ALL").is_some_and(|value| value == "1")
}

/// Whether cargo has a subcommand.
pub(crate) fn is_installed(subcommand: &str) -> bool {
    let mut version = Command::new(format!("cargo-{subcommand}"));
    version.args([subcommand, "--version"]);
    version.stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

fn step(name: &str) {
    message(format_args!("\n=== {name}"));
}
