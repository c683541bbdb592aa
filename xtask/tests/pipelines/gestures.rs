//! What runs, what stays fresh, what is refused.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use fs_err as fs;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::pipeline::{Pipeline, data};

/// Dev and test are predicted each by itself.
const ALL: [&str; 8] = [
    "data",
    "checkpoint",
    "windows",
    "train",
    "predict",
    "predict",
    "ensemble",
    "answers",
];

#[test]
fn only_what_changed_and_what_depends_on_it_runs_again() {
    let pipeline = Pipeline::new("gestures-");
    assert_eq!(pipeline.reruns(&[]), ALL);
    let submission = pipeline.result("submission.csv");
    let rows: Vec<&str> = submission.lines().collect();
    assert_eq!((rows.len(), rows[0]), (2, "ID,Answer"));
    assert!(
        rows[1].len() > "0,".len(),
        "joint decoding always answers: {submission}"
    );
    let metrics: Value = serde_json::from_str(&pipeline.result("metrics.json")).unwrap();
    assert_eq!(metrics["dev"]["questions"], 2);
    let report = pipeline.result("report.html");
    assert!(report.contains("on 2 questions"), "{report}");

    let nothing: [&str; 0] = [];
    assert_eq!(
        pipeline.reruns(&[]),
        nothing,
        "a second run finds everything fresh"
    );
    assert_eq!(
        pipeline.reruns(&["--set", "answers.max_answer_length=1"]),
        ["answers"]
    );
    assert_eq!(
        pipeline.reruns(&["--set", "answers.max_answer_length=fit"]),
        ["answers"]
    );
    let metrics: Value = serde_json::from_str(&pipeline.result("metrics.json")).unwrap();
    let fitted = &metrics["dev"]["max_answer_length"]["characters"];
    assert!((1..=40).contains(&fitted.as_u64().unwrap()), "{fitted}");
    assert_eq!(
        pipeline.reruns(&["--set", "seed=2"]),
        ["train", "predict", "predict", "ensemble", "answers"]
    );
    assert_eq!(
        pipeline.reruns(&["--set", "device=auto"]),
        nothing,
        "the device changes rounding, not meaning"
    );
    assert_eq!(
        pipeline.reruns(&["--set", "checkpoint.keep_layers=2"]),
        [
            "checkpoint",
            "train",
            "predict",
            "predict",
            "ensemble",
            "answers"
        ],
        "other weights with the same tokenizer leave the windows fresh"
    );
    assert_eq!(
        pipeline.reruns(&[]),
        nothing,
        "and switching back costs nothing"
    );
    assert_eq!(
        pipeline.reruns(&["--from", "predict"]),
        ["predict", "predict", "ensemble", "answers"]
    );
    assert_eq!(pipeline.reruns(&["--force"]), ALL);
    assert_eq!(
        pipeline.reruns(&["--only", "windows", "--force"]),
        ["windows"]
    );

    // The same content, written differently: data runs, its output is the same, and later stages
    // stay fresh.
    let train = data(
        &["一丁丂七丄丅丆", "万丈三上下丌不", "与丏丐丑丒专且"],
        true,
    );
    fs::write(
        pipeline.directory.path().join("train.json"),
        serde_json::to_string_pretty(&train).unwrap(),
    )
    .unwrap();
    assert_eq!(pipeline.reruns(&[]), ["data"]);

    pipeline.write(
        "test.json",
        &data(&["丣两严並丧丨丩", "丫丬中丮丯丰丱"], false),
    );
    assert_eq!(pipeline.reruns(&["--dry-run"])[0], "data");
    assert_eq!(
        pipeline.reruns(&[]),
        ["data", "windows", "predict", "ensemble", "answers"],
        "a new test file leaves the model and its dev predictions fresh"
    );
    assert_eq!(pipeline.result("submission.csv").lines().count(), 3);

    let members = "ensemble.members=[{ seed = 1 }, { seed = 2 }]";
    assert_eq!(
        pipeline.reruns(&["--set", members]),
        ["predict", "ensemble", "answers"],
        "both members' models are there already; only the second has not seen the new test file"
    );
}

#[test]
fn folds_and_pre_training_are_stages_like_any_other() {
    let pipeline = Pipeline::new("folds-");
    assert_eq!(pipeline.reruns(&[]), ALL);
    assert_eq!(
        pipeline.reruns(&["--set", "pretrain.epochs=1"]),
        [
            "pretrain", "train", "predict", "predict", "ensemble", "answers"
        ]
    );
    let folds = ["--set", "ensemble.folds=2"];
    let fold = ["train", "predict", "predict"];
    let expected = [
        &["data"; 3][..],
        &["windows"; 2],
        &fold,
        &fold,
        &["ensemble", "answers"],
    ];
    assert_eq!(pipeline.reruns(&folds), expected.concat());
    let metrics: Value = serde_json::from_str(&pipeline.result("metrics.json")).unwrap();
    assert_eq!(
        metrics["dev"]["questions"], 5,
        "train and dev, each out of fold"
    );
    assert_eq!(pipeline.result("submission.csv").lines().count(), 2);
    let report: Value = serde_json::from_str(&pipeline.result("ensemble/report.json")).unwrap();
    assert_eq!(
        report["task_exact_match"]["members"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    assert!(pipeline.reruns(&folds).is_empty());
}

#[test]
fn members_begin_while_there_is_time() {
    let pipeline = Pipeline::new("minutes-");
    let members = "ensemble.members=[{ seed = 1 }, { seed = 2 }]";
    let within = |minutes| ["--set", members, "--set", minutes];
    let nothing: [&str; 0] = [];
    let short = within("ensemble.max_minutes=1e-9");
    assert_eq!(pipeline.reruns(&short), ALL, "the first always begins");
    assert_eq!(pipeline.reruns(&short), nothing, "and decides the same");
    assert_eq!(pipeline.reruns(&[]), nothing, "it is as if it were alone");
    assert_eq!(
        pipeline.reruns(&within("ensemble.max_minutes=1000")),
        ["train", "predict", "predict", "ensemble", "answers"]
    );
}

#[test]
fn a_runs_folder_has_links_of_the_last_run_only() {
    let pipeline = Pipeline::new("links-");
    let run = pipeline.directory.path().join("runs/tiny");
    let there =
        || ["train", "members/1/train", "members/2/train"].map(|link| run.join(link).exists());
    let two = ["--set", "ensemble.members=[{ seed = 1 }, { seed = 2 }]"];
    pipeline.reruns(&two);
    assert_eq!(there(), [false, true, true]);
    pipeline.reruns(&[&two[..], &["--set", "ensemble.max_minutes=1e-9"]].concat());
    assert_eq!(there(), [false, true, false]);
    pipeline.reruns(&[]);
    assert_eq!(there(), [true, false, false]);
    assert!(!run.join("members").exists());
    pipeline.reruns(&two);
    assert_eq!(there(), [false, true, true]);
}

#[test]
fn one_model_learns_from_the_others_and_answers_for_them() {
    let pipeline = Pipeline::new("distil-");
    let members = "ensemble.members=[{ seed = 1 }, { seed = 2 }]";
    let distil = ["--set", members, "--set", "distill.weight=0.5"];
    let once = ["train", "predict", "predict"];
    let expected = [
        &["data", "checkpoint", "windows"][..],
        &once,
        &once,
        &["teacher"],
        &once,
        &["ensemble", "answers"],
    ];
    assert_eq!(pipeline.reruns(&distil), expected.concat());
    assert_eq!(pipeline.result("submission.csv").lines().count(), 2);
    let nothing: [&str; 0] = [];
    assert_eq!(pipeline.reruns(&distil), nothing);
    let other = [&distil[..], &["--set", "distill.temperature=4"]].concat();
    assert_eq!(
        pipeline.reruns(&other),
        ["train", "predict", "predict", "ensemble", "answers"],
        "the student learns again, its teachers do not"
    );
}

#[test]
fn a_finished_model_answers_without_training() {
    let pipeline = Pipeline::new("finished-");
    assert_eq!(pipeline.reruns(&[]), ALL);
    let trained = fs::canonicalize(pipeline.run().join("train")).unwrap();
    let weights = |artifact: &Path| fs::read(artifact.join("model.safetensors")).unwrap();
    let results = ["submission.csv", "dev.predictions.json", "nbest.json"];
    let answers = results.map(|file| pipeline.result(file));

    let source = format!("checkpoint.source={}", trained.display());
    let untrained = [
        "--set",
        &source,
        "--set",
        "train.epochs=0",
        "--set",
        "data.train=[]",
    ];
    assert_eq!(
        pipeline.reruns(&untrained),
        ["data", "checkpoint", "windows", "train", "answers"],
        "the model is the same byte for byte, so its predictions are fresh; how long an answer may be \
         follows the training answers"
    );
    let taken = fs::canonicalize(pipeline.run().join("train")).unwrap();
    assert_ne!(taken, trained);
    assert_eq!(weights(&taken), weights(&trained));
    let again = [&untrained[..], &["--from", "predict"]].concat();
    assert_eq!(
        pipeline.reruns(&again),
        ["predict", "predict", "ensemble", "answers"]
    );
    assert_eq!(results.map(|file| pipeline.result(file)), answers);

    // A checkpoint of transformers', with a head that was not trained here.
    let fixture = weights(&pipeline.directory.path().join("checkpoint"));
    assert_eq!(
        pipeline.reruns(&["--set", "train.epochs=0"]),
        ["train", "predict", "predict", "ensemble", "answers"]
    );
    let saved = weights(&fs::canonicalize(pipeline.run().join("train")).unwrap());
    let (fixture, saved) = (tensors(&fixture), tensors(&saved));
    assert!(saved.contains_key("qa_outputs.weight") && saved.len() > 20);
    for (name, bytes) in &saved {
        assert_eq!(fixture.get(name), Some(bytes), "{name}");
    }
    let card = pipeline.result("train/README.md");
    assert!(card.contains("as they are."), "{card}");
}

/// The bytes of every tensor of a file of weights.
fn tensors(weights: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let tensors = SafeTensors::deserialize(weights).unwrap();
    let tensors = tensors.iter();
    tensors
        .map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec()))
        .collect()
}

#[test]
fn the_best_model_is_kept_and_said() {
    let pipeline = Pipeline::new("best-");
    let best = [
        "train.load_best_model_at_end=true",
        "train.early_stopping_patience=1",
        "train.epochs=30",
        "train.eval_steps=1",
    ];
    let best: Vec<&str> = best.iter().flat_map(|&set| ["--set", set]).collect();
    pipeline.reruns(&best);
    let log = pipeline.result("train/training.jsonl");
    let records: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let end = records.last().unwrap();
    let (step, kept) = (
        end["step"].as_u64().unwrap(),
        end["kept_step"].as_u64().unwrap(),
    );
    assert!(
        kept + 1 == step || step == 60,
        "one evaluation of patience: {log}"
    );
    let card = pipeline.result("train/README.md");
    let expected = format!("On 2 dev questions after {kept} of {step} steps: task exact match");
    assert!(card.contains(&expected), "{card}");
    let messages = pipeline.result("logs/train.log");
    assert!(
        messages.contains(&format!("kept the model of step {kept} of {step}")),
        "{messages}"
    );
    assert!(messages.contains(" s of evaluations"), "{messages}");
    // Every fold keeps the best by the part that it does not see.
    let folds = [&best[..], &["--set", "ensemble.folds=2"]].concat();
    assert_eq!(
        pipeline
            .reruns(&folds)
            .iter()
            .filter(|s| *s == "train")
            .count(),
        2
    );
    for fold in ["1", "2"] {
        let messages = pipeline.result(&format!("logs/train-{fold}.log"));
        assert!(messages.contains("kept the model of step "), "{messages}");
    }
}

#[test]
fn pipelines_are_compared_question_by_question() {
    let pipeline = Pipeline::new("compare-");
    let output = pipeline
        .xtask("compare")
        .args(["--with", "answers.max_answer_length=1", "--seeds", "2"])
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    let table = pipeline
        .directory
        .path()
        .join("runs/compare-tiny/table.json");
    let table: Value = serde_json::from_str(&fs::read_to_string(table).unwrap()).unwrap();
    assert_eq!(table[0]["name"], "tiny");
    assert_eq!(table[1]["name"], "answers.max_answer_length=1");
    for row in table.as_array().unwrap() {
        assert_eq!(row["repetitions"].as_array().map(Vec::len), Some(2));
    }
    // One character is never the answer's two.
    assert_eq!(table[1]["exact_match"], 0.0);
    assert!(table[0]["gain"].is_null() && table[1]["p"].is_number());
    // Both trained once a seed: the other pipeline differs in its answers only.
    assert_eq!(messages.matches("train        done").count(), 2);
}

#[test]
fn a_trained_pipeline_can_be_asked() {
    let pipeline = Pipeline::new("ask-");
    let ask = |arguments: &[&str], input: &str| {
        let mut child = pipeline
            .xtask("ask")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        drop(stdin);
        child.wait_with_output().unwrap()
    };
    let untrained = ask(&["--question", "什麼?"], "丣两严並丧丨丩");
    let messages = String::from_utf8_lossy(&untrained.stderr);
    assert_eq!(untrained.status.code(), Some(2), "{messages}");
    assert!(
        messages.contains("is stale, and there is no model to ask"),
        "{messages}"
    );

    pipeline.reruns(&[]);
    let submission = pipeline.result("submission.csv");
    let output = ask(&[], "丣两严並丧丨丩\n\n什麼?\n哪裡?\n");
    let answers = String::from_utf8_lossy(&output.stdout);
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    let questions: Vec<&str> = answers.lines().filter(|line| line.ends_with('?')).collect();
    assert_eq!(questions, ["什麼?", "哪裡?"], "{answers}");
    // The same question about the same paragraph as in the test file.
    let answer = submission.lines().nth(1).unwrap().strip_prefix("0,");
    let line = answers.lines().nth(1).unwrap().strip_prefix("  ");
    let shown = line.and_then(|line| line.split(", probability ").next());
    assert_eq!(shown, answer, "{answers}");
    assert!(!messages.contains("fresh"), "{messages}");

    let nothing: [&str; 0] = [];
    assert_eq!(pipeline.reruns(&[]), nothing, "asking leaves no trace");
    let report = pipeline.xtask("report").output().unwrap();
    let report = String::from_utf8_lossy(&report.stdout);
    assert!(
        report.contains("exact match") && report.contains("report.html"),
        "{report}"
    );
}

#[test]
fn mistakes_end_with_code_2_and_say_what_to_do() {
    let pipeline = Pipeline::new("mistakes-");
    let check = |arguments: &[&str], expected: &str| {
        let (code, error) = pipeline.refused(arguments);
        assert!(
            code == Some(2) && error.contains(expected),
            "{code:?}: {error}"
        );
    };
    check(&["--set", "train.epoch=3"], "unknown field `epoch`");
    check(
        &["--set", "train.precision=fp8"],
        "unknown variant `fp8`, expected one of `auto`, `fp32`, `bf16`, `fp16`",
    );
    check(
        &["--set", "data.test=[\"data/none.json\"]"],
        "data.test: there is no file data/none.json",
    );
    check(
        &["--set", "checkpoint.source=./none"],
        "checkpoint.source: there is no directory ./none",
    );
    check(
        &["--only", "train"],
        "data is stale, and only train was to run",
    );
    check(&["--keep", "train"], "the train stage");
    fs::write(
        pipeline.directory.path().join("dev.json"),
        "{\"questions\": [",
    )
    .unwrap();
    check(
        &[],
        "dev.json ends in the middle of its JSON, at line 1: it is truncated",
    );
}

/// SQuAD 2.0's layout: one question about each text, every second one without an answer.
fn unanswerable(texts: &[&str]) -> Value {
    let paragraph = |(index, text): (usize, &&str)| {
        let answer: String = text.chars().skip(2).take(2).collect();
        let answers = if index % 2 == 0 {
            json!([{"text": answer, "answer_start": 2}])
        } else {
            json!([])
        };
        let id = format!("{text}{index}");
        let question = json!({"id": id, "question": "什麼?", "answers": answers, "is_impossible": index % 2 == 1});
        json!({"context": text, "qas": [question]})
    };
    let paragraphs: Vec<Value> = texts.iter().enumerate().map(paragraph).collect();
    json!({"version": "v2.0", "data": [{"title": "", "paragraphs": paragraphs}]})
}

#[test]
fn unanswerable_questions_go_through_every_stage() {
    let pipeline = Pipeline::new("unanswerable-");
    let train = [
        "一丁丂七丄丅丆",
        "万丈三上下丌不",
        "与丏丐丑丒专且",
        "丙业丛东丝丞丟",
    ];
    pipeline.write("train.json", &unanswerable(&train));
    pipeline.write(
        "dev.json",
        &unanswerable(&["丕世丗丘丙业丛", "东丝丞丟丠両丢"]),
    );
    let answered = |arguments: &[&str], expected: &str| {
        let arguments = [
            &["--set", "answers.null_score_diff_threshold=fit"],
            arguments,
        ]
        .concat();
        pipeline.reruns(&arguments);
        let metrics: Value = serde_json::from_str(&pipeline.result("metrics.json")).unwrap();
        let dev = &metrics["dev"];
        assert_eq!(dev["metric"], "cmrc", "{expected}");
        let parts = &dev["by_answerability"];
        let questions = [0, 1].map(|part| parts[part]["questions"].as_u64().unwrap());
        assert_eq!(questions.map(|count| count > 0), [true, true], "{expected}");
        assert_eq!(dev["questions"], questions[0] + questions[1], "{expected}");
        assert!(dev["null_score_diff_threshold"]["fitted"].is_object());
        let odds: BTreeMap<String, f64> =
            serde_json::from_str(&pipeline.result("dev.null_odds.json")).unwrap();
        let predictions: BTreeMap<String, String> =
            serde_json::from_str(&pipeline.result("dev.predictions.json")).unwrap();
        assert!(odds.keys().eq(predictions.keys()));
        let threshold = dev["null_score_diff_threshold"]["threshold"]
            .as_f64()
            .unwrap();
        for (id, odds) in &odds {
            assert_eq!(
                *odds > threshold,
                predictions[id].is_empty(),
                "{expected}: {id}"
            );
        }
    };
    answered(&[], "one model");
    let members = "ensemble.members=[{ seed = 1 }, { seed = 2 }]";
    answered(&["--set", members], "two models");
    answered(
        &["--set", members, "--set", "ensemble.method=weighted"],
        "weighted",
    );
    answered(&["--set", members, "--set", "ensemble.method=vote"], "vote");
    answered(
        &["--set", members, "--set", "distill.weight=0.5"],
        "a student",
    );
    answered(&["--set", "ensemble.folds=2"], "folds");
    // Whatever no answer scores, below and above all thresholds.
    for (threshold, empty) in [("1000000", 0), ("-1000000", 2)] {
        let setting = format!("answers.null_score_diff_threshold={threshold}");
        pipeline.reruns(&["--set", &setting]);
        let metrics: Value = serde_json::from_str(&pipeline.result("metrics.json")).unwrap();
        assert_eq!(metrics["dev"]["empty"], empty, "{threshold}");
    }
}

#[test]
fn one_model_may_answer_with_its_best_window_and_several_may_not() {
    let pipeline = Pipeline::new("window-");
    let window = ["--set", "answers.decoding=window"];
    assert_eq!(pipeline.reruns(&window), ALL);
    let members = "ensemble.members=[{ seed = 1 }, { seed = 2 }]";
    let (code, error) = pipeline.refused(&[&window[..], &["--set", members]].concat());
    assert_eq!(code, Some(2));
    assert!(error.contains("answers.decoding"), "{error}");
}
