//! The windows stage: questions, paragraphs and a tokenizer → token ids, their character ranges and
//! evaluation windows.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use rayon::prelude::*;
use serde::Serialize;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::WindowsTable;
use spanwise_artifact::windows::{LAYOUT_FILE, Layout, WindowArrays};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl};
use spanwise_program as program;
use spanwise_windows::lay::{answer_tokens, evaluation_windows};
use spanwise_windows::tokenize::{self, Tokens, tokenize};
use tokenizers::Tokenizer;

fn main() -> ExitCode {
    program::main(Stage::Windows, run)
}

/// One split in `counts.json`.
#[derive(Debug, Default, Serialize)]
struct Counts {
    questions: usize,
    windows: usize,
    /// Questions that were longer than `max_question_length`.
    questions_cut: usize,
    /// Labelled questions.
    answers: usize,
    /// Labelled questions whose answer no span of whole tokens equals: with this tokenizer they can
    /// never be answered exactly.
    answers_not_expressible: usize,
}

fn run(job: &Job, draft: &mut Draft) -> Result<()> {
    let settings: WindowsTable = job.settings()?;
    let tokenizer = tokenize::open(&job.input("checkpoint")?.join("tokenizer.json"))?;
    let layout = Layout {
        max_length: settings.max_length,
        placement: settings.placement,
        template: tokenize::template(&tokenizer)?,
    };
    let specials = layout.template.specials();
    let room = settings
        .max_length
        .saturating_sub(settings.max_question_length + specials);
    ensure!(
        settings.stride <= room,
        UserError::new(format!(
            "windows.stride = {}: must be at most {room}, the paragraph tokens in a window beside the \
             longest question and this tokenizer's {specials} special tokens: a longer stride skips tokens",
            settings.stride
        ))
    );
    let mut counts = BTreeMap::new();
    for split in Split::ALL {
        if let Some(questions) = Questions::read(job.artifact("data")?, split)? {
            let (arrays, count) = split_windows(&tokenizer, &questions, &settings, &layout)?;
            tracing::info!(
                "{}: {} windows for {} questions; {} of {} answers do not end where tokens do",
                split.name(),
                count.windows,
                count.questions,
                count.answers_not_expressible,
                count.answers,
            );
            arrays.write(draft.path(), split)?;
            counts.insert(split, count);
        }
    }
    jsonl::write_document(&draft.file(LAYOUT_FILE), &layout)?;
    jsonl::write_document(&draft.file("counts.json"), &counts)
}

fn split_windows(
    tokenizer: &Tokenizer,
    split: &Questions,
    settings: &WindowsTable,
    layout: &Layout,
) -> Result<(WindowArrays, Counts)> {
    let paragraphs: Vec<Tokens> = split
        .paragraphs
        .par_iter()
        .map(|paragraph| tokenize(tokenizer, &paragraph.text))
        .collect::<Result<_>>()?;
    let questions: Vec<Tokens> = split
        .questions
        .par_iter()
        .map(|question| tokenize(tokenizer, &question.text))
        .collect::<Result<_>>()?;

    let mut arrays = WindowArrays::default();
    let mut counts = Counts {
        questions: questions.len(),
        ..Default::default()
    };
    for (paragraph, tokens) in split.paragraphs.iter().zip(&paragraphs) {
        let length = paragraph.text.chars().count();
        arrays.push_paragraph(&tokens.ids, &tokens.ranges, length)?;
    }
    for (question, tokens) in split.questions.iter().zip(&questions) {
        let kept = tokens.ids.len().min(settings.max_question_length);
        counts.questions_cut += usize::from(kept < tokens.ids.len());

        let ranges = &paragraphs[question.paragraph].ranges;
        let answer = question
            .answers
            .first()
            .and_then(|answer| answer_tokens(ranges, &answer.range()));
        let exact = answer.as_ref().is_some_and(|answer| answer.exact);
        let labelled = !question.answers.is_empty();
        counts.answers += usize::from(labelled);
        counts.answers_not_expressible += usize::from(labelled && !exact);
        arrays.push_question(
            &tokens.ids[..kept],
            question.paragraph,
            answer.map(|answer| answer.tokens),
        )?;
        for window in evaluation_windows(ranges.len(), layout.room(kept), settings.stride) {
            arrays.push_window(window)?;
            counts.windows += 1;
        }
    }
    Ok((arrays, counts))
}
