//! What `cargo xtask inspect` finds out about data whose every number is known.

use std::io::{BufWriter, Write};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use serde_json::{Value, json};
use spanwise_program::measure::Memory;

/// Characters of the vocabulary.
fn characters() -> impl Iterator<Item = char> {
    ('\u{4e00}'..).take(190)
}

/// Consecutive ones of them.
fn text(start: usize, length: usize) -> String {
    characters().skip(start).take(length).collect()
}

fn answered(id: &str, question: &str, answer: &str, start: usize) -> Value {
    json!({"id": id, "question": question, "answers": [{"text": answer, "answer_start": start}]})
}

/// A file of the SQuAD layout: paragraphs with their questions.
fn squad(paragraphs: &[(&str, &[Value])]) -> String {
    let paragraph = |(context, qas): &(&str, &[Value])| json!({"context": context, "qas": qas});
    let paragraphs: Vec<Value> = paragraphs.iter().map(paragraph).collect();
    json!({"data": [{"paragraphs": paragraphs}]}).to_string()
}

/// A folder with data, a checkpoint without weights and a pipeline file.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        fs::create_dir(folder.path("checkpoint")).unwrap();
        let config = json!({
            "model_type": "bert", "architectures": ["BertModel"], "vocab_size": 200,
            "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1,
            "intermediate_size": 4, "max_position_embeddings": 64, "hidden_act": "gelu",
        });
        folder.write("checkpoint/config.json", &config.to_string());
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "dogs"].map(str::to_owned);
        let characters = characters().map(String::from);
        let vocabulary: Vec<String> = special.into_iter().chain(characters).collect();
        folder.write("checkpoint/vocab.txt", &vocabulary.join("\n"));

        let (first, long) = (text(0, 7), text(50, 30));
        let dogs = format!("dogs {}", text(0, 2));
        let train = [
            (
                &*first,
                &[
                    answered("a", "一丁?", &text(1, 2), 1),
                    answered("e", "一丁?", &text(3, 1), 3),
                    answered("wrong", "丁?", &text(3, 1), 4),
                ][..],
            ),
            (&*dogs, &[answered("b", "丁?", "dog", 0)]),
            ("xyz 一 q", &[answered("c", "七七七七七?", "一", 4)]),
            (&*long, &[answered("d", "丄?", &text(50, 20), 0)]),
        ];
        folder.write("train.json", &squad(&train));
        let second = text(8, 3);
        let impossible =
            json!({"id": "g", "question": "丁?", "answers": [], "is_impossible": true});
        let dev = [
            (&*first, &[answered("f", "一丁?", &text(1, 1), 1)][..]),
            (
                &*second,
                &[
                    impossible,
                    json!({"id": "h", "question": "三?"}),
                    answered("i", "丈?", &text(8, 1), 2),
                ],
            ),
        ];
        folder.write("dev.json", &squad(&dev));
        folder.write("test.json", &squad(&dev));
        let shown = folder.0.path().display();
        let pipeline = format!(
            "[checkpoint]\nsource = \"{shown}/checkpoint\"\n[data]\ntrain = [\"{shown}/train.json\"]\n\
             dev = [\"{shown}/dev.json\"]\ntest = [\"{shown}/test.json\"]\n[windows]\nmax_length = 16\n\
             max_question_length = 4\nstride = 4\n"
        );
        folder.write("tiny.toml", &pipeline);
        folder
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, content: &str) {
        fs::write(self.path(file), content).unwrap();
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    fn xtask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).current_dir(self.0.path());
        command.env("SPANWISE_OUTPUT", self.0.path());
        command.env("NO_COLOR", "1");
        command.output().unwrap()
    }

    /// Exit code, results and messages, without the name of this folder and without builds.
    fn inspect(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.xtask(&[&["inspect"], arguments].concat());
        let shown = |bytes: Vec<u8>| {
            let folder = self.0.path().display().to_string();
            String::from_utf8(bytes).unwrap().replace(&folder, "FOLDER")
        };
        let code = output.status.code().unwrap();
        (code, shown(output.stdout), errors(&shown(output.stderr)))
    }

    fn numbers(&self, run: &str) -> Value {
        serde_json::from_str(&self.read(&format!("runs/{run}/inspect.json"))).unwrap()
    }
}

/// Messages from the first error on.
fn errors(messages: &str) -> String {
    match messages.find("error: ") {
        Some(start) => messages[start..].to_owned(),
        None => String::new(),
    }
}

/// Checks that a value has these keys with these values, whatever others it has.
fn has(found: &Value, expected: Value) {
    for (key, expected) in expected.as_object().unwrap() {
        assert_eq!(&found[key], expected, "{key} of {found:#}");
    }
}

/// Mean, minimum, median, longest of 95 %, maximum and number of lengths.
fn lengths(found: &Value, expected: (f64, usize, usize, usize, usize, usize)) {
    let (mean, minimum, median, percentile, maximum, count) = expected;
    has(
        found,
        json!({
            "mean": mean, "minimum": minimum, "median": median, "percentile_95": percentile,
            "maximum": maximum, "count": count,
        }),
    );
    let bars = found["histogram"].as_array().unwrap().iter();
    let all: u64 = bars.map(|bar| bar["count"].as_u64().unwrap()).sum();
    assert_eq!(all, count as u64, "{found}");
}

#[test]
fn every_number_is_that_of_the_data() {
    let folder = Folder::new();
    let (code, printed, messages) = folder.inspect(&["tiny.toml"]);
    insta::assert_snapshot!(
        "inspect",
        format!("{printed}\n{messages}exit code {code}\n")
    );
    let numbers = folder.numbers("tiny");
    let [train, dev, test] = [0, 1, 2].map(|index| &numbers["splits"][index]);
    has(
        train,
        json!({
            "name": "train", "questions": 5, "paragraphs": 4, "answered": 5, "unanswerable": 0,
            "unlabelled": 0, "rejected": 1, "labels_left_out": 0, "repeated_questions": 1,
            "answerable_share": 1.0,
        }),
    );
    has(
        dev,
        json!({
            "name": "dev", "questions": 4, "paragraphs": 2, "answered": 1, "unanswerable": 1,
            "unlabelled": 2, "rejected": 0, "labels_left_out": 1, "repeated_questions": 0,
            "answerable_share": 0.5,
        }),
    );
    assert_eq!(test["in_earlier_splits"], 4);
    assert_eq!(train["files"][0]["layout"], "SQuAD layout");

    let characters = &train["characters"];
    lengths(&characters["paragraphs"], (12.75, 7, 7, 30, 30, 4));
    lengths(&characters["questions"], (3.2, 2, 3, 6, 6, 5));
    lengths(&characters["answers"], (5.4, 1, 2, 20, 20, 5));
    lengths(&dev["characters"]["answers"], (1.0, 1, 1, 1, 1, 1));
    let tokens = &train["tokens"];
    lengths(&tokens["lengths"]["paragraphs"], (10.75, 3, 3, 30, 30, 4));
    lengths(&tokens["lengths"]["questions"], (2.8, 2, 3, 4, 4, 5));
    lengths(&tokens["lengths"]["answers"], (5.0, 1, 1, 20, 20, 5));
    // 30 tokens in windows of 11, each 4 behind the last.
    lengths(&tokens["windows_per_question"], (2.0, 1, 1, 6, 6, 5));
    has(
        tokens,
        json!({
            "questions_cut": 1, "answers_not_expressible": 1, "answers_longer_than_window": 1,
            "answers_without_tokens": 0, "paragraphs_with_unknown_tokens": 1,
            "paragraphs_mostly_unknown": 1, "paragraphs_unknown": 0, "unknown_tokens": 2,
            "tokens": 43, "windows": 10,
        }),
    );

    let shared = |first: &str, second: &str| {
        let pairs = numbers["shared"].as_array().unwrap();
        let pair = pairs
            .iter()
            .find(|pair| pair["first"] == first && pair["second"] == second);
        pair.unwrap().clone()
    };
    let train_and =
        json!({"questions": 1, "paragraphs": 1, "questions_about_paragraphs": 1, "files": []});
    has(&shared("train", "dev"), train_and.clone());
    has(&shared("train", "test"), train_and);
    let both = json!({"questions": 4, "paragraphs": 2, "questions_about_paragraphs": 4});
    has(&shared("dev", "test"), both);
    let files = shared("dev", "test")["files"].to_string();
    assert!(
        files.contains("dev.json") && files.contains("test.json"),
        "{files}"
    );

    let examples = train["examples"].as_array().unwrap();
    let ids: Vec<&Value> = examples.iter().map(|example| &example["id"]).collect();
    assert_eq!(ids, ["e", "c", "d"], "spread evenly");
    let parts = json!([
        {"kind": "unknown", "tokens": 1, "pieces": [{"text": "xyz", "is_answer": false}]},
        {"kind": "text", "tokens": 0, "pieces": [{"text": " ", "is_answer": false}]},
        {"kind": "token", "tokens": 1, "pieces": [{"text": "一", "is_answer": true}]},
        {"kind": "text", "tokens": 0, "pieces": [{"text": " ", "is_answer": false}]},
        {"kind": "unknown", "tokens": 1, "pieces": [{"text": "q", "is_answer": false}]},
    ]);
    assert_eq!(examples[1]["paragraph"], parts);
    assert_eq!(examples[1]["question_tokens"], 4);
    let page = folder.read("runs/tiny/inspect.html");
    let marked = "<span class=\"unknown\">xyz</span> <span class=\"token\"><mark>一</mark></span>";
    assert!(page.contains(marked), "{page}");
}

#[test]
fn what_is_wrong_is_told_as_the_data_stage_does() {
    let folder = Folder::new();
    let (code, _, messages) = folder.inspect(&["tiny.toml"]);
    let stage = folder.xtask(&["stage", "data", "tiny.toml"]);
    let stage_messages = errors(&String::from_utf8_lossy(&stage.stderr));
    let shown = folder.0.path().display().to_string();
    let expected = stage_messages.replace(&shown, "FOLDER");
    // The runner adds that the stage has stopped.
    let (expected, _) = expected
        .split_once("error: the data stage stopped")
        .unwrap();
    assert_eq!((code, &*messages), (2, expected));

    let skip = ["tiny.toml", "--set", "data.on_bad_record=skip"];
    let (code, printed, messages) = folder.inspect(&skip);
    assert_eq!((code, &*messages), (0, ""), "{printed}");
    assert!(
        !folder.path("runs/tiny/data").exists(),
        "a look links nothing"
    );
    let left = fs::read_dir(folder.path("runs")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["tiny"], "no session is left");
}

#[test]
fn what_a_look_has_made_is_fresh() {
    let folder = Folder::new();
    let fixture = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../crates/model/tests/fixtures/tiny-bert"
    );
    for file in ["config.json", "model.safetensors"] {
        let from = std::path::Path::new(fixture).join(file);
        fs::copy(from, folder.path("checkpoint").join(file)).unwrap();
    }
    let context = text(0, 7);
    let good = squad(&[(&context, &[answered("a", "一?", &text(1, 1), 1)])]);
    for file in ["train.json", "dev.json"] {
        folder.write(file, &good);
    }
    folder.write(
        "test.json",
        &squad(&[(&context, &[json!({"id": "a", "question": "?"})])]),
    );
    // The same file is trained and measured on.
    let (code, printed, _) = folder.inspect(&["tiny.toml"]);
    assert_eq!(code, 0, "{printed}");
    assert!(printed.contains("dev.json are the same file"), "{printed}");
    for stage in ["data", "checkpoint"] {
        let output = folder.xtask(&["stage", stage, "tiny.toml"]);
        let messages = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{messages}");
    }
    let status = folder.xtask(&["status", "tiny.toml"]);
    let status = String::from_utf8(status.stdout).unwrap();
    for stage in ["data", "checkpoint", "windows"] {
        assert!(status.contains(&format!("{stage:<12} fresh\n")), "{status}");
    }
    assert!(status.contains("train        stale"), "{status}");
}

#[test]
fn all_bad_records_are_told_together() {
    let folder = Folder::new();
    let context = text(0, 7);
    let questions: Vec<Value> = (0..30)
        .map(|index| {
            let start = usize::from(index < 25);
            answered(&index.to_string(), "一?", &text(0, 1), start)
        })
        .collect();
    folder.write("bad.json", &squad(&[(&context, &questions)]));
    let check = |arguments: &[&str], name: &str, expected: Value| {
        let (code, _, messages) = folder.inspect(arguments);
        assert_eq!(code, 2, "{messages}");
        assert!(
            messages.starts_with("error: 25 questions are wrong, of which these are the first 20"),
            "{messages}"
        );
        assert_eq!(messages.matches("bad.json: question ").count(), 20);
        let numbers = folder.numbers("inspect-bad");
        let split = &numbers["splits"][0];
        assert_eq!(split["name"], name);
        has(split, expected);
        assert_eq!(split["wrong"].as_array().unwrap().len(), 20);
        assert_eq!(numbers["splits"].as_array().unwrap().len(), 1);
        assert_eq!(numbers["tokenizer"], Value::Null);
    };
    let labels = json!({"questions": 30, "labels_left_out": 25, "rejected": 0, "answered": 5});
    check(&["bad.json"], "all", labels.clone());
    check(&["--dev", "bad.json"], "dev", labels);
    let records = json!({"questions": 5, "labels_left_out": 0, "rejected": 25, "answered": 5});
    check(&["--train", "bad.json"], "train", records);

    // None is left to be counted.
    folder.write("bad.json", &squad(&[(&context, &questions[..25])]));
    let (code, printed, messages) = folder.inspect(&["--train", "bad.json"]);
    assert_eq!((code, &*printed), (2, ""));
    let expected =
        "error: the train files have no usable question: 25 questions are wrong, of which";
    assert!(messages.starts_with(expected), "{messages}");
    assert_eq!(messages.matches("bad.json: question ").count(), 20);
}

#[test]
fn files_are_shown_in_the_tokens_of_a_checkpoint() {
    let folder = Folder::new();
    let files = ["--train", "train.json", "--dev", "dev.json"];
    let skip = ["--set", "data.on_bad_record=skip"];
    let windows = [
        "--checkpoint",
        "checkpoint",
        "--set",
        "windows={ max_length = 16, max_question_length = 4, stride = 4 }",
        "--output",
        "look",
    ];
    let (code, printed, messages) = folder.inspect(&[&files[..], &skip, &windows].concat());
    assert_eq!((code, &*messages), (0, ""));
    assert!(printed.contains("FOLDER/look/inspect.html"), "{printed}");
    let numbers: Value = serde_json::from_str(&folder.read("look/inspect.json")).unwrap();
    assert_eq!(numbers["splits"].as_array().unwrap().len(), 2);
    assert_eq!(numbers["splits"][0]["tokens"]["tokens"], 43);
    assert_eq!(numbers["tokenizer"]["windows"]["max_length"], 16);

    let (code, printed, _) = folder.inspect(&[&files[..], &skip].concat());
    assert_eq!(code, 0);
    assert!(printed.contains("--checkpoint SOURCE"), "{printed}");
    let numbers = folder.numbers("inspect-train");
    assert_eq!(numbers["splits"][0]["tokens"], Value::Null);
    let page = folder.read("runs/inspect-train/inspect.html");
    assert!(page.contains("no checkpoint was named") && !page.contains("Lengths in tokens"));
}

#[test]
fn hostile_texts_stay_texts() {
    let folder = Folder::new();
    let text = "\u{202e}</bdi><script>alert(1)</script>{{ 7*7 }}\u{1b}[31m\u{0}";
    let question = answered("\u{1b}[2J", text, text, 0);
    folder.write("hostile.json", &squad(&[(text, &[question])]));
    let (code, printed, messages) = folder.inspect(&["hostile.json"]);
    assert_eq!((code, &*messages), (0, ""));
    assert!(!printed.contains('\u{1b}'));
    let page = folder.read("runs/inspect-hostile/inspect.html");
    assert!(!page.contains("<script"), "{page}");
    assert!(page.contains("\\u{202e}&lt;&#x2f;bdi&gt;&lt;script&gt;"));
    let hidden = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
    assert!(!page.contains(hidden));
}

#[test]
fn mistakes() {
    let folder = Folder::new();
    folder.write("no.json", "{\"a\": 1}");
    let check = |arguments: &[&str]| {
        let (code, printed, messages) = folder.inspect(arguments);
        assert_eq!((code, &*printed), (2, ""), "{arguments:?}: {messages}");
        format!("cargo xtask inspect {}\n{messages}\n", arguments.join(" "))
    };
    let all = [
        check(&["none.json"]),
        check(&["."]),
        check(&["none.toml"]),
        check(&["tiny.toml", "train.json"]),
        check(&["tiny.toml", "--checkpoint", "checkpoint"]),
        check(&["train.json", "--dev", "dev.json"]),
        check(&["--checkpoint", "checkpoint"]),
        check(&["--train", "train.json", "--dev", "train.json"]),
        check(&["no.json"]),
        check(&["dev.json", "--checkpoint", "./none"]),
        check(&["dev.json", "--checkpoint", "checkpoint"]),
        check(&["dev.json", "--set", "windows.stride=0"]),
        check(&["dev.json", "--set", "windows.strides=1"]),
        check(&["dev.json", "--output", "no.json"]),
    ];
    insta::assert_snapshot!("inspect-mistakes", all.join("\n"));
}

/// Writes questions, four about a paragraph of 60 characters.
fn write_many(folder: &Folder, questions: usize) {
    let mut file = BufWriter::new(fs::File::create(folder.path("many.jsonl")).unwrap());
    for index in 0..questions {
        let paragraph = index / 4;
        let context = format!("{paragraph:07}{}", text(paragraph % 100, 53));
        let answer: String = context.chars().skip(10).take(3).collect();
        let record = json!({
            "id": index.to_string(), "context": context, "question": format!("{index}一丁?"),
            "answers": {"text": [answer], "answer_start": [10]},
        });
        writeln!(file, "{record}").unwrap();
    }
    file.flush().unwrap();
}

/// `cargo nextest run -p xtask --run-ignored only -E 'test(a_million)' --no-capture`
#[test]
#[ignore = "writes 900 MB and takes minutes"]
fn a_million_questions_take_300_mib_at_most() {
    for questions in [10_000, 100_000, 1_000_000] {
        let folder = Folder::new();
        write_many(&folder, questions);
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(["inspect", "many.jsonl", "--checkpoint", "checkpoint"]);
        command.args([
            "--set",
            "windows={ max_length = 64, max_question_length = 20, stride = 20 }",
        ]);
        command.current_dir(folder.0.path()).stdout(Stdio::null());
        command.env("SPANWISE_OUTPUT", folder.0.path());
        let began = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut peak = 0;
        let status = loop {
            peak = peak.max(Memory::Peak.of(child.id()));
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            thread::sleep(Duration::from_millis(1));
        };
        assert!(status.success());
        let numbers = folder.numbers("inspect-many");
        has(
            &numbers["splits"][0],
            json!({"questions": questions, "paragraphs": questions / 4}),
        );
        let (peak, seconds) = (peak >> 20, began.elapsed().as_secs_f64());
        println!("{questions} questions: {peak} MiB, {seconds:.1} s with the stages");
        assert!(peak <= 300, "{peak} MiB");
    }
}
