//! Asking a trained pipeline about a text: the questions become its test split, and its stages answer as they always do.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Deserialize;
use serde_json::json;
use spanwise_artifact::{Split, UserError, jsonl};

use crate::pipeline_file::{self, Pipeline};
use crate::programs::Programs;
use crate::{FileArguments, pipeline, workspace};

/// Candidates shown of every question.
const SHOWN: usize = 3;

#[derive(Args)]
pub struct Ask {
    #[command(flatten)]
    file: FileArguments,
    /// A text file with the paragraph. Without one, it is read from standard input, up to an empty line
    #[arg(long, value_name = "FILE")]
    paragraph: Option<PathBuf>,
    /// A question, or several of them. Without any, they are read from standard input, one a line
    #[arg(long = "question", value_name = "TEXT")]
    questions: Vec<String>,
}

/// Answers questions about one paragraph.
pub fn run(ask: &Ask) -> Result<()> {
    let pipeline = pipeline_file::read(&ask.file.file, &ask.file.overrides)?;
    let paragraph = match &ask.paragraph {
        Some(file) => fs_err::read_to_string(file)?,
        None => {
            prompt("paragraph, and an empty line behind it:\n")?;
            lines().collect::<Result<Vec<_>>>()?.join("\n")
        }
    };
    let desk = Desk::new(pipeline, paragraph.trim())?;
    if !ask.questions.is_empty() {
        return desk.answer(&ask.questions);
    }
    prompt("questions, one a line:\n")?;
    for question in lines() {
        desk.answer(&[question?])?;
    }
    Ok(())
}

/// Says what is waited for, to people.
fn prompt(text: &str) -> Result<()> {
    if io::stdin().is_terminal() {
        eprint!("{text}");
        io::stderr().flush()?;
    }
    Ok(())
}

/// Lines of standard input, up to an empty one or the end.
fn lines() -> impl Iterator<Item = Result<String>> {
    std::iter::from_fn(|| {
        let mut line = String::new();
        match io::stdin().lock().read_line(&mut line) {
            Ok(_) => Some(line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .map(Ok),
            Err(error) => Some(Err(error.into())),
        }
    })
}

/// A line of `answers.jsonl`, as far as it is read here.
#[derive(Deserialize)]
struct Answered {
    split: Split,
    question: String,
    answer: String,
    candidates: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    text: String,
    score: Option<f32>,
}

/// A pipeline and a paragraph, with a run of its own that goes when it is done.
struct Desk<'a> {
    pipeline: Pipeline,
    programs: Programs,
    paragraph: &'a str,
    /// `runs/<pipeline>/ask`.
    folder: PathBuf,
}

impl<'a> Desk<'a> {
    fn new(mut pipeline: Pipeline, paragraph: &'a str) -> Result<Self> {
        ensure!(
            !paragraph.is_empty(),
            UserError::new("there is no paragraph to ask about")
        );
        pipeline.name = format!("{}/ask", pipeline.name);
        let folder = workspace::output().join("runs").join(&pipeline.name);
        fs_err::create_dir_all(&folder)?;
        let questions = folder.join("questions.json");
        let path = questions.to_str().context("the path is not UTF-8")?;
        pipeline.data.test = vec![path.to_owned()];
        let programs = pipeline::build(&pipeline)?;
        Ok(Self {
            pipeline,
            programs,
            paragraph,
            folder,
        })
    }

    /// Answers questions and prints what it finds.
    fn answer(&self, questions: &[String]) -> Result<()> {
        let question = |(id, text): (usize, &String)| {
            json!({
                "id": id, "paragraph_id": 0, "question_text": text,
                "answer_text": null, "answer_start": null, "answer_end": null,
            })
        };
        let questions: Vec<_> = questions.iter().enumerate().map(question).collect();
        let test = json!({"questions": questions, "paragraphs": [self.paragraph]});
        jsonl::write_document(&self.folder.join("questions.json"), &test)?;
        let answers = pipeline::answer(&self.pipeline, self.programs.clone())?;
        for answered in jsonl::read::<Answered>(&answers.join("answers.jsonl"))? {
            let answered = answered?;
            if answered.split == Split::Test {
                answered.print();
            }
        }
        Ok(())
    }
}

impl Drop for Desk<'_> {
    fn drop(&mut self) {
        // What is left is in nobody's way.
        let _ = fs_err::remove_dir_all(&self.folder);
    }
}

impl Answered {
    fn print(&self) {
        println!("{}", self.question);
        if self.answer.is_empty() {
            println!("  no answer");
        } else {
            println!("  {}", on_a_line(&self.answer));
        }
        let best = self.candidates.first().and_then(|best| best.score);
        for candidate in self.candidates.iter().take(SHOWN).skip(1) {
            if let (Some(best), Some(score)) = (best, candidate.score) {
                let text = on_a_line(&candidate.text);
                println!("  or {text}, {:.2} behind", best - score);
            }
        }
    }
}

/// Paragraphs may have several lines, and answers run across them.
fn on_a_line(text: &str) -> String {
    text.replace('\n', " ")
}
