//! The stage as a program: what it says, and how much memory it takes.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use fs_err::File;
use serde_json::{Map, Value, json};
use spanwise_artifact::questions::Questions;
use spanwise_artifact::windows::{WindowCounts, WindowFile};
use spanwise_artifact::{Answer, Paragraph, Question, Reference, Split, jsonl};
use spanwise_program::measure::Memory;

/// A folder with a data artifact and a checkpoint, and the artifact that the stage makes of them.
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
    /// With a Chinese BERT's tokenizer, whose vocabulary has `characters`.
    fn new(characters: impl IntoIterator<Item = char>) -> Result<Self> {
        let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
        let tokens = specials
            .into_iter()
            .chain(characters.into_iter().map(String::from));
        let vocabulary: Map<String, Value> = tokens
            .zip(0..)
            .map(|(token, id)| (token, id.into()))
            .collect();
        let tokenizer = json!({
            "version": "1.0", "added_tokens": [],
            "normalizer": {
                "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": true,
            },
            "pre_tokenizer": {"type": "BertPreTokenizer"},
            "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocabulary,
            },
        });
        Self::with(&tokenizer)
    }

    /// With this tokenizer.
    fn with(tokenizer: &Value) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let folder = Self { directory };
        for name in ["checkpoint", "data"] {
            fs_err::create_dir(folder.path(name))?;
        }
        fs_err::write(
            folder.path("checkpoint/tokenizer.json"),
            tokenizer.to_string(),
        )?;
        Ok(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn artifact(&self) -> PathBuf {
        self.path("artifact")
    }

    /// Runs the stage.
    fn run(&self, settings: &Value) -> Result<Outcome> {
        let input = |name: &str| json!({ "path": self.path(name) });
        let job = json!({
            "stage": "windows", "settings": settings, "output": self.artifact(),
            "inputs": {"data": input("data"), "checkpoint": input("checkpoint")},
        });
        fs_err::write(self.path("job.json"), job.to_string())?;
        let mut child = Command::new(env!("CARGO_BIN_EXE_spanwise-windows"))
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
}

/// A question about a paragraph, with an answer.
fn question(id: usize, paragraph: usize, text: &str, answer: &str, start: usize) -> Question {
    Question {
        id: id.to_string(),
        paragraph,
        text: text.to_owned(),
        reference: Reference::Spans(vec![Answer {
            text: answer.to_owned(),
            start,
        }]),
    }
}

fn paragraph(text: &str) -> Paragraph {
    Paragraph {
        text: text.to_owned(),
        article: None,
    }
}

#[test]
fn what_is_lost_is_said_and_counted() -> Result<()> {
    let folder = Folder::new("山川草木鳥獸".chars())?;
    let text = "山川草木鳥獸".repeat(4);
    let questions = vec![
        question(0, 0, &"山".repeat(20), "川", 1),
        question(1, 0, "川", &text, 0),
        question(2, 1, "川", "丙", 2),
        question(3, 2, "川", "\u{200b}", 0),
    ];
    let all = Questions {
        paragraphs: vec![paragraph(&text), paragraph("甲乙丙"), paragraph("\u{200b}")],
        questions,
    };
    let data = folder.path("data");
    all.write(&data, Split::Train)?;
    all.write(&data, Split::Dev)?;
    let settings = json!({
        "max_length": 20, "max_question_length": 8, "stride": 4, "placement": "random",
    });
    let outcome = folder.run(&settings)?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let of_train: Vec<&str> = outcome.messages.lines().take(7).collect();
    let expected = [
        "train: 10 windows for 4 questions",
        "train: 1 of 4 questions are cut to 8 tokens and lose their end: raise \
         windows.max_question_length",
        "train: 1 of 4 answers do not end where tokens do; checkpoint.split_characters = true makes \
         every character a token of its own",
        "train: 1 of 4 answers are longer than a window: they are not learned from",
        "train: 1 of 4 answers have no token: they are not learned from",
        "train: 1 of 3 paragraphs have tokens that are not in the vocabulary, 11.1 % of all tokens: \
         is the checkpoint for another language?",
        "train: 2 of 3 paragraphs have nothing that is in the vocabulary",
    ];
    assert_eq!(of_train, expected, "{}", outcome.messages);
    let counts = WindowCounts::read(&folder.artifact())?;
    let expected = WindowCounts {
        questions: 4,
        windows: 10,
        questions_cut: 1,
        answers: 4,
        answers_not_expressible: 1,
        answers_longer_than_window: 1,
        answers_without_tokens: 1,
        paragraphs: 3,
        paragraphs_with_unknown_tokens: 1,
        paragraphs_unknown: 2,
        tokens: 27,
        unknown_tokens: 3,
    };
    assert_eq!(counts[&Split::Train], expected);
    assert_eq!(counts[&Split::Dev], expected);
    assert_eq!(expected.not_learnable(), 2);
    Ok(())
}

#[test]
fn questions_about_paragraphs_in_any_order_have_their_tokens() -> Result<()> {
    let folder = Folder::new("山川草木鳥獸".chars())?;
    let texts = ["山川", "草木鳥", "獸"];
    let order = [2, 0, 1, 1, 0];
    let answer = |paragraph: usize| texts[paragraph].chars().last().unwrap_or_default();
    let all = Questions {
        paragraphs: texts.map(paragraph).into(),
        questions: (0..order.len())
            .map(|id| {
                let start = texts[order[id]].chars().count() - 1;
                let answer = answer(order[id]).to_string();
                question(id, order[id], "山", &answer, start)
            })
            .collect(),
    };
    all.write(&folder.path("data"), Split::Test)?;
    let outcome = folder.run(&json!({}))?;
    assert_eq!(outcome.messages, "test: 5 windows for 5 questions\n");
    let file = WindowFile::open(&folder.artifact(), Split::Test)?.context("test was written")?;
    for (id, paragraph) in order.into_iter().enumerate() {
        let length = texts[paragraph].chars().count();
        assert_eq!(file.paragraph_tokens(id).len(), length);
        assert_eq!(file.answer(id), Some(length - 1..length));
    }
    Ok(())
}

#[test]
fn a_tokenizer_that_cannot_be_used_is_the_users() -> Result<()> {
    let template = json!({"type": "BertProcessing", "sep": ["[SEP]", 1], "cls": ["[CLS]", 0]});
    let check = |tokens: &[&str], template: &Value, expected: &str| -> Result<()> {
        let vocabulary: Map<String, Value> = tokens
            .iter()
            .zip(0..)
            .map(|(token, id)| ((*token).to_owned(), id.into()))
            .collect();
        let folder = Folder::with(&json!({
            "version": "1.0", "added_tokens": [],
            "pre_tokenizer": {"type": "BertPreTokenizer"}, "post_processor": template,
            "model": {
                "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 100, "vocab": vocabulary,
            },
        }))?;
        let all = Questions {
            paragraphs: vec![paragraph("山")],
            questions: vec![question(0, 0, "山", "山", 0)],
        };
        all.write(&folder.path("data"), Split::Test)?;
        let outcome = folder.run(&json!({}))?;
        assert_eq!(outcome.exit_code, Some(2), "{}", outcome.messages);
        let lines: Vec<&str> = outcome.messages.lines().collect();
        assert_eq!(
            lines[0],
            format!("error: the checkpoint's tokenizer {expected}")
        );
        assert!(lines[1].starts_with("hint: "));
        Ok(())
    };
    check(
        &["[CLS]", "[SEP]", "[PAD]", "1"],
        &template,
        "fails: WordPiece error: Missing [UNK] token from the vocabulary",
    )?;
    check(
        &["[CLS]", "[SEP]", "[UNK]"],
        &template,
        "has no padding token: neither [PAD] nor <pad> is in its vocabulary",
    )?;
    check(
        &["[CLS]", "[SEP]", "[UNK]", "[PAD]"],
        &json!(null),
        "has no pair template: it puts no special token between question and paragraph",
    )
}

#[test]
fn a_question_about_no_paragraph_is_said() -> Result<()> {
    let folder = Folder::new("山".chars())?;
    let all = Questions {
        paragraphs: vec![paragraph("山")],
        questions: vec![question(0, 1, "山", "山", 0)],
    };
    all.write(&folder.path("data"), Split::Test)?;
    let outcome = folder.run(&json!({}))?;
    assert_eq!(outcome.exit_code, Some(2));
    let expected = "test.questions.jsonl is damaged: a question is about paragraph 1 of 1\nhint: ";
    assert!(outcome.messages.contains(expected), "{}", outcome.messages);
    Ok(())
}

/// Writes this many questions, four on a paragraph of 60 characters.
fn write_questions(data: &Path, questions: usize) -> Result<()> {
    let character = |index: usize| char::from_u32(0x4e00 + (index % 2000) as u32).unwrap_or('一');
    let text = |paragraph: usize| -> String {
        (0..60)
            .map(|index| character(paragraph + index * 37))
            .collect()
    };
    let paragraphs = (0..questions / 4).map(|index| paragraph(&text(index)));
    jsonl::write(&data.join(Split::Test.paragraphs_file()), paragraphs)?;
    let questions = (0..questions).map(|id| {
        let asked: String = (0..12).map(|index| character(id + index * 31)).collect();
        let (paragraph, start) = (id / 4, id % 4 * 13);
        let answer: String = text(paragraph).chars().skip(start).take(4).collect();
        question(id, paragraph, &asked, &answer, start)
    });
    jsonl::write(&data.join(Split::Test.questions_file()), questions)
}

/// Peak memory with this many questions, in MiB.
fn peak(questions: usize) -> Result<u64> {
    let folder = Folder::new((0..2000).filter_map(|index| char::from_u32(0x4e00 + index)))?;
    write_questions(&folder.path("data"), questions)?;
    let outcome = folder.run(&json!({}))?;
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.messages);
    let counts = WindowCounts::read(&folder.artifact())?[&Split::Test];
    assert_eq!(
        (counts.questions, counts.tokens),
        (questions, questions * 15)
    );
    Ok(outcome.peak >> 20)
}

#[test]
fn memory_stays_level() -> Result<()> {
    // Where everything is held, 40,000 more questions take 50 MiB more.
    let (few, many) = (peak(20_000)?, peak(60_000)?);
    println!("20,000 questions: {few} MiB, 60,000 questions: {many} MiB");
    assert!(many <= few + 20, "from {few} to {many} MiB");
    Ok(())
}

/// `cargo nextest run -p spanwise-windows --run-ignored only -E 'test(a_million)' --no-capture`
#[test]
#[ignore = "writes 400 MB and takes two minutes"]
fn a_million_questions_take_300_mib_at_most() -> Result<()> {
    for questions in [10_000, 100_000, 1_000_000] {
        let peak = peak(questions)?;
        println!("{questions} questions: {peak} MiB");
        assert!(peak <= 300, "{peak} MiB");
    }
    Ok(())
}
