//! The stage as a program: what it writes, what it says, and how much memory it takes.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err::File;
use serde_json::{Value, json};
use spanwise_artifact::Split;
use spanwise_artifact::questions::{QuestionCounts, Questions};
use spanwise_program::measure::Memory;

/// A folder with input files, and the artifact that the stage makes of them.
struct Folder {
    directory: tempfile::TempDir,
}

/// How a run ended.
struct Outcome {
    exit_code: Option<i32>,
    /// What it said.
    messages: String,
    /// Its largest resident set in bytes; 0 where the system does not say.
    peak: u64,
}

impl Folder {
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        Ok(Self { directory })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<()> {
        Ok(fs_err::write(self.path(name), content)?)
    }

    fn artifact(&self) -> PathBuf {
        self.path("artifact")
    }

    /// Runs the stage on files of this folder.
    fn run(&self, settings: &Value) -> Result<Outcome> {
        let mut inputs = json!({});
        for split in Split::ALL {
            let names = settings[split.name()].as_array();
            for (index, name) in names.into_iter().flatten().enumerate() {
                let name = name.as_str().context("files have names")?;
                let role = format!("{}.{index}", split.name());
                inputs[role] = json!({ "path": self.path(name) });
            }
        }
        let job = json!({
            "stage": "data", "settings": settings, "inputs": inputs, "output": self.artifact(),
        });
        self.write("job.json", job.to_string())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_spanwise-data"))
            .arg("--job")
            .arg(self.path("job.json"))
            .stdout(Stdio::null())
            .stderr(File::create(self.path("messages"))?.into_file())
            .spawn()?;
        let mut peak = 0;
        let status = loop {
            peak = peak.max(Memory::Peak.of(child.id()));
            if let Some(status) = child.try_wait()? {
                break status;
            }
            sleep(Duration::from_millis(1));
        };
        Ok(Outcome {
            exit_code: status.code(),
            messages: fs_err::read_to_string(self.path("messages"))?,
            peak,
        })
    }

    fn questions(&self, split: Split) -> Result<Questions> {
        Questions::read(&self.artifact(), split)?.context("the split is there")
    }

    fn counts(&self, split: Split) -> Result<QuestionCounts> {
        Ok(QuestionCounts::read(&self.artifact())?[&split])
    }
}

/// A file of SQuAD layout with one article: its title, its paragraph, and its questions.
fn squad(title: &str, context: &str, questions: &Value) -> String {
    let paragraph = json!({"context": context, "qas": questions});
    json!({"data": [{"title": title, "paragraphs": [paragraph]}]}).to_string()
}

/// A question of SQuAD layout with one answer.
fn question(id: &str, text: &str, start: usize) -> Value {
    let answers = json!([{"text": text, "answer_start": start}]);
    json!({"id": id, "question": format!("{id}?"), "answers": answers})
}

const STATION: &str = "青田站於1926年啟用，由建築師高野設計。";

fn train() -> String {
    squad("t", STATION, &json!([question("q1", "1926年", 4)]))
}

#[test]
fn a_wrong_label_leaves_a_question_of_test_answered() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("train", train())?;
    let questions = json!([
        question("t1", "1926年", 5),
        question("t2", "高野", 16),
        {"id": "t3", "question": "?", "answers": null},
        {"id": "t4", "question": "?", "answers": "高野"},
        {"id": "t5", "question": " ", "answers": []},
    ]);
    folder.write("test", squad("t", STATION, &questions))?;
    let mut settings = json!({"train": ["train"], "test": ["test"]});
    let refused = folder.run(&settings)?;
    assert_eq!(refused.exit_code, Some(2), "{}", refused.messages);
    assert_eq!(
        refused.messages,
        "error: test: question t1: the paragraph has \"926年啟\" at character 5, not the answer \
         \"1926年\"\nhint: correct the file, or go on without wrong labels, and without questions that \
         cannot be answered, with data.on_bad_record = \"skip\"\n"
    );

    settings["on_bad_record"] = "skip".into();
    let outcome = folder.run(&settings)?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let test = folder.questions(Split::Test)?;
    let labels = test.questions.iter();
    let labels: Vec<_> = labels.map(|one| (&*one.id, one.answers().len())).collect();
    assert_eq!(labels, [("t1", 0), ("t2", 1), ("t3", 0), ("t4", 0)]);
    let expected = QuestionCounts {
        questions: 4,
        paragraphs: 1,
        answered: 1,
        unanswerable: 0,
        unlabelled: 3,
        rejected: 1,
        labels_left_out: 2,
        in_earlier_splits: 0,
    };
    assert_eq!(folder.counts(Split::Test)?, expected);
    for sentence in [
        "test: 1 of 5 questions left out, for which the submission has no row; question t5 of test: \
         the question is empty\n",
        "test: 2 of 4 questions answered without a label; question t1 of test: the paragraph has",
    ] {
        let found = outcome.messages.contains(sentence);
        assert!(found, "{sentence} in {}", outcome.messages);
    }
    let listed = fs_err::read_to_string(folder.artifact().join("rejected.jsonl"))?;
    assert_eq!(listed.lines().count(), 3, "{listed}");
    Ok(())
}

#[test]
fn unmeasured_and_repeated_questions_are_said() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("train", train())?;
    let mut questions = json!([question("q1", "1926年", 4)]);
    let unlabelled = json!({"id": "d2", "question": "何處？"});
    questions.as_array_mut().context("a list")?.push(unlabelled);
    folder.write("dev", squad("other", STATION, &questions))?;
    let outcome = folder.run(&json!({"train": ["train"], "dev": ["dev"]}))?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    assert_eq!(
        outcome.messages,
        "dev: 1 of 2 questions have no label to measure on\n\
         dev: 1 of 2 questions are in train too, about the same paragraph, such as q1: the score on \
         dev includes them\n\
         train: 1 questions on 1 paragraphs\ndev: 2 questions on 1 paragraphs\n"
    );
    assert_eq!(folder.counts(Split::Dev)?.in_earlier_splits, 1);
    Ok(())
}

#[test]
fn a_file_in_train_and_elsewhere_is_refused() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("train", train())?;
    folder.write("copy", train())?;
    for split in ["dev", "test"] {
        let outcome = folder.run(&json!({"train": ["train"], split: ["train"]}))?;
        assert_eq!(outcome.exit_code, Some(2));
        let expected = format!("error: data.train and data.{split} both name train\nhint: ");
        assert!(
            outcome.messages.starts_with(&expected),
            "{}",
            outcome.messages
        );
    }
    let outcome = folder.run(&json!({"train": ["train"], "dev": ["copy"]}))?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let expected = "train of train and copy of dev are the same, byte for byte: ";
    assert!(
        outcome.messages.starts_with(expected),
        "{}",
        outcome.messages
    );
    Ok(())
}

#[test]
fn folds_need_as_many_articles() -> Result<()> {
    let folder = Folder::new()?;
    let fold = json!({"count": 2, "index": 1});
    let check = |title: &str, code: i32, expected: &str| -> Result<()> {
        let questions = json!([question("a", "1926年", 4)]);
        let first = squad(title, STATION, &questions);
        let second = squad(title, &format!("{STATION}。"), &questions);
        folder.write("one", first)?;
        folder.write("two", second)?;
        let settings =
            json!({"train": ["one", "two"], "dev": [], "test": ["one.test"], "fold": fold});
        folder.write(
            "one.test",
            squad("t", "別處", &json!([{"id": "t", "question": "?"}])),
        )?;
        let outcome = folder.run(&settings)?;
        assert_eq!(outcome.exit_code, Some(code), "{}", outcome.messages);
        assert!(
            outcome.messages.starts_with(expected),
            "{}",
            outcome.messages
        );
        Ok(())
    };
    check(
        "",
        0,
        "train: 1 questions on 1 paragraphs\ndev: 1 questions",
    )?;
    check(
        "t",
        2,
        "error: ensemble.folds is 2, but all questions are about 1 article (title \"t\")\nhint: ",
    )
}

#[test]
fn what_is_no_file_of_data_is_one_sentence() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("train", train())?;
    fs_err::create_dir(folder.path("folder"))?;
    assert!(
        Command::new("mkfifo")
            .arg(folder.path("pipe"))
            .status()?
            .success()
    );
    fs_err::os::unix::fs::symlink("/dev/null", folder.path("null"))?;
    let check = |name: &str, content: Option<&[u8]>, expected: &str| -> Result<()> {
        if let Some(content) = content {
            folder.write(name, content)?;
        }
        let outcome = folder.run(&json!({"train": ["train"], "test": [name]}))?;
        assert_eq!(outcome.exit_code, Some(2), "{}", outcome.messages);
        let error = outcome.messages.lines().next().unwrap_or_default();
        assert_eq!(error, format!("error: {expected}"));
        let raw = outcome
            .messages
            .chars()
            .any(|c| c.is_control() && c != '\n');
        assert!(
            !raw && outcome.messages.len() < 500,
            "{:?}",
            outcome.messages
        );
        Ok(())
    };
    check("folder", None, "folder is a directory, not a file")?;
    check("pipe", None, "pipe is not a file")?;
    check("null", None, "null is not a file")?;
    check("none", None, "cannot read none: there is no such file")?;
    check("empty", Some(b""), "empty is empty")?;
    check(
        "bytes",
        Some(b"{\"data\": \"\xff\"}"),
        "bytes is not UTF-8: byte 10 cannot be read",
    )?;
    check(
        "escape\u{1b}[2J",
        Some(b"{"),
        "\"escape\\u{1b}[2J\" ends in the middle of its JSON, at line 1: it is truncated",
    )?;
    let brackets = "[".repeat(10_000) + &"]".repeat(10_000);
    check(
        "brackets",
        Some(brackets.as_bytes()),
        "brackets has an unknown layout: a list",
    )?;
    let id = format!("{{\"questions\": [{{\"id\": {brackets}}}], \"paragraphs\": []}}");
    check(
        "id",
        Some(id.as_bytes()),
        "id is not JSON: it is nested too deep at line 1 column 147",
    )?;
    let hostile = squad(
        "t",
        STATION,
        &json!([{"id": "\u{1b}[2J\n", "question": ""}]),
    );
    check(
        "ids",
        Some(hostile.as_bytes()),
        "ids: question \"\\u{1b}[2J\\n\": the question is empty",
    )?;
    let far = squad("t", STATION, &json!([question("q", "青", usize::MAX)]));
    check(
        "far",
        Some(far.as_bytes()),
        "far: question q: the answer \"青\" at character 18446744073709551615 runs past the end of \
         the paragraph, which has 21 characters",
    )
}

/// Writes this many questions, four on a paragraph of 60 characters, in SQuAD layout.
fn write_questions(path: &Path, questions: usize) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let character = |index: usize| char::from_u32(0x4e00 + (index % 2000) as u32).unwrap_or('一');
    write!(file, "{{\"data\": [")?;
    for paragraph in 0..questions / 4 {
        // Numbers without a common factor, so that no two paragraphs are the same.
        let text: String = (0..60)
            .map(|index| character(paragraph / 7 + index * (1 + paragraph % 1999)))
            .collect();
        let question = |number: usize| {
            let start = number * 13;
            let answer: String = text.chars().skip(start).take(4).collect();
            question(&format!("q{}", paragraph * 4 + number), &answer, start)
        };
        let questions: Vec<Value> = (0..4).map(question).collect();
        let paragraph_json = json!({"context": text, "qas": questions});
        match (paragraph, paragraph % 50) {
            (0, _) => write!(
                file,
                "{{\"title\": \"0\", \"paragraphs\": [{paragraph_json}"
            )?,
            (_, 0) => write!(
                file,
                "]}},\n{{\"title\": \"{paragraph}\", \"paragraphs\": [{paragraph_json}"
            )?,
            _ => write!(file, ", {paragraph_json}")?,
        }
    }
    write!(file, "]}}]}}")?;
    Ok(file.flush()?)
}

/// Peak memory with this many questions in train, in MiB.
fn peak(questions: usize) -> Result<u64> {
    let folder = Folder::new()?;
    write_questions(&folder.path("train"), questions)?;
    folder.write(
        "test",
        squad("t", STATION, &json!([{"id": "t", "question": "?"}])),
    )?;
    let outcome = folder.run(&json!({"train": ["train"], "test": ["test"]}))?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    assert_eq!(folder.counts(Split::Train)?.questions, questions);
    Ok(outcome.peak >> 20)
}

#[test]
fn memory_stays_level() -> Result<()> {
    // Where everything is held, 40,000 more questions take 60 to 90 MiB more.
    let (few, many) = (peak(20_000)?, peak(60_000)?);
    println!("20,000 questions: {few} MiB, 60,000 questions: {many} MiB");
    assert!(many <= few + 20, "from {few} to {many} MiB");
    Ok(())
}

/// `cargo nextest run -p spanwise-data --run-ignored only -E 'test(a_million)' --no-capture`
#[test]
#[ignore = "writes 200 MB and takes half a minute"]
fn a_million_questions_take_300_mib_at_most() -> Result<()> {
    for questions in [10_000, 100_000, 1_000_000] {
        let peak = peak(questions)?;
        println!("{questions} questions: {peak} MiB");
        assert!(peak <= 300, "{peak} MiB");
    }
    Ok(())
}
