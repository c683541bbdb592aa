//! Whatever a file has in it, it is refused in words or every stored answer equals its slice of the
//! paragraph.
//!
//! For as many minutes as wanted:
//! `SPANWISE_FUZZ_MINUTES=10 cargo nextest run -p spanwise-data --run-ignored only -E 'test(fuzz)'`

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::OnBadRecord;
use spanwise_artifact::{Characters, Reference, Split, UserError, jsonl};
use spanwise_data::collect::{self, Collected};
use spanwise_data::faults::Faults;
use spanwise_data::folds;
use spanwise_data::repeated::Repeated;
use spanwise_data::sources::Source;

/// The layouts of input files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    Course,
    Squad,
    Native,
    /// As SimpleTransformers has it.
    Paragraphs,
    Cmrc,
    List,
    Lines,
    /// With a list for each column.
    Columns,
    /// With an object for each column, as pandas writes them.
    KeyedColumns,
    Csv,
    Tsv,
}

impl Layout {
    const ALL: [Self; 11] = [
        Self::Course,
        Self::Squad,
        Self::Native,
        Self::Paragraphs,
        Self::Cmrc,
        Self::List,
        Self::Lines,
        Self::Columns,
        Self::KeyedColumns,
        Self::Csv,
        Self::Tsv,
    ];
}

/// A file to read, and how.
#[derive(Debug)]
struct Case {
    split: Split,
    on_bad_record: OnBadRecord,
    layout: Layout,
    /// Content of the file, and of the paragraphs beside it in the native layout.
    content: Vec<u8>,
    beside: Vec<u8>,
}

/// A change of a document's values.
#[derive(Debug, Clone)]
struct Replacement {
    /// Which of its values.
    at: Index,
    /// What it becomes.
    with: Value,
}

/// A change of a file's bytes.
#[derive(Debug, Clone)]
enum Damage {
    Flip(Index, u8),
    Remove(Index, usize),
    Insert(Index, &'static [u8]),
    Repeat(Index, usize),
    Truncate(Index),
}

const PARAGRAPHS: [&str; 3] = [
    "青田站於1926年啟用，由建築師𠮷野設計。",
    "The cafe\u{301} \"Zoe\" is \u{1f6b2} in Orle\u{301}ans.\n",
    " ",
];

/// Paragraph, first character and text of an answer.
fn answers() -> Vec<(usize, usize, String)> {
    let answer = |paragraph: usize, start: usize, length: usize| {
        let text = PARAGRAPHS[paragraph].chars().skip(start).take(length);
        (paragraph, start, text.collect())
    };
    vec![
        answer(0, 4, 5),
        answer(1, 4, 5),
        answer(0, 16, 2),
        answer(1, 11, 3),
    ]
}

/// A document without a fault, and the paragraphs beside it in the native layout.
fn valid(layout: Layout) -> (Vec<Value>, Vec<Value>) {
    let answers = answers().into_iter().enumerate();
    match layout {
        Layout::Course => {
            let questions = answers.map(|(id, (paragraph, start, text))| {
                let last = start + text.chars().count() - 1;
                json!({
                    "id": id, "paragraph_id": paragraph, "question_text": "誰?",
                    "answer_text": text, "answer_start": start, "answer_end": last,
                })
            });
            let questions: Vec<Value> = questions.collect();
            let document = json!({"questions": questions, "paragraphs": PARAGRAPHS});
            (vec![document], Vec::new())
        }
        Layout::Squad | Layout::Paragraphs | Layout::Cmrc => {
            let context = if layout == Layout::Cmrc {
                "context_text"
            } else {
                "context"
            };
            let mut paragraphs: Vec<Value> = PARAGRAPHS
                .iter()
                .map(|text| json!({context: text, "qas": []}))
                .collect();
            for (id, (paragraph, start, text)) in answers {
                let question = if layout == Layout::Cmrc {
                    json!({"query_id": id.to_string(), "query_text": "?", "answers": [text]})
                } else {
                    let answers = json!([{"text": text, "answer_start": start}]);
                    json!({"id": id.to_string(), "question": "?", "answers": answers, "is_impossible": false})
                };
                if let Value::Array(questions) = &mut paragraphs[paragraph]["qas"] {
                    questions.push(question);
                }
            }
            let document = if layout == Layout::Squad {
                let article = json!({"title": "t", "paragraphs": paragraphs});
                json!({"version": "1", "data": [article]})
            } else {
                Value::Array(paragraphs)
            };
            (vec![document], Vec::new())
        }
        Layout::Native => {
            let questions = answers.map(|(id, (paragraph, start, text))| {
                let answers = json!([{"text": text, "start": start}]);
                json!({"id": id.to_string(), "paragraph": paragraph, "text": "?", "answers": answers})
            });
            let paragraphs = PARAGRAPHS.iter().map(|text| json!({ "text": text }));
            (questions.collect(), paragraphs.collect())
        }
        Layout::List | Layout::Lines | Layout::Csv | Layout::Tsv => {
            let records = answers.map(|(id, (paragraph, start, text))| {
                let answers = match id % 2 {
                    0 => json!({"text": [text], "answer_start": [start]}),
                    _ => json!([{"text": text, "answer_start": start}]),
                };
                json!({
                    "id": id.to_string(), "title": "t", "context": PARAGRAPHS[paragraph], "question": "?",
                    "answers": answers, "is_impossible": false,
                })
            });
            match layout {
                Layout::List => (vec![records.collect()], Vec::new()),
                _ => (records.collect(), Vec::new()),
            }
        }
        Layout::Columns | Layout::KeyedColumns => {
            let column = |value: &dyn Fn(usize, (usize, usize, String)) -> Value| -> Value {
                let values = answers
                    .clone()
                    .map(|(id, answer)| (id.to_string(), value(id, answer)));
                if layout == Layout::Columns {
                    values.map(|(_, value)| value).collect()
                } else {
                    Value::Object(values.collect())
                }
            };
            let document = json!({
                "id": column(&|id, _| id.into()),
                "context": column(&|_, (paragraph, ..)| PARAGRAPHS[paragraph].into()),
                "question": column(&|_, _| "?".into()),
                "answer_text": column(&|_, (.., text)| text.into()),
                "answer_start": column(&|_, (_, start, _)| start.into()),
            });
            (vec![document], Vec::new())
        }
    }
}

/// Records as the file of a layout.
fn file(layout: Layout, records: &[Value]) -> Vec<u8> {
    let delimiter = match layout {
        Layout::Csv => b',',
        Layout::Tsv => b'\t',
        _ => return lines(records),
    };
    let mut table = csv::WriterBuilder::new();
    let mut table = table
        .delimiter(delimiter)
        .flexible(true)
        .from_writer(Vec::new());
    let columns = [
        "id",
        "title",
        "context",
        "question",
        "answers",
        "is_impossible",
    ];
    table.write_record(columns).expect("in memory");
    let nothing = Map::new();
    for record in records {
        let record = record.as_object().unwrap_or(&nothing);
        let cells = columns
            .into_iter()
            .filter_map(|column| match record.get(column)? {
                Value::Null => Some(String::new()),
                Value::String(text) => Some(text.clone()),
                // As Python writes it, but for the text.
                other if layout == Layout::Csv => Some(other.to_string().replace('"', "'")),
                other => Some(other.to_string()),
            });
        let row: Vec<String> = cells.collect();
        table.write_record(row).expect("in memory");
    }
    table.into_inner().expect("in memory")
}

fn replacement() -> impl Strategy<Value = Replacement> {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let with = prop::sample::select(vec![
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(4.0),
        json!(4.5),
        json!(1e300),
        json!(u64::MAX),
        json!(""),
        json!(" "),
        json!("0"),
        json!("年"),
        json!("\u{0}\u{1b}[2J"),
        json!("\u{301}"),
        json!("長".repeat(1000)),
        json!([]),
        json!({}),
        json!([null]),
        json!({"text": "年", "start": 8, "answer_start": 8}),
        deep,
    ]);
    (any::<Index>(), with).prop_map(|(at, with)| Replacement { at, with })
}

fn damage() -> impl Strategy<Value = Damage> {
    let pieces: Vec<&'static [u8]> = vec![
        b"\"",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"null",
        b"1e400",
        b"-1",
        b"\\ud800",
        b"\\u0000",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xe5",
        b"\"data\": [],",
        b"\"questions\": [],",
        b"\n",
        b"\r\n",
        b"99999999999999999999",
        b"\x1b",
        b"'",
        b"array(",
        b"\t",
        b";",
        b"id,context,question\n",
        b"\\'",
        b"\\",
        b" ",
    ];
    let piece = prop::sample::select(pieces);
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Damage::Remove(at, length)),
        (any::<Index>(), piece).prop_map(|(at, piece)| Damage::Insert(at, piece)),
        (any::<Index>(), 1..200_usize).prop_map(|(at, length)| Damage::Repeat(at, length)),
        any::<Index>().prop_map(Damage::Truncate),
    ]
}

fn case() -> impl Strategy<Value = Case> {
    let layout = prop::sample::select(Layout::ALL.to_vec());
    let on_bad_record = prop::sample::select(vec![OnBadRecord::Error, OnBadRecord::Skip]);
    let replacements = prop::collection::vec(replacement(), 0..4);
    // Most files stay JSON, so that what is behind the parser is reached.
    let damages = prop_oneof![
        2 => Just(Vec::new()),
        1 => prop::collection::vec(damage(), 1..4),
    ];
    let split = prop::sample::select(Split::ALL.to_vec());
    // Whole, so that what is in it is reached, or damaged itself.
    let gzip = prop::sample::select(vec![None, None, None, Some(false), Some(true)]);
    (split, on_bad_record, layout, replacements, damages, gzip).prop_map(
        |(split, on_bad_record, layout, replacements, damages, gzip)| {
            let (mut records, mut paragraphs) = valid(layout);
            for Replacement { at, with } in replacements {
                let documents = if at.index(4) == 0 && !paragraphs.is_empty() {
                    &mut paragraphs
                } else {
                    &mut records
                };
                let document = at.index(documents.len());
                let document = &mut documents[document];
                let pointers = pointers(document);
                let pointer = &pointers[at.index(pointers.len())];
                if let Some(value) = document.pointer_mut(pointer) {
                    *value = with;
                }
            }
            let (mut content, mut beside) = (file(layout, &records), lines(&paragraphs));
            if gzip == Some(true) {
                content = compressed(&content);
            }
            for damage in damages {
                let first = matches!(layout, Layout::Native) && matches!(damage, Damage::Flip(..));
                do_damage(if first { &mut beside } else { &mut content }, &damage);
            }
            if gzip == Some(false) {
                content = compressed(&content);
            }
            Case {
                split,
                on_bad_record,
                layout,
                content,
                beside,
            }
        },
    )
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

/// Pointers to all values of a document.
fn pointers(value: &Value) -> Vec<String> {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| (key.clone(), value))
            .collect(),
        Value::Array(list) => list
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    let mut found = vec![String::new()];
    for (key, value) in below {
        let pointers = pointers(value).into_iter();
        found.extend(pointers.map(|pointer| format!("/{key}{pointer}")));
    }
    found
}

fn do_damage(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    let range = |at: &Index, count: usize| at.index(length)..(at.index(length) + count).min(length);
    match damage {
        Damage::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Damage::Remove(at, count) => drop(bytes.drain(range(at, *count))),
        Damage::Insert(at, piece) => {
            let at = at.index(length);
            bytes.splice(at..at, piece.iter().copied());
        }
        Damage::Repeat(at, count) => {
            let piece = bytes[range(at, *count)].to_vec();
            let at = at.index(length);
            bytes.splice(at..at, piece);
        }
        Damage::Truncate(at) => bytes.truncate(at.index(length)),
    }
}

/// Records as a file: one document, or one on each line.
fn lines(records: &[Value]) -> Vec<u8> {
    let lines = records.iter().map(|record| record.to_string() + "\n");
    lines.collect::<String>().into_bytes()
}

/// Reads a case as the stage does.
fn collect(case: &Case, directory: &Path) -> Result<Collected> {
    let path = |name: &str| directory.join(name);
    fs_err::write(path("input"), &case.content)?;
    fs_err::write(path("beside"), &case.beside)?;
    let beside = match case.layout {
        Layout::Native => Some(("beside", path("beside"))),
        _ => None,
    };
    let source = Source::new(("input", path("input")), beside)?;
    let mut rejected = jsonl::Writer::create(&path("rejected"))?;
    let mut faults = Faults::default();
    let collected = Collected::read(
        case.split,
        &[source],
        case.on_bad_record,
        &mut Repeated::default(),
        &mut rejected,
        &mut faults,
        directory,
    )?;
    faults.finish()?;
    Ok(collected)
}

/// Reads a case. Fails where it is neither refused in words nor right.
fn read(case: &Case) -> Result<()> {
    let directory = tempfile::tempdir()?;
    match collect(case, directory.path()) {
        Ok(collected) => check(case.split, &collected, directory.path()),
        Err(error) => {
            let user = error.downcast_ref::<UserError>();
            let user = user.with_context(|| format!("not the user's: {error:#}"))?;
            let message = format!("{} {:?}", user.message, user.hint);
            anyhow::ensure!(message.lines().count() <= 21, "{message}");
            for line in message.lines() {
                anyhow::ensure!(line.len() < 700, "{} bytes", line.len());
                anyhow::ensure!(!line.contains(char::is_control), "{line:?}");
            }
            Ok(())
        }
    }
}

/// Checks what was accepted.
fn check(split: Split, collected: &Collected, directory: &Path) -> Result<()> {
    let data = Questions::read(directory, split)?.context("it was accepted")?;
    let mut ids = HashSet::new();
    for question in &data.questions {
        anyhow::ensure!(ids.insert(&question.id), "id {:?} twice", question.id);
        anyhow::ensure!(!question.text.trim().is_empty());
        let labelled = match &question.reference {
            Reference::Spans(spans) => !spans.is_empty(),
            Reference::Unanswerable => true,
            Reference::Unknown => false,
        };
        anyhow::ensure!(labelled || split != Split::Train);
        let paragraph = Characters::new(data.paragraph(question));
        for answer in question.answers() {
            let found = paragraph.get(answer.range());
            anyhow::ensure!(found == Some(answer.text.as_str()), "{answer:?}");
        }
    }
    let counts = collected.counts;
    let labelled = data.questions.iter();
    let labelled = labelled.filter(|question| !question.answers().is_empty());
    anyhow::ensure!(counts.answered == labelled.count());
    let unanswerable = data.questions.iter();
    let unanswerable = unanswerable.filter(|one| one.reference == Reference::Unanswerable);
    anyhow::ensure!(counts.unanswerable == unanswerable.count());
    let labels = counts.answered + counts.unanswerable + counts.unlabelled;
    anyhow::ensure!(counts.questions == labels);
    anyhow::ensure!(counts.questions == data.questions.len());
    anyhow::ensure!(counts.paragraphs == data.paragraphs.len());
    let elsewhere = tempfile::tempdir()?;
    let half = collected.sample(counts.questions.div_ceil(2), elsewhere.path())?;
    anyhow::ensure!(half.counts.questions == counts.questions.div_ceil(2));
    if let Ok(assigned) = folds::assign(&[collected], 2) {
        let selected = collect::select(&[collected], split, elsewhere.path(), |question| {
            assigned[question] == 0
        })?;
        anyhow::ensure!(selected.counts.questions < counts.questions);
    }
    Ok(())
}

fn run(cases: u32) {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    let result = TestRunner::new(config).run(&case(), |case| {
        read(&case).map_err(|error| TestCaseError::fail(format!("{error:#}")))
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

#[test]
fn what_is_accepted_is_right() {
    run(1000);
}

#[test]
fn documents_without_a_fault_are_accepted() -> Result<()> {
    for (layout, is_gzip) in Layout::ALL
        .into_iter()
        .flat_map(|one| [(one, false), (one, true)])
    {
        let (records, paragraphs) = valid(layout);
        let content = file(layout, &records);
        let case = Case {
            split: Split::Train,
            on_bad_record: OnBadRecord::Error,
            layout,
            content: if is_gzip {
                compressed(&content)
            } else {
                content
            },
            beside: lines(&paragraphs),
        };
        let directory = tempfile::tempdir()?;
        let collected = collect(&case, directory.path())?;
        assert_eq!(collected.counts.answered, answers().len(), "{layout:?}");
        let mut texts = HashSet::new();
        for next in collected.questions()? {
            let (question, paragraph) = next?;
            texts.insert((paragraph.text.clone(), question.answers().to_vec()[0].start));
        }
        let expected = answers().into_iter();
        let expected =
            expected.map(|(paragraph, start, _)| (PARAGRAPHS[paragraph].to_owned(), start));
        assert_eq!(texts, expected.collect(), "{layout:?}");
    }
    Ok(())
}

#[test]
#[ignore = "takes as many minutes as SPANWISE_FUZZ_MINUTES says, or one"]
fn fuzz() {
    let minutes = std::env::var("SPANWISE_FUZZ_MINUTES").ok();
    let minutes = minutes
        .and_then(|minutes| minutes.parse().ok())
        .unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(60 * minutes);
    let mut cases = 0;
    while Instant::now() < end {
        run(10_000);
        cases += 10_000;
    }
    println!("{cases} files read");
}
