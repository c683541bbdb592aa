//! What `cargo xtask evaluate` prints for predictions, right and wrong ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;
use serde_json::{Value, json};

/// What the published scripts return for made answers.
const OFFICIAL: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../crates/metrics/tests/official"
);

/// A folder with files, in which the command runs.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn evaluate(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("evaluate").args(arguments);
        command.env("NO_COLOR", "1").current_dir(self.0.path());
        command.output().unwrap()
    }

    /// Standard output of an evaluation that must succeed.
    fn printed(&self, arguments: &[&str]) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.evaluate(arguments);
        let messages = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{arguments:?}: {messages}");
        assert_eq!(messages, "", "{arguments:?}");
        String::from_utf8(stdout).unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let printed = self.printed(&[arguments, &["--json"]].concat());
        serde_json::from_str(&printed).unwrap()
    }

    /// Standard error and exit code of an evaluation that must fail.
    fn refused(&self, arguments: &[&str]) -> String {
        let Output { status, stderr, .. } = self.evaluate(arguments);
        let messages = String::from_utf8(stderr).unwrap();
        let arguments = arguments.join(" ");
        let code = status.code().unwrap();
        assert_eq!(code, 2, "{arguments}: {messages}");
        format!("cargo xtask evaluate {arguments}\n{messages}\n")
    }
}

fn close(found: &Value, expected: f64, what: &str) {
    let found = found.as_f64().expect(what);
    assert!(
        (found - expected).abs() < 1e-9,
        "{what}: {found} instead of {expected}"
    );
}

/// A question of the SQuAD layout.
fn question(id: &str, references: &[&str]) -> Value {
    let answers = references
        .iter()
        .map(|text| json!({"text": text, "answer_start": 0}));
    let answers: Vec<Value> = answers.collect();
    json!({"id": id, "question": "?", "answers": answers})
}

/// A file of the SQuAD layout.
fn squad(questions: &[Value]) -> String {
    json!({"data": [{"paragraphs": [{"context": "…", "qas": questions}]}]}).to_string()
}

#[test]
fn squad2_numbers_are_those_of_the_script() {
    let file = |name: &str| format!("{OFFICIAL}/squad2-{name}.json");
    let expected = fs::read_to_string(file("expected")).unwrap();
    let expected: BTreeMap<String, BTreeMap<String, f64>> =
        serde_json::from_str(&expected).unwrap();
    let folder = Folder::new(&[]);
    for (threshold, expected) in expected {
        let found = folder.json(&[
            &file("predictions"),
            &file("data"),
            "--no-answer-probability",
            &file("no-answer-probability"),
            "--no-answer-threshold",
            &threshold,
        ]);
        assert_eq!(found["metric"], "squad2");
        for (key, expected) in expected {
            close(&found["predictions"][&key], expected, &key);
        }
    }
}

#[test]
fn means_are_those_of_the_scripts() {
    let check = |metric: &str, language: Option<&str>| {
        let cases =
            fs::read_to_string(Path::new(OFFICIAL).join(format!("{metric}.jsonl"))).unwrap();
        let cases = cases
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let cases: Vec<Value> = cases
            .filter(|case: &Value| case["language"].as_str() == language)
            .collect();
        let mut predictions = BTreeMap::new();
        let mut questions = Vec::new();
        for (index, case) in cases.iter().enumerate() {
            let references = case["references"].as_array().unwrap().iter();
            let references: Vec<&str> = references.map(|text| text.as_str().unwrap()).collect();
            questions.push(question(&index.to_string(), &references));
            predictions.insert(index.to_string(), case["prediction"].clone());
        }
        let folder = Folder::new(&[
            ("predictions.json", &json!(predictions).to_string()),
            ("data.json", &squad(&questions)),
        ]);
        let mut arguments = vec!["predictions.json", "data.json", "--metric", metric];
        arguments.extend(
            language
                .into_iter()
                .flat_map(|language| ["--language", language]),
        );
        let found = folder.json(&arguments);
        let mean = |key: &str| {
            let sum: f64 = cases.iter().map(|case| case[key].as_f64().unwrap()).sum();
            100.0 * sum / cases.len() as f64
        };
        assert_eq!(found["questions"], cases.len());
        close(&found["predictions"]["exact"], mean("exact"), metric);
        close(&found["predictions"]["f1"], mean("f1"), metric);
    };
    check("squad", None);
    check("cmrc", None);
    check("korquad", None);
    for language in ["ar", "de", "en", "es", "hi", "vi", "zh"] {
        check("mlqa", Some(language));
    }
}

/// Questions in English, with predictions of two models.
fn english() -> Folder {
    let questions = [
        question("a", &["the cat", "a black cat"]),
        question("b", &["dog"]),
        question("c", &["1,234 birds"]),
        question("d", &["fish"]),
    ];
    let predictions = json!({"a": "cat", "b": "black dog", "c": "1234 birds", "x": "?"});
    Folder::new(&[
        ("data.json", &squad(&questions)),
        ("a.json", &predictions.to_string()),
        (
            "b.csv",
            "ID,Answer\na,cat\nb,cow\nc,\"1,234 birds\"\nd,fish\n",
        ),
    ])
}

#[test]
fn scores_are_printed() {
    let folder = english();
    insta::assert_snapshot!("evaluate", folder.printed(&["a.json", "data.json"]));
    let against = ["a.json", "data.json", "--against", "b.csv"];
    insta::assert_snapshot!("evaluate-against", folder.printed(&against));
    let json = folder.printed(&[&against[..], &["--json"]].concat());
    insta::assert_snapshot!("evaluate-json", json);
    let task = ["b.csv", "data.json", "--metric", "task"];
    insta::assert_snapshot!("evaluate-task", folder.printed(&task));
}

#[test]
fn unanswerable_questions_are_scored() {
    let questions = [
        question("a", &["cat"]),
        question("b", &[]),
        question("c", &[]),
    ];
    let folder = Folder::new(&[
        ("data.json", &squad(&questions)),
        ("predictions.json", r#"{"a": "cat", "b": "", "c": "dog"}"#),
        ("probabilities.json", r#"{"a": 0.25, "b": 0.5, "c": 0.75}"#),
    ]);
    let files = ["predictions.json", "data.json"];
    let plain = folder.printed(&files);
    let probability = ["--no-answer-probability", "probabilities.json"];
    let with_threshold = [&files[..], &probability, &["--no-answer-threshold", "0.6"]].concat();
    let with_threshold = folder.printed(&with_threshold);
    insta::assert_snapshot!("evaluate-squad2", format!("{plain}\n{with_threshold}"));
}

#[test]
fn the_metric_is_chosen_by_the_data() {
    let check = |asked: &str, questions: &[Value], expected: &str| {
        let predictions = r#"{"a": "", "b": ""}"#;
        let mut questions = questions.to_vec();
        for question in &mut questions {
            question["question"] = asked.into();
        }
        let folder = Folder::new(&[("data.json", &squad(&questions)), ("p.json", predictions)]);
        let found = folder.json(&["p.json", "data.json"]);
        assert_eq!(found["metric"], expected);
    };
    let answered = [question("a", &["Paris"]), question("b", &["1926"])];
    let some_not = [question("a", &["李白"]), question("b", &[])];
    check("誰是詩人？", &answered, "cmrc");
    check("誰是詩人？", &some_not, "cmrc");
    check("어디?", &answered, "korquad");
    check("من هو؟", &answered, "mlqa");
    check("Où ?", &answered, "squad");
    check("Où ?", &some_not, "squad2");
    check("2 + 2?", &some_not, "squad2");
    // No answer in the course layout is one that is not known.
    let course = json!({"questions": [
        {"id": 0, "paragraph_id": 0, "question_text": "?", "answer_text": "李白",
         "answer_start": 0, "answer_end": 1},
        {"id": 1, "paragraph_id": 0, "question_text": "?", "answer_text": null,
         "answer_start": null, "answer_end": null},
    ], "paragraphs": ["李白"]});
    let csv = "ID,Answer\n0,李白\n1,李\n";
    let folder = Folder::new(&[("data.json", &course.to_string()), ("p.csv", csv)]);
    let found = folder.json(&["p.csv", "data.json"]);
    assert_eq!(found["metric"], "task");
    assert_eq!(
        (&found["questions"], &found["unlabelled"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(found["predictions"]["superfluous"], 0);
}

#[test]
fn questions_without_an_answer_and_unlabelled_ones_are_told_apart() {
    let question = |id: &str, more: Value| {
        let mut question = json!({"id": id, "context": "李白 cat", "question": "Who?"});
        let fields = question.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        question
    };
    let answered = || {
        question(
            "a",
            json!({"answers": [{"text": "cat", "answer_start": 3}]}),
        )
    };
    let unlabelled = || question("b", json!({}));
    let none = || question("c", json!({"is_impossible": true}));
    let check = |data: &[Value], arguments: &[&str], expected: [usize; 2], exact: f64| {
        let predictions = r#"{"a": "cat", "b": "", "c": ""}"#;
        let data = Value::from(data).to_string();
        let folder = Folder::new(&[("data.json", &data), ("p.json", predictions)]);
        let found = folder.json(&[&["p.json", "data.json"], arguments].concat());
        let counts = ["questions", "unlabelled"].map(|count| found[count].as_u64().unwrap());
        assert_eq!(counts.map(|count| count as usize), expected, "{data}");
        close(&found["predictions"]["exact"], exact, &data);
    };
    check(&[answered(), unlabelled()], &[], [1, 1], 100.0);
    check(
        &[answered(), unlabelled()],
        &["--metric", "squad2"],
        [1, 1],
        100.0,
    );
    check(&[answered(), none()], &[], [2, 0], 100.0);
    for metric in ["squad2", "squad", "cmrc", "task", "korquad"] {
        check(&[none()], &["--metric", metric], [1, 0], 100.0);
    }
    check(&[none(), unlabelled()], &[], [1, 1], 100.0);
}

#[test]
fn a_question_that_is_there_twice_counts_as_the_script_counts_it() {
    let questions = [
        question("a", &["cat"]),
        question("a", &["dog"]),
        question("b", &["cow"]),
    ];
    let folder = Folder::new(&[
        ("data.json", &squad(&questions)),
        ("p.json", r#"{"a": "dog", "b": "?"}"#),
    ]);
    let check = |metric: &str, questions: usize, exact: f64| {
        let found = folder.json(&["p.json", "data.json", "--metric", metric]);
        assert_eq!(found["questions"], questions, "{metric}");
        close(&found["predictions"]["exact"], exact, metric);
        assert_eq!(found["predictions"]["superfluous"], 0, "{metric}");
    };
    check("squad", 3, 100.0 / 3.0);
    check("squad2", 2, 50.0);
}

#[test]
fn a_folder_for_temporary_files_that_is_not_there_is_named() {
    let folder = english();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["evaluate", "predictions.json", "data.json"]);
    command
        .env("TMPDIR", "/nowhere")
        .current_dir(folder.0.path());
    let Output { status, stderr, .. } = command.output().unwrap();
    let messages = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(2), "{messages}");
    assert!(
        messages.contains("nothing can be made in /nowhere"),
        "{messages}"
    );
    assert!(
        messages.contains("hint: TMPDIR names another"),
        "{messages}"
    );
}

#[test]
fn mistakes() {
    let folder = english();
    let write = |name: &str, text: &str| fs::write(folder.0.path().join(name), text).unwrap();
    write("null.json", r#"{"a": "cat", "b": null}"#);
    write("list.json", r#"[{"id": "a", "text": "cat"}]"#);
    write("others.json", r#"{"0": "cat"}"#);
    write("empty.json", "{}");
    write("probabilities.json", r#"{"a": 0.5, "b": "high"}"#);
    write("few.json", r#"{"a": 0.5}"#);
    write("unlabelled.json", &squad(&[question("a", &[])]));
    let squad2 = [
        "a.json",
        "data.json",
        "--metric",
        "squad2",
        "--no-answer-probability",
    ];
    let all = [
        folder.refused(&[]),
        folder.refused(&["none.json", "data.json"]),
        folder.refused(&["a.json", "none.json"]),
        folder.refused(&["null.json", "data.json"]),
        folder.refused(&["list.json", "data.json"]),
        folder.refused(&["others.json", "data.json"]),
        folder.refused(&["empty.json", "data.json"]),
        folder.refused(&["a.json", "a.json"]),
        folder.refused(&["a.json", "unlabelled.json"]),
        folder.refused(&["a.json", "data.json", "--metric", "f1"]),
        folder.refused(&["a.json", "data.json", "--metric", "mlqa"]),
        folder.refused(&["a.json", "data.json", "--language", "en"]),
        folder.refused(&["a.json", "data.json", "--no-answer-probability", "few.json"]),
        folder.refused(&[&squad2[..], &["probabilities.json"]].concat()),
        folder.refused(&[&squad2[..], &["few.json"]].concat()),
        folder.refused(&[&squad2[..], &["few.json", "--against", "b.csv"]].concat()),
        folder.refused(&["a.json", "data.json", "--no-answer-threshold", "0.5"]),
    ];
    insta::assert_snapshot!("evaluate-mistakes", all.join("\n"));
}
