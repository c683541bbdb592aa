//! What the program says of jobs and artifacts that cannot be, and of what it cannot measure.

#[path = "../../answers/tests/made/mod.rs"]
mod made;

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use spanwise_artifact::Split;
use spanwise_artifact::ensemble::EnsembleReport;

/// Runs a job with these inputs, by role the name of each in `directory`, and returns its exit code
/// and what it says. What it wrote is in `output` then.
fn run(directory: &Path, settings: &Value, inputs: &[(&str, &str)]) -> Result<(i32, String)> {
    let inputs = inputs
        .iter()
        .map(|(role, name)| ((*role).to_owned(), json!({"path": directory.join(name)})));
    let job = json!({
        "stage": "ensemble",
        "settings": settings,
        "inputs": inputs.collect::<serde_json::Map<_, _>>(),
        "output": directory.join("output"),
    });
    let path = directory.join("job.json");
    fs_err::write(&path, job.to_string())?;
    let output = Command::new(env!("CARGO_BIN_EXE_spanwise-ensemble"))
        .arg("--job")
        .arg(&path)
        .output()?;
    let code = output.status.code().context("ended by a signal")?;
    Ok((code, String::from_utf8(output.stderr)?))
}

const INPUTS: [(&str, &str); 3] = [
    ("data", "data"),
    ("member.000.dev", "one"),
    ("member.001.dev", "two"),
];

fn write_artifacts(directory: &Path, labelled: bool) -> Result<()> {
    made::data(&directory.join("data"), Split::Dev, 20, labelled)?;
    made::prediction(&directory.join("one"), Split::Dev, 20, 1)?;
    made::prediction(&directory.join("two"), Split::Dev, 20, 2)
}

fn settings(method: &str) -> Value {
    json!({"method": method, "max_answer_length": 30})
}

#[test]
fn methods_that_fit_are_refused_where_no_dev_question_has_an_answer() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    write_artifacts(path, false)?;
    for method in ["calibrated", "weighted"] {
        // With questions that have no answer, and without questions.
        for inputs in [&INPUTS[..], &INPUTS[1..]] {
            let (code, message) = run(path, &settings(method), inputs)?;
            assert_eq!(code, 2, "{message}");
            let reason = "fits weights on dev, and no dev question has an answer";
            assert!(message.contains(reason), "{message}");
            assert!(!path.join("output").exists());
        }
    }
    for method in ["mean", "vote"] {
        let (code, message) = run(path, &settings(method), &INPUTS)?;
        assert_eq!(code, 0, "{message}");
        assert!(
            !message.contains("0.000") && !message.contains("NaN"),
            "{message}"
        );
        assert!(message.contains("dev: no reference answer for 20 of 20 questions"));
        assert_eq!(EnsembleReport::read(&path.join("output"))?, None);
    }
    Ok(())
}

#[test]
fn weights_that_cannot_be_held_out_are_not_fitted() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    // Made questions are about one paragraph, four at a time.
    made::data(&path.join("data"), Split::Dev, 4, true)?;
    made::prediction(&path.join("one"), Split::Dev, 4, 1)?;
    made::prediction(&path.join("two"), Split::Dev, 4, 2)?;
    for method in ["calibrated", "weighted"] {
        let (code, message) = run(path, &settings(method), &INPUTS)?;
        assert_eq!(code, 0, "{message}");
        assert!(message.contains("no weights are fitted"), "{message}");
        let report = EnsembleReport::read(&path.join("output"))?.context("a report")?;
        assert_eq!(report.weights, Some(vec![0.5, 0.5]));
        assert_eq!(report.task_exact_match.calibrated, None);
        assert_eq!(report.task_exact_match.weighted, None);
        fs_err::remove_dir_all(path.join("output"))?;
    }
    Ok(())
}

#[test]
fn jobs_and_artifacts_that_cannot_be_end_in_a_sentence() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    write_artifacts(path, true)?;
    fs_err::create_dir(path.join("empty"))?;
    made::data(&path.join("other"), Split::Dev, 19, true)?;
    let check = |settings: &Value, inputs: &[(&str, &str)]| -> Result<()> {
        let (code, message) = run(path, settings, inputs)?;
        assert_eq!(code, 2, "{settings} {inputs:?}: {message}");
        assert!(message.starts_with("error: "), "{message}");
        assert!(!path.join("output").exists());
        Ok(())
    };
    let mean = settings("mean");
    let with = |changed: &[(usize, &'static str)]| {
        let mut inputs = INPUTS;
        for &(index, name) in changed {
            inputs[index].1 = name;
        }
        inputs
    };
    check(&mean, &[])?;
    check(&mean, &INPUTS[..1])?;
    check(
        &mean,
        &[
            ("member.", "one"),
            ("member.000", "one"),
            ("member.dev", "one"),
        ],
    )?;
    for name in ["empty", "nothing", "/etc/passwd"] {
        check(&mean, &with(&[(1, name), (2, name)]))?;
        check(&mean, &with(&[(2, name)]))?;
    }
    check(&mean, &with(&[(0, "other")]))?;
    // A member of test that dev has no weight for, and one of dev that is missing.
    let mut more = INPUTS.to_vec();
    more.push(("member.001.test", "one"));
    check(&mean, &more)?;
    more.extend([("member.000.test", "one"), ("member.002.test", "one")]);
    check(&mean, &more)?;
    for length in [json!(0), json!(-1), json!("30"), json!(1e300)] {
        check(
            &json!({"method": "vote", "max_answer_length": length}),
            &INPUTS,
        )?;
    }
    // The largest numbers do not end the program either.
    for length in [json!(u64::MAX), json!(i64::MAX)] {
        let settings = json!({"method": "vote", "max_answer_length": length});
        let (code, message) = run(path, &settings, &INPUTS)?;
        assert!([0, 2].contains(&code), "{code} {message}");
    }
    Ok(())
}

#[test]
fn damaged_artifacts_end_in_a_sentence() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    write_artifacts(path, true)?;
    for name in [
        "data/dev.questions.jsonl",
        "data/dev.paragraphs.jsonl",
        "one/dev.safetensors",
    ] {
        let file = path.join(name);
        let bytes = fs_err::read(&file)?;
        let mut damages = vec![Vec::new(), b"\0".to_vec(), b"{}\n".repeat(20)];
        for eighth in 1..8 {
            damages.push(bytes[..bytes.len() * eighth / 8].to_vec());
            let mut flipped = bytes.clone();
            flipped[bytes.len() * eighth / 8] ^= 0x84;
            damages.push(flipped);
        }
        for damaged in damages {
            fs_err::write(&file, &damaged)?;
            let (code, message) = run(path, &settings("weighted"), &INPUTS)?;
            // A letter may have become another.
            assert!([0, 2].contains(&code), "{name}: {code} {message}");
        }
        fs_err::write(&file, &bytes)?;
    }
    // Folds that are not those of the questions.
    for folds in ["", "[0]", "[0, 1]", "{}", "[9999999999999999]"] {
        fs_err::write(path.join("data/folds.json"), folds)?;
        let (code, message) = run(path, &settings("mean"), &INPUTS)?;
        assert_eq!(code, 2, "{folds}: {message}");
    }
    Ok(())
}
