//! The windows stage: questions, paragraphs and a tokenizer → tokens, character ranges, evaluation windows.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use rayon::prelude::*;
use serde::Serialize;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::WindowsTable;
use spanwise_artifact::windows::{LAYOUT_FILE, Layout, NO_ANSWER, WindowArrays};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl};
use spanwise_program as program;
use spanwise_windows::lay::{answer_tokens, evaluation_windows};
use spanwise_windows::tokenize::{self, Tokens, tokenize};
use tokenizers::Tokenizer;

fn main() -> ExitCode {
    program::main(Stage::Windows, run)
}

/// What `counts.json` says of one split.
#[derive(Debug, Default, Serialize)]
struct Counts {
    questions: usize,
    windows: usize,
    questions_cut: usize,
    answers: usize,
    /// Answers that no span of whole tokens equals: what this tokenizer can never answer exactly.
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
            "windows.stride {} is longer than the {room} paragraph tokens beside the longest question and this \
             tokenizer's {specials} special tokens: tokens would be skipped",
            settings.stride
        ))
    );
    let mut counts = BTreeMap::new();
    for split in Split::ALL {
        if let Some(questions) = Questions::read(job.input("data")?, split)? {
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

    let mut arrays = WindowArrays {
        paragraph_offsets: vec![0],
        question_offsets: vec![0],
        ..Default::default()
    };
    let mut counts = Counts {
        questions: questions.len(),
        ..Default::default()
    };
    for (paragraph, tokens) in split.paragraphs.iter().zip(&paragraphs) {
        arrays.paragraph_tokens.extend(&tokens.ids);
        for range in &tokens.ranges {
            arrays.token_starts.push(narrow(range.start)?);
            arrays.token_ends.push(narrow(range.end)?);
        }
        arrays
            .paragraph_offsets
            .push(narrow(arrays.paragraph_tokens.len())?);
        arrays
            .paragraph_characters
            .push(narrow(paragraph.text.chars().count())?);
    }
    for (index, (question, tokens)) in split.questions.iter().zip(&questions).enumerate() {
        let kept = tokens.ids.len().min(settings.max_question_length);
        counts.questions_cut += usize::from(kept < tokens.ids.len());
        arrays.question_tokens.extend(&tokens.ids[..kept]);
        arrays
            .question_offsets
            .push(narrow(arrays.question_tokens.len())?);
        arrays.question_paragraphs.push(narrow(question.paragraph)?);

        let ranges = &paragraphs[question.paragraph].ranges;
        let answer = question
            .answers
            .first()
            .and_then(|answer| answer_tokens(ranges, &answer.range()));
        counts.answers += usize::from(!question.answers.is_empty());
        counts.answers_not_expressible +=
            usize::from(!question.answers.is_empty() && !answer.is_some_and(|answer| answer.exact));
        arrays
            .answer_starts
            .push(answer.map_or(Ok(NO_ANSWER), |answer| narrow(answer.first))?);
        arrays
            .answer_ends
            .push(answer.map_or(Ok(NO_ANSWER), |answer| narrow(answer.last))?);

        for window in evaluation_windows(ranges.len(), layout.room(kept), settings.stride) {
            arrays.window_questions.push(narrow(index)?);
            arrays.window_starts.push(narrow(window.start)?);
            arrays.window_ends.push(narrow(window.end)?);
            counts.windows += 1;
        }
    }
    Ok((arrays, counts))
}

/// Arrays count in 32 bits: 4 billion tokens of one split are beyond this project.
fn narrow(value: usize) -> Result<u32> {
    Ok(u32::try_from(value)?)
}
