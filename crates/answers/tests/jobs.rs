//! What the program says of jobs, settings and artifacts that cannot be, and of answers that cannot
//! be found.

mod made;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use spanwise_artifact::answers::{self, NBest, REPORT_FILE, read_metrics};
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::{ScoreWriter, Scores, Whole};
use spanwise_artifact::{Answer, Paragraph, Question, Reference, Split, jsonl};

/// Runs a job and returns its exit code and what it says. What it wrote is in `output` then.
fn run(directory: &Path, settings: &Value, data: &Path, scores: &Path) -> Result<(i32, String)> {
    let job = json!({
        "stage": "answers",
        "settings": settings,
        "inputs": {"data": {"path": data}, "ensemble": {"path": scores}},
        "output": directory.join("output"),
    });
    let path = directory.join("job.json");
    fs_err::write(&path, job.to_string())?;
    let output = Command::new(env!("CARGO_BIN_EXE_spanwise-answers"))
        .arg("--job")
        .arg(&path)
        .output()?;
    let code = output.status.code().context("ended by a signal")?;
    Ok((code, String::from_utf8(output.stderr)?))
}

/// Artifacts of three dev questions about one paragraph, the last without an answer.
fn write_artifacts(directory: &Path) -> Result<()> {
    let text =
        "青田站於1926年啟用，位於嵐山縣北端，由建築師高野設計。站前的石獅廣場每週六舉辦市集。";
    let question = |(index, answer): (usize, Option<&str>)| Question {
        id: index.to_string(),
        paragraph: 0,
        text: "何時?".to_owned(),
        reference: answer.map_or(Reference::Unknown, |answer| {
            Reference::Spans(vec![Answer {
                text: answer.to_owned(),
                start: text[..text.find(answer).unwrap_or(0)].chars().count(),
            }])
        }),
    };
    let answers = [Some("1926年"), Some(text), None];
    Questions {
        paragraphs: vec![Paragraph {
            text: text.to_owned(),
            article: None,
        }],
        questions: answers.into_iter().enumerate().map(question).collect(),
    }
    .write(directory, Split::Dev)?;
    made::profile(directory)?;
    let length = text.chars().count();
    let mut writer = ScoreWriter::create(directory, Split::Dev, vec![length; answers.len()])?;
    for _ in answers {
        let mut scores = Scores::none(length);
        (scores.start[4], scores.end[8]) = (1.0, 1.0);
        writer.push(scores.view(), Whole::with_null(1.0))?;
    }
    writer.finish()
}

#[test]
fn what_is_no_artifact_is_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let made = path.join("made");
    fs_err::create_dir(&made)?;
    write_artifacts(&made)?;
    let empty = path.join("empty");
    fs_err::create_dir(&empty)?;
    let passwd = Path::new("/etc/passwd");
    for (data, scores) in [
        (&*empty, &*made),
        (&made, &empty),
        (passwd, &made),
        (&made, passwd),
        (passwd, passwd),
        (&path.join("nothing"), &path.join("nothing")),
    ] {
        let (code, message) = run(path, &json!({}), data, scores)?;
        assert_eq!(code, 2, "{message}");
        assert!(message.contains("there is nothing to answer"), "{message}");
        assert!(!path.join("output").exists());
    }
    Ok(())
}

#[test]
fn settings_without_bounds_are_refused() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    write_artifacts(path)?;
    for settings in [
        json!({"n_best_size": i64::MAX}),
        json!({"n_best_size": u64::MAX}),
        json!({"n_best_size": 0}),
        json!({"n_best_size": -1}),
        json!({"n_best_size": 1e300}),
        json!({"max_answer_length": i64::MAX}),
        json!({"max_answer_length": 0}),
        json!({"max_answer_length": "fitted"}),
        json!({"rules": {"titles": "maybe"}}),
        json!(null),
    ] {
        let (code, message) = run(path, &settings, path, path)?;
        assert_eq!(code, 2, "{settings}: {message}");
        assert!(message.starts_with("error: "), "{settings}: {message}");
    }
    Ok(())
}

#[test]
fn damaged_artifacts_end_in_a_sentence() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    write_artifacts(path)?;
    fs_err::write(path.join("dev.candidates.jsonl"), "[]\n[]\n[]\n")?;
    let all_fitted = json!({"max_answer_length": "fit", "rules": {"units": "fit"}});
    assert_eq!(run(path, &all_fitted, path, path)?.0, 0);
    for name in [
        "dev.questions.jsonl",
        "dev.paragraphs.jsonl",
        "dev.safetensors",
        "dev.candidates.jsonl",
        "profile.json",
        "counts.json",
    ] {
        let file = path.join(name);
        let bytes = fs_err::read(&file)?;
        let mut damages = vec![Vec::new(), b"\0".to_vec(), b"{}\n".repeat(3)];
        for eighth in 1..8 {
            damages.push(bytes[..bytes.len() * eighth / 8].to_vec());
            let mut flipped = bytes.clone();
            flipped[bytes.len() * eighth / 8] ^= 0x84;
            damages.push(flipped);
        }
        for damaged in damages {
            fs_err::write(&file, &damaged)?;
            let (code, message) = run(path, &all_fitted, path, path)?;
            // A letter may have become another.
            assert!([0, 2].contains(&code), "{name}: {code} {message}");
        }
        fs_err::write(&file, &bytes)?;
    }
    Ok(())
}

#[test]
fn answers_that_cannot_be_found_and_questions_that_cannot_be_measured_are_said() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    write_artifacts(path)?;
    let (code, message) = run(path, &json!({"max_answer_length": 30}), path, path)?;
    assert_eq!(code, 0, "{message}");
    for sentence in [
        "dev: 1 of 2 questions cannot be answered right: every reference answer is longer than max_answer_length, 30 characters",
        "dev: no reference answer for 1 of 3 questions",
        "dev: task exact match 0.500",
    ] {
        assert!(message.contains(sentence), "{message}");
    }
    let metrics = &read_metrics(&path.join("output"))?[&Split::Dev];
    assert_eq!(metrics.longer_than_max_answer_length, 1);
    assert_eq!((metrics.questions, metrics.unlabelled), (2, 1));
    let page = fs_err::read_to_string(path.join("output").join(REPORT_FILE))?;
    assert!(page.contains("1 of 2 answers is longer than <code>max_answer_length</code>"));

    // Without the limit nothing is too long.
    let (_, message) = run(path, &json!({"decoding": "independent"}), path, path)?;
    assert!(!message.contains("longer than"), "{message}");
    Ok(())
}

#[test]
fn predictions_and_their_alternatives_are_written_by_id() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    let check = |settings: Value, prefix: &str, split: Split, size: usize| -> Result<()> {
        let (code, message) = run(path, &settings, path, path)?;
        assert_eq!(code, 0, "{message}");
        let output = path.join("output");
        let read = |name: &str| -> Result<BTreeMap<String, Value>> {
            jsonl::read_document(&output.join(format!("{prefix}{name}")))
        };
        let (predictions, mut nbest) = (read("predictions.json")?, read("nbest.json")?);
        let records = answers::read(&output)?.collect::<Result<Vec<_>>>()?;
        let records = records.into_iter().filter(|record| record.split == split);
        let mut count = 0;
        for record in records {
            assert_eq!(predictions[&record.id], json!(record.answer));
            let found: Vec<NBest> =
                serde_json::from_value(nbest.remove(&record.id).context("an entry")?)?;
            let texts: Vec<&str> = found.iter().map(|each| &*each.text).collect();
            let candidates = record.candidates.iter().map(|each| &*each.text);
            let expected: Vec<&str> = candidates.collect();
            assert_eq!(
                texts,
                if expected.is_empty() {
                    vec![""]
                } else {
                    expected
                }
            );
            assert!(texts.len() <= size);
            let sum: f32 = found.iter().map(|each| each.probability).sum();
            assert!((sum - 1.0).abs() < 1e-5, "{sum}");
            for (each, candidate) in found.iter().zip(&record.candidates) {
                let score = candidate.score.context("a score")?;
                assert!((each.start_logit + each.end_logit - score).abs() < 1e-5);
                let best = &found[0];
                let ratio = (score - best.start_logit - best.end_logit).exp();
                assert!((each.probability / best.probability - ratio).abs() < 1e-5);
            }
            count += 1;
        }
        assert_eq!((predictions.len(), nbest.len()), (count, 0));
        assert!(count > 0);
        Ok(())
    };
    made::data(path, Split::Dev, 10, true)?;
    made::prediction(path, Split::Dev, 10, 1)?;
    check(json!({}), "", Split::Dev, 20)?;
    assert!(!path.join("output/dev.predictions.json").exists());
    made::data(path, Split::Test, 5, false)?;
    made::prediction(path, Split::Test, 5, 1)?;
    check(json!({"n_best_size": 3}), "", Split::Test, 3)?;
    check(json!({}), "dev.", Split::Dev, 20)?;
    check(json!({"decoding": "independent"}), "dev.", Split::Dev, 1)
}

#[test]
fn an_unanswered_question_has_an_empty_prediction() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    Questions {
        paragraphs: vec![Paragraph {
            text: "甲乙".to_owned(),
            article: None,
        }],
        questions: vec![Question {
            id: "\"a\"".to_owned(),
            paragraph: 0,
            text: "何?".to_owned(),
            reference: Reference::Unknown,
        }],
    }
    .write(path, Split::Test)?;
    made::profile(path)?;
    let mut writer = ScoreWriter::create(path, Split::Test, vec![2])?;
    let mut scores = Scores::none(2);
    (scores.start[1], scores.end[0]) = (1.0, 1.0);
    writer.push(scores.view(), Whole::NONE)?;
    writer.finish()?;
    let (code, message) = run(path, &json!({"decoding": "independent"}), path, path)?;
    assert_eq!(code, 0, "{message}");
    let read = |name: &str| fs_err::read_to_string(path.join("output").join(name));
    assert_eq!(read("predictions.json")?, "{\n\"\\\"a\\\"\": \"\"\n}\n");
    assert_eq!(
        read("nbest.json")?,
        "{\n\"\\\"a\\\"\": [{\"text\":\"\",\"probability\":1.0,\"start_logit\":0.0,\"end_logit\":0.0}]\n}\n"
    );
    Ok(())
}

#[test]
fn what_is_not_measured_is_no_number() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path();
    made::data(path, Split::Dev, 10, false)?;
    made::prediction(path, Split::Dev, 10, 1)?;
    let settings = json!({"max_answer_length": "fit", "rules": {"units": "fit"}});
    let (code, message) = run(path, &settings, path, path)?;
    assert_eq!(code, 0, "{message}");
    let page = fs_err::read_to_string(path.join("output").join(REPORT_FILE))?;
    let page = &page[page.find("<h1>").context("a page")?..];
    for text in [&message[..], page] {
        assert!(!text.contains("0.000") && !text.contains("NaN"), "{text}");
    }
    assert!(message.contains("no dev question has a reference answer to fit it on"));
    assert!(read_metrics(&path.join("output"))?.is_empty());
    Ok(())
}
