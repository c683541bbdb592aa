//! What the command line prints, without running a stage.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use spanwise_artifact::Stage;

fn xtask(arguments: &[&str], output: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(arguments);
    command.env("SPANWISE_OUTPUT", output);
    command.env("NO_COLOR", "1");
    command
}

fn run(arguments: &[&str]) -> Output {
    let output = tempfile::tempdir().unwrap();
    let output = output.path();
    xtask(arguments, output).output().unwrap()
}

/// Standard output of a task that must succeed.
fn printed(arguments: &[&str]) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = run(arguments);
    let messages = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{arguments:?}: {messages}");
    assert_eq!(messages, "", "{arguments:?}");
    String::from_utf8(stdout).unwrap()
}

/// Standard error and exit code of a task that must fail.
fn refused(arguments: &[&str]) -> String {
    let Output { status, stderr, .. } = run(arguments);
    let messages = String::from_utf8(stderr).unwrap();
    let arguments = arguments.join(" ");
    let code = status.code().unwrap();
    assert_ne!(code, 0, "{arguments}");
    format!("cargo xtask {arguments}\n{messages}exit code {code}\n")
}

const TASKS: [&str; 16] = [
    "pipeline", "stage", "ask", "report", "status", "setup", "test", "doctor", "ladder", "compare",
    "inspect", "evaluate", "bench", "gc", "docs", "ci",
];

#[test]
fn help_of_every_task() {
    let all = printed(&["--help"]);
    for task in TASKS {
        assert!(all.contains(&format!("\n  {task} ")), "{task}");
        insta::assert_snapshot!(format!("help-{task}"), printed(&[task, "--help"]));
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn help_names_every_stage() {
    let help = printed(&["stage", "--help"]);
    for stage in Stage::ALL {
        assert!(help.contains(stage.name()), "{stage}");
    }
}

#[test]
fn status_and_dry_run() {
    insta::assert_snapshot!("status", printed(&["status"]));
    let dry_run = ["pipeline", "--dry-run", "--set", "train.epochs=7"];
    insta::assert_snapshot!("dry-run", printed(&dry_run));
    insta::assert_snapshot!("gc", printed(&["gc"]));
}

#[test]
fn mistakes() {
    let all = [
        refused(&["pipelin"]),
        refused(&["stage", "training"]),
        refused(&["pipeline", "--only", "training"]),
        refused(&["pipeline", "none.toml"]),
        refused(&["pipeline", "--dry-run", "--set", "train.batch_size=0"]),
        refused(&["report"]),
        refused(&["compare", "pipelines/demo.toml"]),
        refused(&[
            "compare",
            "pipelines/demo.toml",
            "--with",
            "train.epochs=1",
            "--seeds",
            "0",
        ]),
        refused(&["bench"]),
    ];
    insta::assert_snapshot!("mistakes", all.join("\n"));
}

/// As under `| head` when it has seen enough.
#[test]
fn a_closed_pipe_is_success() {
    let output = tempfile::tempdir().unwrap();
    for arguments in [&["status"][..], &["pipeline", "--dry-run"], &["gc"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let mut command = xtask(arguments, output.path());
        let found = command.stdout(writer).stderr(Stdio::piped()).output();
        let found = found.unwrap();
        let messages = String::from_utf8_lossy(&found.stderr);
        assert!(
            found.status.success() && messages.is_empty(),
            "{arguments:?}: {messages}"
        );
    }
}

/// Nobody reads messages, and the task still succeeds.
#[test]
fn a_closed_standard_error_is_no_failure() {
    let output = tempfile::tempdir().unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    drop(reader);
    assert!(writer.write_all(b"x").is_err());
    let mut command = xtask(&["pipeline", "none.toml"], output.path());
    let status = command.stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
