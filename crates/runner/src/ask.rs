//! Asks a trained pipeline about a text: the questions become its test split, and its stages answer
//! as they always do.

use std::io::{BufRead, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use spanwise_artifact::answers::{self, AnswerRecord, Candidate};
use spanwise_artifact::questions::{Paragraph, Question, Questions};
use spanwise_artifact::settings::EnsembleMethod;
use spanwise_artifact::{Reference, Split, Stage, UserError};
use spanwise_data::input::InputFile;

use crate::pipeline_file::Pipeline;
use crate::run::{self, Execute};
use crate::session::Session;

/// Candidates shown of every question, the answer included.
const SHOWN: usize = 3;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// A text file with the paragraph; without one, it is read from the input, up to an empty line.
    pub paragraph: Option<PathBuf>,
    /// Without any, they are read from the input, one a line.
    pub questions: Vec<String>,
}

/// Where a session reads and writes.
pub struct Terminal<'a> {
    /// The paragraph and the questions, as far as [`Ask`] lacks them.
    pub input: &'a mut dyn BufRead,
    /// What is waited for.
    pub prompts: &'a mut dyn Write,
    /// Questions with their answers.
    pub results: &'a mut dyn Write,
}

/// Answers questions about one paragraph with the models below `output`.
pub fn run(
    output: &Path,
    pipeline: Pipeline,
    ask: &Ask,
    stages: &mut dyn Execute,
    terminal: Terminal,
) -> Result<()> {
    let Terminal {
        input,
        prompts,
        results,
    } = terminal;
    let paragraph = if let Some(file) = &ask.paragraph {
        let file = InputFile::new(&file.display().to_string(), file.clone())?;
        let mut text = String::new();
        let read = file.open()?.read_to_string(&mut text);
        read.map_err(|error| UserError::new(format!("--paragraph: {}: {error}", file.shown())))?;
        text
    } else {
        prompt(prompts, "paragraph, and an empty line behind it:\n")?;
        lines(input).collect::<Result<Vec<_>>>()?.join("\n")
    };
    let asking = Asking::new(output, pipeline, paragraph.trim())?;
    // Before the first question is waited for.
    let answering = Stage::ALL.into_iter();
    let answering = answering.filter(|&stage| !run::makes_a_model(stage));
    stages.prepare(&answering.collect::<Vec<_>>(), asking.pipeline.device)?;
    if !ask.questions.is_empty() {
        return asking.answer(&ask.questions, stages, results);
    }
    prompt(prompts, "questions, one a line:\n")?;
    let mut asked = 0;
    for question in lines(input) {
        asking.answer(&[question?], stages, results)?;
        asked += 1;
    }
    ensure!(
        asked > 0,
        UserError::new("there is no question")
            .hint("an empty line ends the paragraph; questions follow it, one a line")
    );
    Ok(())
}

fn prompt(prompts: &mut dyn Write, text: &str) -> Result<()> {
    prompts.write_all(text.as_bytes())?;
    prompts.flush()?;
    Ok(())
}

/// Lines up to an empty one or the end.
fn lines(input: &mut dyn BufRead) -> impl Iterator<Item = Result<String>> {
    std::iter::from_fn(|| {
        let mut line = String::new();
        match input.read_line(&mut line) {
            Ok(_) => Some(line.trim().to_owned())
                .filter(|line| !line.is_empty())
                .map(Ok),
            Err(error) if error.kind() == ErrorKind::InvalidData => {
                let error = UserError::new("standard input is not UTF-8");
                Some(Err(error.hint("save the text as UTF-8").into()))
            }
            Err(error) => Some(Err(error.into())),
        }
    })
}

/// A pipeline and a paragraph, with a run of its own that is removed at the end.
struct Asking<'a> {
    /// The folder of `artifacts` and `runs`.
    output: &'a Path,
    pipeline: Pipeline,
    paragraph: &'a str,
    /// Below `runs/<pipeline>`.
    session: Session,
}

impl<'a> Asking<'a> {
    fn new(output: &'a Path, mut pipeline: Pipeline, paragraph: &'a str) -> Result<Self> {
        ensure!(
            !paragraph.is_empty(),
            UserError::new("there is no paragraph to ask about")
        );
        let runs = output.join("runs");
        let session = Session::begin(&runs.join(&pipeline.name))?;
        pipeline.name = session.name(&runs)?;
        let test = session.folder().join(Split::Test.questions_file());
        let test = test.to_str().context("the path is not UTF-8")?;
        pipeline.data.test = vec![test.to_owned()];
        Ok(Self {
            output,
            pipeline,
            paragraph,
            session,
        })
    }

    /// Answers questions and prints the answers.
    fn answer(
        &self,
        questions: &[String],
        stages: &mut dyn Execute,
        results: &mut dyn Write,
    ) -> Result<()> {
        ensure!(
            questions.iter().all(|question| !question.trim().is_empty()),
            UserError::new("a question is empty")
        );
        let question = |(index, text): (usize, &String)| Question {
            id: index.to_string(),
            paragraph: 0,
            text: text.clone(),
            reference: Reference::Unknown,
        };
        let test = Questions {
            paragraphs: vec![Paragraph {
                text: self.paragraph.to_owned(),
                article: None,
            }],
            questions: questions.iter().enumerate().map(question).collect(),
        };
        test.write(self.session.folder(), Split::Test)?;
        let answers = run::answer(self.output, &self.pipeline, stages)?;
        let Pipeline {
            members,
            folds,
            student,
            ..
        } = &self.pipeline;
        // One model has nobody to vote with, and a student answers alone.
        let several = (members.len() > 1 || folds.is_some()) && student.is_none();
        let by_votes = several && self.pipeline.ensemble.method == EnsembleMethod::Vote;
        for record in answers::read(&answers)? {
            let record = record?;
            if record.split == Split::Test {
                write(&record, by_votes, results)?;
            }
        }
        results.flush()?;
        Ok(())
    }
}

/// Prints a question's answer and what else was near. `by_votes`: whether spans rank by votes.
fn write(record: &AnswerRecord, by_votes: bool, results: &mut dyn Write) -> Result<()> {
    writeln!(results, "{}", record.question)?;
    let probability = record.probability.map(|p| format!(", probability {p:.2}"));
    let probability = probability.unwrap_or_default();
    let answer = if record.answer.is_empty() {
        "no answer".to_owned()
    } else {
        on_a_line(&record.answer)
    };
    writeln!(results, "  {answer}{probability}")?;
    let others = usize::from(!is_unanswered(record));
    for candidate in record.candidates.iter().take(SHOWN).skip(others) {
        let distance = match behind(record, candidate, by_votes) {
            Some(behind) if behind < 0.0 => format!(", {:.2} ahead", -behind),
            Some(behind) => format!(", {behind:.2} behind"),
            None if candidate.score.is_some() => String::new(),
            None => continue,
        };
        writeln!(results, "  or {}{distance}", on_a_line(&candidate.text))?;
    }
    Ok(())
}

/// Whether no answer was preferred to the best span.
fn is_unanswered(record: &AnswerRecord) -> bool {
    record.answer.is_empty() && record.null_score_diff.is_some()
}

/// How much lower a candidate scores than what was answered, in logits, or votes where those rank
/// spans. Below 0 where a threshold prefers no answer to a span that scores higher. `None` between
/// votes and no answer, which is not voted for, and for a candidate that no score supports.
fn behind(record: &AnswerRecord, candidate: &Candidate, by_votes: bool) -> Option<f32> {
    let behind_best = record.candidates.first()?.score? - candidate.score?;
    if !is_unanswered(record) {
        return Some(behind_best);
    }
    let ahead_of_best = record.null_score_diff.filter(|_| !by_votes)?;
    Some(ahead_of_best + behind_best)
}

/// Paragraphs may have several lines, and answers run across them.
fn on_a_line(text: &str) -> String {
    text.replace('\n', " ")
}
