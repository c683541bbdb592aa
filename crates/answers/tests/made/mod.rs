//! Made artifacts of any number of questions, and the memory that a stage takes for them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use spanwise_artifact::lines::LineWriter;
use spanwise_artifact::scores::{ScoreWriter, Scores};
use spanwise_artifact::{Answer, Paragraph, Question, Split};

/// Characters of a paragraph.
const CHARACTERS: usize = 60;

/// Questions about a paragraph.
const QUESTIONS: usize = 4;

/// Numbers in no order: splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }

    fn score(&mut self) -> f32 {
        self.below(1100) as f32 / 100.0 - 9.0
    }
}

/// Where the answer to a question is: first character and length.
fn answer(question: usize) -> (usize, usize) {
    let mut random = Random(question as u64);
    let length = 1 + random.below(12);
    (random.below(CHARACTERS - length), length)
}

/// Writes a data artifact with one split.
pub(crate) fn data(directory: &Path, split: Split, questions: usize, labelled: bool) -> Result<()> {
    fs_err::create_dir_all(directory)?;
    let mut paragraphs = LineWriter::create(&directory.join(split.paragraphs_file()))?;
    let mut lines = LineWriter::create(&directory.join(split.questions_file()))?;
    let mut text = Vec::new();
    for index in 0..questions {
        if index % QUESTIONS == 0 {
            let mut random = Random(index as u64);
            text = (0..CHARACTERS)
                .map(|_| char::from_u32(0x4e00 + random.below(20_000) as u32).unwrap_or('一'))
                .collect();
            paragraphs.push(&Paragraph {
                text: text.iter().collect(),
                article: None,
            })?;
        }
        let (start, length) = answer(index);
        let answer = Answer {
            text: text[start..start + length].iter().collect(),
            start,
        };
        lines.push(&Question {
            id: format!("question-{index}"),
            paragraph: index / QUESTIONS,
            text: text[..12].iter().collect::<String>() + "是什麼?",
            answers: if labelled { vec![answer] } else { Vec::new() },
        })?;
    }
    paragraphs.finish()?;
    lines.finish()
}

/// Writes a prediction artifact with one split: scores in no order, of which those of the answer are
/// mostly the best.
pub(crate) fn prediction(
    directory: &Path,
    split: Split,
    questions: usize,
    seed: u64,
) -> Result<()> {
    fs_err::create_dir_all(directory)?;
    let mut writer = ScoreWriter::create(directory, split, vec![CHARACTERS; questions])?;
    let mut random = Random(seed);
    for index in 0..questions {
        let mut column = || (0..CHARACTERS).map(|_| random.score()).collect();
        let (mut start, mut end): (Vec<f32>, Vec<f32>) = (column(), column());
        let (first, length) = answer(index);
        start[first] = 1.0 + random.below(20) as f32 / 10.0;
        end[first + length - 1] = 1.0 + random.below(20) as f32 / 10.0;
        // Characters in the middle of a token.
        for index in 0..5 {
            let character = random.below(CHARACTERS);
            if character != first && character != first + length - 1 {
                [&mut start, &mut end][index % 2][character] = f32::NEG_INFINITY;
            }
        }
        writer.push(Scores { start, end }.view())?;
    }
    writer.finish()
}

/// A run of a stage.
#[derive(Debug)]
pub(crate) struct Run {
    /// What it wrote.
    pub(crate) output: PathBuf,
    /// Its largest resident set, with what is mapped, in bytes.
    pub(crate) peak: u64,
    /// The largest part of it that is no file's.
    pub(crate) anonymous: u64,
    /// How long it took.
    pub(crate) time: Duration,
}

impl Run {
    /// Prints the figures of a run over this many questions.
    pub(crate) fn print(&self, what: &str, questions: usize) {
        println!(
            "{what}, {questions} questions: {:.0} MB at most, {:.0} MB of it anonymous; {:.1} s, {:.1} µs a question",
            self.peak as f64 / 1e6,
            self.anonymous as f64 / 1e6,
            self.time.as_secs_f64(),
            self.time.as_secs_f64() * 1e6 / questions as f64,
        );
    }
}

/// Runs a stage program in `directory` to its end. `inputs`: by role, the name of each in the
/// directory.
pub(crate) fn run(
    program: &str,
    directory: &Path,
    stage: &str,
    settings: &Value,
    inputs: &[(&str, &str)],
) -> Result<Run> {
    let output = directory.join("artifacts").join(stage);
    let inputs = inputs
        .iter()
        .map(|(role, name)| ((*role).to_owned(), json!({"path": directory.join(name)})));
    let job = json!({
        "stage": stage,
        "settings": settings,
        "inputs": inputs.collect::<serde_json::Map<_, _>>(),
        "output": output,
    });
    let path = directory.join("job.json");
    fs_err::write(&path, job.to_string())?;
    let began = Instant::now();
    let mut child = Command::new(program)
        .arg("--job")
        .arg(&path)
        .stderr(Stdio::inherit())
        .spawn()?;
    let (mut peak, mut anonymous) = (0, 0);
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        let status = fs_err::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let bytes = |key: &str| -> u64 {
            let value = status.lines().find_map(|line| line.strip_prefix(key));
            let kibibytes = value.and_then(|value| value.split_whitespace().next()?.parse().ok());
            kibibytes.unwrap_or(0) * 1024
        };
        peak = peak.max(bytes("VmHWM:"));
        anonymous = anonymous.max(bytes("RssAnon:"));
        std::thread::sleep(Duration::from_millis(2));
    };
    ensure!(status.success(), "{program} ended with {status}");
    Ok(Run {
        output,
        peak,
        anonymous,
        time: began.elapsed(),
    })
}

/// Number of questions of the long form of a test: `SPANWISE_QUESTIONS`, or a million.
pub(crate) fn many() -> usize {
    let number = std::env::var("SPANWISE_QUESTIONS").ok();
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or(1_000_000)
}
