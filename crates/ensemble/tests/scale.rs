//! Memory stays level, however many questions there are.
//!
//! The long form, with its figures:
//! `cargo test -p spanwise-ensemble --test scale -- --ignored --nocapture`.

#![cfg(target_os = "linux")] // a process's memory is read from /proc

#[path = "../../answers/tests/made/mod.rs"]
mod made;
#[path = "../../answers/tests/measured/mod.rs"]
mod measured;

use anyhow::Result;
use measured::Run;
use serde_json::json;
use spanwise_artifact::Split;
use spanwise_artifact::ensemble::EnsembleReport;

/// Combines two members' scores of that many dev questions.
fn combine(questions: usize, method: &str, labelled: bool) -> Result<Run> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    made::data(&path.join("data"), Split::Dev, questions, labelled)?;
    made::prediction(&path.join("one"), Split::Dev, questions, 1)?;
    made::prediction(&path.join("two"), Split::Dev, questions, 2)?;
    let settings = json!({"method": method, "max_answer_length": 30});
    let inputs = [
        ("data", "data"),
        ("member.000.dev", "one"),
        ("member.001.dev", "two"),
    ];
    let program = env!("CARGO_BIN_EXE_spanwise-ensemble");
    let run = measured::run(program, path, "ensemble", &settings, &inputs)?;
    assert_eq!(EnsembleReport::read(&run.output)?.is_some(), labelled);
    Ok(run)
}

#[test]
fn ten_times_as_many_questions_take_no_more_memory() -> Result<()> {
    for (method, labelled, few, limit) in [
        ("vote", false, 6_000, 30_000_000),
        ("weighted", true, 800, 15_000_000),
    ] {
        let many = 10 * few;
        let (of_few, of_many) = (
            combine(few, method, labelled)?,
            combine(many, method, labelled)?,
        );
        of_few.print(method, few);
        of_many.print(method, many);
        let more = of_many.peak.saturating_sub(of_few.peak);
        assert!(more < limit, "{more} bytes more");
    }
    Ok(())
}

#[test]
#[ignore = "takes minutes"]
fn a_million_questions() -> Result<()> {
    for (method, labelled) in [("mean", false), ("vote", false), ("weighted", true)] {
        let run = combine(measured::many(), method, labelled)?;
        let report = if labelled {
            ", with its report on dev"
        } else {
            ""
        };
        run.print(
            &format!("ensemble of two, {method}{report}"),
            measured::many(),
        );
        assert!(run.peak <= 300_000_000, "{} bytes", run.peak);
    }
    Ok(())
}
