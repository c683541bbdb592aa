//! A few lines for the terminal.

use std::io::Write;

use anyhow::Result;
use spanwise_artifact::questions::QuestionCounts;
use spanwise_data::input::shown;

use super::lengths::Distribution;
use super::measure::{SplitNumbers, TextLengths};
use super::shared::Shared;
use super::tokens::TokenNumbers;
use super::{NUMBERS_FILE, PAGE_FILE, Report};

/// Files that are named of a split.
const FILES: usize = 5;

/// Prints the summary of a report, whose files are in `folder`.
pub(super) fn print(report: &Report, folder: &str, out: &mut dyn Write) -> Result<()> {
    for split in &report.splits {
        let lines = of_split(split);
        for (index, line) in lines.iter().enumerate() {
            let name = if index == 0 { split.name } else { "" };
            writeln!(out, "{name:<12} {line}")?;
        }
    }
    for both in report.shared.iter().filter(|both| !both.is_nothing()) {
        let (first, second) = (both.first, both.second);
        let about = both.questions_about_paragraphs;
        writeln!(
            out,
            "{:<12} {first} and {second}: {} and {}, which {} of {second} {} about",
            "shared",
            count(both.questions, "question"),
            count(both.paragraphs, "paragraph"),
            count(about, "question"),
            if about == 1 { "is" } else { "are" },
        )?;
        for [one, other] in both.files.iter().take(FILES) {
            writeln!(out, "{:<12} {one} and {other} are the same file", "")?;
        }
    }
    if report.splits.len() > 1 && report.shared.iter().all(Shared::is_nothing) {
        let nothing = "nothing: no question, paragraph or file is in two splits";
        writeln!(out, "{:<12} {nothing}", "shared")?;
    }
    match &report.tokenizer {
        Some(tokenizer) => {
            let of = match tokenizer.models {
                1 => String::new(),
                models => format!(", the first of {models} models"),
            };
            let windows = tokenizer.windows.max_length;
            let source = shown(&tokenizer.checkpoint);
            writeln!(
                out,
                "{:<12} {source}{of}; windows of {windows}",
                "tokens of"
            )?;
        }
        None => writeln!(
            out,
            "{:<12} of no checkpoint: --checkpoint SOURCE shows texts in its tokens",
            "tokens"
        )?,
    }
    writeln!(out, "{:<12} {folder}/{PAGE_FILE}", "page")?;
    writeln!(out, "{:<12} {folder}/{NUMBERS_FILE}: every number", "more")?;
    Ok(())
}

fn of_split(split: &SplitNumbers) -> Vec<String> {
    let SplitNumbers {
        files,
        counts,
        characters,
        tokens,
        ..
    } = split;
    let QuestionCounts {
        questions,
        paragraphs,
        answered,
        unanswerable,
        unlabelled,
        ..
    } = *counts;
    let share = split.answerable_share.map_or_else(String::new, |share| {
        format!("; {:.1} % answerable", 100.0 * share)
    });
    let mut lines = vec![format!(
        "{} about {}: {answered} answered, {unanswerable} unanswerable, {unlabelled} unlabelled{share}",
        count(questions, "question"),
        count(paragraphs, "paragraph"),
    )];
    for file in files.iter().take(FILES) {
        lines.push(format!("{}: {}", shown(&file.file), file.layout));
    }
    if let more @ 1.. = files.len().saturating_sub(FILES) {
        lines.push(format!("and {}", count(more, "more file")));
    }
    lines.push(of_lengths("characters", characters));
    if let Some(tokens) = tokens {
        lines.push(of_lengths("tokens", &tokens.lengths));
        if let Some(windows) = &tokens.windows_per_question.figures {
            lines.push(format!(
                "windows: {:.2} a question, at most {}",
                windows.mean, windows.maximum
            ));
        }
    }
    let lost = lost(split, tokens.as_ref());
    if !lost.is_empty() {
        lines.push(format!("note: {}", lost.join(", ")));
    }
    lines
}

fn of_lengths(unit: &str, lengths: &TextLengths) -> String {
    let of = |name: &str, lengths: &Distribution| {
        let figures = lengths.figures?;
        Some(format!(
            "{name} {} (at most {})",
            figures.median, figures.maximum
        ))
    };
    let TextLengths {
        paragraphs,
        questions,
        answers,
    } = lengths;
    let shown = [
        of("paragraphs", paragraphs),
        of("questions", questions),
        of("answers", answers),
    ];
    let shown: Vec<String> = shown.into_iter().flatten().collect();
    format!("{unit} in the median: {}", shown.join(", "))
}

/// What of a split is lost, or there twice.
fn lost(split: &SplitNumbers, tokens: Option<&TokenNumbers>) -> Vec<String> {
    let mut lost = vec![
        (split.counts.rejected, "record", "left out"),
        (split.counts.labels_left_out, "wrong label", "left out"),
        (split.repeated_questions, "question", "repeated"),
    ];
    if let Some(tokens) = tokens {
        lost.extend([
            (tokens.counts.questions_cut, "question", "cut"),
            (
                tokens.counts.answers_not_expressible,
                "answer",
                "that no tokens spell",
            ),
            (
                tokens.counts.answers_longer_than_window,
                "answer",
                "longer than a window",
            ),
            (
                tokens.counts.answers_without_tokens,
                "answer",
                "without a token",
            ),
            (
                tokens.paragraphs_mostly_unknown,
                "paragraph",
                "mostly unknown to the vocabulary",
            ),
        ]);
    }
    let lost = lost.into_iter().filter(|&(number, ..)| number > 0);
    lost.map(|(number, what, so)| format!("{} {so}", count(number, what)))
        .collect()
}

/// A number of things.
fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
