//! Memory stays level and the page small, however many questions there are.
//!
//! The long form, with its figures:
//! `cargo test -p spanwise-answers --test scale -- --ignored --nocapture`.

#![cfg(target_os = "linux")] // a process's memory is read from /proc

mod made;
mod measured;

use anyhow::Result;
use measured::Run;
use serde_json::{Value, json};
use spanwise_artifact::Split;
use spanwise_artifact::answers::REPORT_FILE;
use spanwise_program::output::message;

/// Answers that many labelled dev questions.
fn answer(questions: usize, settings: &Value) -> Result<(Run, u64)> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    made::data(&path.join("data"), Split::Dev, questions, true)?;
    made::prediction(&path.join("scores"), Split::Dev, questions, 1)?;
    let inputs = [("data", "data"), ("ensemble", "scores")];
    let program = env!("CARGO_BIN_EXE_spanwise-answers");
    let run = measured::run(program, path, "answers", settings, &inputs)?;
    let report = fs_err::metadata(run.output.join(REPORT_FILE))?.len();
    Ok((run, report))
}

/// Everything that can be fitted.
fn all_fitted() -> Value {
    let rules = json!({"punctuation": "fit", "brackets": "fit", "titles": "fit", "units": "fit"});
    json!({"max_answer_length": "fit", "null_score_diff_threshold": "fit", "rules": rules})
}

#[test]
fn ten_times_as_many_questions_take_no_more_memory() -> Result<()> {
    let (few, _) = answer(4_000, &all_fitted())?;
    let (many, report) = answer(40_000, &all_fitted())?;
    few.print("answers, all fitted", 4_000);
    many.print("answers, all fitted", 40_000);
    let more = many.peak.saturating_sub(few.peak);
    assert!(more < 30_000_000, "{more} bytes more");
    assert!(report < 20_000_000, "{report} bytes");
    Ok(())
}

#[test]
#[ignore = "takes minutes"]
fn a_million_questions() -> Result<()> {
    let pooled = json!({"max_answer_length": "fit", "pool_duplicates": true});
    for (what, settings) in [
        ("answers", json!({})),
        ("answers, all fitted", all_fitted()),
        ("answers, pooled, length fitted", pooled),
    ] {
        let (run, report) = answer(measured::many(), &settings)?;
        run.print(what, measured::many());
        message(format_args!("report: {:.1} MB", report as f64 / 1e6));
        assert!(run.peak <= 300_000_000, "{} bytes", run.peak);
        assert!(report < 20_000_000, "{report} bytes");
    }
    Ok(())
}
