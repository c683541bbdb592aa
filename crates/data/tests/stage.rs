//! The stage as a program: what it writes, what it says, and how much memory it takes.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err::File;
use serde_json::{Value, json};
use spanwise_artifact::questions::{QuestionCounts, Questions};
use spanwise_artifact::{Reference, Split};
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
    /// The time that it computed for; 0 where the system does not say.
    time: Duration,
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
        let (mut peak, mut time) = (0, Duration::ZERO);
        let status = loop {
            peak = peak.max(Memory::Peak.of(child.id()));
            time = time.max(computed(child.id()));
            if let Some(status) = child.try_wait()? {
                break status;
            }
            sleep(Duration::from_millis(1));
        };
        Ok(Outcome {
            exit_code: status.code(),
            messages: fs_err::read_to_string(self.path("messages"))?,
            peak,
            time,
        })
    }

    fn questions(&self, split: Split) -> Result<Questions> {
        Questions::read(&self.artifact(), split)?.context("the split is there")
    }

    fn counts(&self, split: Split) -> Result<QuestionCounts> {
        Ok(QuestionCounts::read(&self.artifact())?[&split])
    }
}

/// The time that a process has computed for: fields 14 and 15 of `/proc/<id>/stat`, in hundredths of
/// a second (proc_pid_stat(5)).
fn computed(process: u32) -> Duration {
    let stat = fs_err::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is a name, which may have spaces.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks = ticks.filter_map(|field| field.parse::<u64>().ok());
    Duration::from_millis(10 * ticks.sum::<u64>())
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
        "train: SQuAD layout\ntest: SQuAD layout\nerror: 3 questions are wrong\n  test: question t1: the \
         paragraph has \"926年啟\" at character 5, not the answer \"1926年\"\n  test: question t4: \
         answers is \"高野\": must be a list\n  test: question t5: the question is empty\nhint: correct the file, or go on without wrong labels, and without questions that \
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
        "train: SQuAD layout\ndev: SQuAD layout\ndev: 1 of 2 questions have no label to measure on\n\
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
        "one: SQuAD layout\ntwo: SQuAD layout\none.test: SQuAD layout\n\
         train: 1 questions on 1 paragraphs\ndev: 1 questions",
    )?;
    check(
        "t",
        2,
        "one: SQuAD layout\ntwo: SQuAD layout\none.test: SQuAD layout\nerror: ensemble.folds is 2, but all questions are about 1 article (title \"t\")\nhint: ",
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
        let mut lines = outcome.messages.lines();
        let error = lines.find(|line| line.starts_with("error: "));
        assert_eq!(error, Some(&*format!("error: {expected}")));
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
        "id: question number 1 in the file: the id is a list: must be a string or a number",
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

#[test]
fn layouts_that_people_have_are_read_and_named() -> Result<()> {
    let folder = Folder::new()?;
    let record = |id: &str, question: &str, text: &str, start: usize| {
        let answers = json!({"text": [text], "answer_start": [start]});
        json!({"id": id, "title": "t", "context": STATION, "question": question, "answers": answers})
    };
    let records = [
        record("q1", "何時?", "1926年", 4),
        record("q2", "誰?", "高野", 16),
    ];
    let lines: String = records
        .iter()
        .map(|record| record.to_string() + "\n")
        .collect();
    let answer = |text: &str, start: usize| json!([{"text": text, "answer_start": start}]);
    let paragraphs = json!([{"context": STATION, "qas": [
        {"id": "q1", "question": "何時?", "is_impossible": false, "answers": answer("1926年", 4)},
        {"id": "q2", "question": "誰?", "is_impossible": false, "answers": answer("高野", 16)},
    ]}]);
    let cmrc = json!([{"context_id": "T_0", "context_text": STATION, "title": "t", "qas": [
        {"query_id": "q1", "query_text": "何時?", "answers": ["1926年"]},
        {"query_id": "q2", "query_text": "誰?", "answers": ["高野"]},
    ]}]);
    let table = "id,context,question,answer_text\n".to_owned()
        + &[("q1", "何時?", "1926年"), ("q2", "誰?", "高野")]
            .map(|(id, question, answer)| format!("{id},{STATION},{question},{answer}\n"))
            .concat();
    let files = [
        (
            "flat.json",
            json!({"version": "0.1", "data": records}).to_string(),
            "a JSON list of questions with contexts",
        ),
        ("flat.jsonl", lines, "JSON lines of questions with contexts"),
        (
            "simple.json",
            paragraphs.to_string(),
            "SimpleTransformers' layout",
        ),
        ("cmrc.json", cmrc.to_string(), "CMRC 2018's original layout"),
        (
            "table.csv",
            table,
            "a table (CSV) of questions with contexts",
        ),
    ];
    for (name, content, layout) in files {
        folder.write(name, content)?;
        folder.write(
            "test",
            squad("t", STATION, &json!([{"id": "t", "question": "?"}])),
        )?;
        let outcome = folder.run(&json!({"train": [name], "test": ["test"]}))?;
        assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
        let expected =
            format!("{name}: {layout}\ntest: SQuAD layout\ntrain: 2 questions on 1 paragraphs\n");
        assert!(
            outcome.messages.starts_with(&expected),
            "{}",
            outcome.messages
        );
        let questions = folder.questions(Split::Train)?.questions;
        let found: Vec<_> = questions
            .iter()
            .map(|one| {
                (
                    &*one.id,
                    &*one.text,
                    &*one.answers()[0].text,
                    one.answers()[0].start,
                )
            })
            .collect();
        assert_eq!(
            found,
            [("q1", "何時?", "1926年", 4), ("q2", "誰?", "高野", 16)]
        );
    }
    Ok(())
}

#[test]
fn whole_numbers_may_have_a_point_and_null_is_no_answers() -> Result<()> {
    let folder = Folder::new()?;
    let train =
        json!([{"id": "a", "question": "?", "answers": [{"text": "1926年", "answer_start": 4.0}]}]);
    folder.write("train", squad("t", STATION, &train))?;
    let test = json!([{"id": 7.0, "question": "?", "answers": null}]);
    folder.write("test", squad("t", STATION, &test))?;
    let outcome = folder.run(&json!({"train": ["train"], "test": ["test"]}))?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    assert_eq!(
        folder.questions(Split::Train)?.questions[0].answers()[0].start,
        4
    );
    let test = folder.questions(Split::Test)?.questions;
    assert_eq!(
        (&*test[0].id, &test[0].reference),
        ("7.0", &Reference::Unknown)
    );
    let wrong =
        json!([{"id": "a", "question": "?", "answers": [{"text": "1926年", "answer_start": 4.5}]}]);
    folder.write("train", squad("t", STATION, &wrong))?;
    let outcome = folder.run(&json!({"train": ["train"], "test": ["test"]}))?;
    assert_eq!(outcome.exit_code, Some(2));
    let expected = "error: train: question a: answer_start is 4.5: must be a whole number\nhint: ";
    assert!(outcome.messages.contains(expected), "{}", outcome.messages);
    Ok(())
}

#[test]
fn bad_records_of_all_files_are_told_together() -> Result<()> {
    let folder = Folder::new()?;
    let questions: Vec<Value> = (0..30)
        .map(|index| question(&format!("q{index}"), "1926年", 4 + index % 2))
        .collect();
    folder.write("train", squad("t", STATION, &json!(questions)))?;
    let test = "id,context,question,answer\nt1,一二三,?,四\n,一,?,\nt3,一,,\nt4,一一,?,一\n";
    folder.write("test", test)?;
    let mut settings = json!({"train": ["train"], "test": ["test"]});
    let outcome = folder.run(&settings)?;
    assert_eq!(outcome.exit_code, Some(2));
    let wrong = (1..30).step_by(2).map(|index| {
        format!(
            "  train: question q{index}: the paragraph has \"926年啟\" at character 5, not the answer \"1926年\"\n"
        )
    });
    let expected = format!(
        "train: SQuAD layout\ntest: a table (CSV) of questions with contexts\n\
         error: 19 questions are wrong (15 in train, 4 in test)\n{}\
         \x20 test: question t1: the answer \"四\" is not in the paragraph\n\
         \x20 test: question on line 3: the id is \"\": must be a string or a number\n\
         \x20 test: question t3: the question is empty\n\
         \x20 test: question t4: the answer \"一\" is in the paragraph more than once, and answer_start is \
         missing\nhint: ",
        wrong.collect::<String>()
    );
    assert!(
        outcome.messages.starts_with(&expected),
        "{}",
        outcome.messages
    );
    assert!(!folder.artifact().exists());

    // A label that is wrong costs the label.
    settings["on_bad_record"] = "skip".into();
    let outcome = folder.run(&settings)?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let train = folder.counts(Split::Train)?;
    assert_eq!((train.questions, train.rejected), (15, 15));
    let test = folder.counts(Split::Test)?;
    assert_eq!(
        (test.questions, test.labels_left_out, test.rejected),
        (2, 2, 2)
    );
    Ok(())
}

#[test]
fn a_wrong_label_of_dev_costs_the_label() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("train", train())?;
    let questions = json!([question("d1", "1926年", 5), question("d2", "高野", 16)]);
    folder.write("dev", squad("other", STATION, &questions))?;
    let settings = json!({"train": ["train"], "dev": ["dev"], "on_bad_record": "skip"});
    let outcome = folder.run(&settings)?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let counts = folder.counts(Split::Dev)?;
    assert_eq!(
        (counts.questions, counts.answered, counts.labels_left_out),
        (2, 1, 1)
    );
    let expected = "dev: 1 of 2 questions answered without a label; question d1 of dev: ";
    assert!(outcome.messages.contains(expected), "{}", outcome.messages);
    Ok(())
}

#[test]
fn unanswerable_questions_are_known_and_unlabelled_ones_not_trained_on() -> Result<()> {
    let folder = Folder::new()?;
    folder.write("train", train())?;
    let impossible = |id: &str| {
        let plausible = json!([{"text": "高野", "answer_start": 16}]);
        json!({"id": id, "question": "?", "answers": [], "is_impossible": true, "plausible_answers": plausible})
    };
    let unlabelled = json!({"id": "d3", "question": "?", "answers": null});
    let questions = json!([question("d1", "高野", 16), impossible("d2"), unlabelled]);
    folder.write("squad2", squad("other", STATION, &questions))?;
    let outcome = folder.run(&json!({"train": ["train"], "dev": ["squad2"]}))?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    for sentence in [
        "dev: 1 of 3 questions have no label to measure on\n",
        "dev: 1 of 3 questions have no answer\n",
    ] {
        assert!(outcome.messages.contains(sentence), "{}", outcome.messages);
    }
    let dev = folder.questions(Split::Dev)?.questions;
    assert_eq!(dev[1].reference, Reference::Unanswerable);
    assert_eq!(dev[2].reference, Reference::Unknown);
    let counts = folder.counts(Split::Dev)?;
    assert_eq!(
        (counts.answered, counts.unanswerable, counts.unlabelled),
        (1, 1, 1)
    );

    let mut settings = json!({"train": ["squad2"], "test": ["train"]});
    let outcome = folder.run(&settings)?;
    assert_eq!(outcome.exit_code, Some(2));
    let expected = "error: squad2: question d3: it has no answer to train on\nhint: ";
    assert!(outcome.messages.contains(expected), "{}", outcome.messages);
    settings["on_bad_record"] = "skip".into();
    let outcome = folder.run(&settings)?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let counts = folder.counts(Split::Train)?;
    assert_eq!((counts.rejected, counts.unanswerable), (1, 1));
    Ok(())
}

#[test]
fn an_empty_list_of_answers_is_no_answer_but_in_test() -> Result<()> {
    let folder = Folder::new()?;
    let line = |id: &str, rest: Value| {
        let mut record = json!({"id": id, "context": STATION, "question": id});
        let fields = rest.as_object().context("fields")?.clone();
        record.as_object_mut().context("fields")?.extend(fields);
        Ok::<_, anyhow::Error>(format!("{record}\n"))
    };
    let answered = line(
        "a",
        json!({"answers": {"text": ["1926年"], "answer_start": [4]}}),
    )?;
    let empty = line("b", json!({"answers": {"text": [], "answer_start": []}}))?;
    let missing = line("c", json!({"answers": null}))?;
    let denied = line("d", json!({"answers": [], "is_impossible": false}))?;
    let write = |name: &str, text: &str| fs_err::write(folder.path(name), text);
    write("train", &format!("{answered}{empty}"))?;
    write("dev", &format!("{answered}{empty}{missing}{denied}"))?;
    write("test", &format!("{empty}{missing}"))?;
    let outcome = folder.run(&json!({"train": ["train"], "dev": ["dev"], "test": ["test"]}))?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let counts = |split| {
        let counts = folder.counts(split)?;
        Ok::<_, anyhow::Error>((counts.answered, counts.unanswerable, counts.unlabelled))
    };
    assert_eq!(counts(Split::Train)?, (1, 1, 0));
    assert_eq!(counts(Split::Dev)?, (1, 1, 2));
    assert_eq!(counts(Split::Test)?, (0, 0, 2));
    write("dev", &empty)?;
    let outcome = folder.run(&json!({"train": ["train"], "dev": ["dev"]}))?;
    let expected = "dev: none of 1 questions has an answer: where answers are not known";
    assert!(outcome.messages.contains(expected), "{}", outcome.messages);
    Ok(())
}

/// A layout of many questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Squad,
    Course,
    Paragraphs,
    Cmrc,
    List,
    Lines,
    Columns,
    Csv,
}

const LAYOUTS: [Layout; 8] = [
    Layout::Squad,
    Layout::Course,
    Layout::Paragraphs,
    Layout::Cmrc,
    Layout::List,
    Layout::Lines,
    Layout::Columns,
    Layout::Csv,
];

/// The paragraph of this number, of 60 characters. No two are the same.
fn paragraph(number: usize) -> String {
    let character = |index: usize| char::from_u32(0x4e00 + (index % 2000) as u32).unwrap_or('一');
    // Numbers without a common factor.
    (0..60)
        .map(|index| character(number / 7 + index * (1 + number % 1999)))
        .collect()
}

/// Question `number` about a text: its id, its answer, and the answer's first character.
fn about(text: &str, paragraph: usize, number: usize) -> (String, String, usize) {
    let start = number * 13;
    let answer = text.chars().skip(start).take(4).collect();
    (format!("q{}", paragraph * 4 + number), answer, start)
}

/// Writes this many questions, four on each paragraph.
fn write_questions(path: &Path, layout: Layout, questions: usize) -> Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let paragraphs = questions / 4;
    let separated = |index: usize| if index == 0 { "" } else { ",\n" };
    match layout {
        Layout::Squad | Layout::Paragraphs | Layout::Cmrc => {
            let is_squad = layout == Layout::Squad;
            write!(file, "{}", if is_squad { "{\"data\": [" } else { "[" })?;
            for index in 0..paragraphs {
                let text = paragraph(index);
                let qas = (0..4).map(|number| {
                    let (id, answer, start) = about(&text, index, number);
                    match layout {
                        Layout::Cmrc => json!({"query_id": id, "query_text": format!("{id}?"), "answers": [answer]}),
                        _ => question(&id, &answer, start),
                    }
                });
                let qas: Vec<Value> = qas.collect();
                let value = match layout {
                    Layout::Cmrc => json!({"context_text": text, "qas": qas}),
                    _ => json!({"context": text, "qas": qas}),
                };
                match (is_squad, index, index % 50) {
                    (true, 0, _) => write!(file, "{{\"title\": \"0\", \"paragraphs\": [{value}")?,
                    (true, _, 0) => write!(
                        file,
                        "]}},\n{{\"title\": \"{index}\", \"paragraphs\": [{value}"
                    )?,
                    _ => write!(file, "{}{value}", separated(index))?,
                }
            }
            write!(file, "{}", if is_squad { "]}]}" } else { "]" })?;
        }
        Layout::Course => {
            write!(file, "{{\"questions\": [")?;
            for index in 0..questions {
                let (id, answer, start) = about(&paragraph(index / 4), index / 4, index % 4);
                let value = json!({
                    "id": id, "paragraph_id": index / 4, "question_text": format!("{id}?"), "answer_text": answer,
                    "answer_start": start, "answer_end": start + 3,
                });
                write!(file, "{}{value}", separated(index))?;
            }
            write!(file, "], \"paragraphs\": [")?;
            for index in 0..paragraphs {
                write!(file, "{}{}", separated(index), json!(paragraph(index)))?;
            }
            write!(file, "]}}")?;
        }
        Layout::List | Layout::Lines => {
            for index in 0..questions {
                let text = paragraph(index / 4);
                let (id, answer, start) = about(&text, index / 4, index % 4);
                let answers = json!({"text": [answer], "answer_start": [start]});
                let value = json!({"id": id, "context": text, "question": format!("{id}?"), "answers": answers});
                match (layout, index) {
                    (Layout::Lines, _) => writeln!(file, "{value}")?,
                    (_, 0) => write!(file, "[{value}")?,
                    _ => write!(file, ",\n{value}")?,
                }
            }
            if layout == Layout::List {
                write!(file, "]")?;
            }
        }
        Layout::Columns => {
            for (column, name) in ["id", "context", "question", "answers"].iter().enumerate() {
                write!(
                    file,
                    "{}\"{name}\": [",
                    if column == 0 { "{" } else { "], " }
                )?;
                for index in 0..questions {
                    let text = paragraph(index / 4);
                    let (id, answer, start) = about(&text, index / 4, index % 4);
                    let value = match column {
                        0 => id.into(),
                        1 => text.into(),
                        2 => format!("{id}?").into(),
                        _ => json!({"text": [answer], "answer_start": [start]}),
                    };
                    write!(file, "{}{value}", separated(index))?;
                }
            }
            write!(file, "]}}")?;
        }
        Layout::Csv => {
            writeln!(file, "id,context,question,answers")?;
            for index in 0..questions {
                let text = paragraph(index / 4);
                let (id, answer, start) = about(&text, index / 4, index % 4);
                writeln!(
                    file,
                    "{id},{text},{id}?,\"{{'text': array(['{answer}'], dtype=object), 'answer_start': array([{start}])}}\""
                )?;
            }
        }
    }
    Ok(file.flush()?)
}

/// Peak memory with this many questions in train, in MiB, and the time that the stage computes for.
fn cost(layout: Layout, questions: usize) -> Result<(u64, Duration)> {
    let folder = Folder::new()?;
    write_questions(&folder.path("train"), layout, questions)?;
    folder.write(
        "test",
        squad("t", STATION, &json!([{"id": "t", "question": "?"}])),
    )?;
    let outcome = folder.run(&json!({"train": ["train"], "test": ["test"]}))?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let counts = folder.counts(Split::Train)?;
    assert_eq!(
        (counts.answered, counts.paragraphs),
        (questions, questions / 4)
    );
    Ok((outcome.peak >> 20, outcome.time))
}

#[test]
fn memory_stays_level() -> Result<()> {
    // One of each kind of reader. Where everything is held, 40,000 more questions take 60 to 90 MiB
    // more.
    let layouts = [Layout::Squad, Layout::Lines, Layout::Columns, Layout::Csv];
    for layout in layouts {
        let ((few, _), (many, _)) = (cost(layout, 20_000)?, cost(layout, 60_000)?);
        println!("{layout:?}: 20,000 questions: {few} MiB, 60,000 questions: {many} MiB");
        assert!(many <= few + 20, "{layout:?}: from {few} to {many} MiB");
    }
    Ok(())
}

/// `cargo nextest run -p spanwise-data --run-ignored only -E 'test(a_million)' --no-capture`
#[test]
#[ignore = "writes 300 MB eight times and takes minutes"]
fn a_million_questions_take_300_mib_at_most_and_linear_time() -> Result<()> {
    for layout in LAYOUTS {
        let mut last = Duration::MAX / 20;
        for questions in [10_000, 100_000, 1_000_000] {
            let (peak, time) = cost(layout, questions)?;
            println!(
                "{layout:?}, {questions} questions: {peak} MiB, {:.1} s",
                time.as_secs_f64()
            );
            assert!(peak <= 300, "{layout:?}: {peak} MiB");
            // Ten times as much, and half of that for what else the machine does.
            let expected = last * 15 + Duration::from_secs(1);
            assert!(time <= expected, "{layout:?}: {time:?}");
            last = time;
        }
    }
    Ok(())
}
