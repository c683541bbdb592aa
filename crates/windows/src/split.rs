//! One split: its texts, batch after batch, as tokens and windows.

use std::ops::Range;
use std::path::Path;

use anyhow::{Result, ensure};
use rayon::prelude::*;
use spanwise_artifact::error::damaged;
use spanwise_artifact::questions::{Paragraph, Question, Reference};
use spanwise_artifact::settings::WindowsTable;
use spanwise_artifact::windows::{Layout, Target, WindowCounts, WindowWriter};
use spanwise_artifact::{Split, jsonl};
use tokenizers::Tokenizer;

use crate::lay::{AnswerTokens, answer_tokens, evaluation_windows};
use crate::tokenize::{Tokens, tokenize, unknown_id};

/// Longest texts that are tokenized at once, in bytes: enough for all cores, whatever the length of
/// one text.
const BATCH: usize = 1 << 19;

/// Writes the tokens and windows of a split of the data artifact `data` into `directory`. Returns
/// what was lost; `None` where the artifact does not have the split.
///
/// A batch of texts is in memory at a time.
///
/// # Errors
/// Fails if a text cannot be tokenized, or if a file cannot be read or written.
pub fn write(
    tokenizer: &Tokenizer,
    data: &Path,
    split: Split,
    settings: &WindowsTable,
    layout: &Layout,
    directory: &Path,
) -> Result<Option<WindowCounts>> {
    let questions = data.join(split.questions_file());
    if !questions.exists() {
        return Ok(None);
    }
    let paragraphs = data.join(split.paragraphs_file());
    let mut writer = SplitWriter {
        settings,
        layout,
        unknown: unknown_id(tokenizer),
        windows: WindowWriter::create(directory, split)?,
        counts: WindowCounts::default(),
        last: None,
    };
    tokenize_all(
        tokenizer,
        jsonl::read(&paragraphs)?,
        |paragraph: &Paragraph| &paragraph.text,
        |paragraph, tokens| writer.paragraph(&paragraph, &tokens),
    )?;
    tokenize_all(
        tokenizer,
        jsonl::read(&questions)?,
        |question: &Question| &question.text,
        |question, tokens| {
            let (index, paragraphs) = (question.paragraph, writer.counts.paragraphs);
            let missing = || format!("a question is about paragraph {index} of {paragraphs}");
            ensure!(index < paragraphs, damaged(&questions, &missing()));
            writer.question(&question, &tokens)
        },
    )?;
    writer.windows.finish()?;
    Ok(Some(writer.counts))
}

/// Hands each record with the tokens of its text to `sink`, in order.
fn tokenize_all<T: Sync>(
    tokenizer: &Tokenizer,
    mut records: impl Iterator<Item = Result<T>>,
    text: impl Fn(&T) -> &str + Sync,
    mut sink: impl FnMut(T, Tokens) -> Result<()>,
) -> Result<()> {
    let mut batch = Vec::new();
    loop {
        let mut bytes = 0;
        while bytes < BATCH
            && let Some(record) = records.next()
        {
            let record = record?;
            bytes += text(&record).len() + size_of::<T>();
            batch.push(record);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let tokens = batch
            .par_iter()
            .map(|record| tokenize(tokenizer, text(record)))
            .collect::<Result<Vec<Tokens>>>()?;
        for (record, tokens) in batch.drain(..).zip(tokens) {
            sink(record, tokens)?;
        }
    }
}

/// Writes a split and counts what is lost.
struct SplitWriter<'a> {
    settings: &'a WindowsTable,
    layout: &'a Layout,
    /// The token of what the vocabulary lacks.
    unknown: Option<u32>,
    windows: WindowWriter,
    counts: WindowCounts,
    /// The paragraph of the last question and the characters of its tokens.
    last: Option<(usize, Vec<Range<usize>>)>,
}

impl SplitWriter<'_> {
    fn paragraph(&mut self, paragraph: &Paragraph, tokens: &Tokens) -> Result<()> {
        let length = paragraph.text.chars().count();
        let known = tokens.ids.iter().filter(|id| Some(**id) != self.unknown);
        let unknown = tokens.ids.len() - known.count();
        let nothing = unknown == tokens.ids.len() && !paragraph.text.trim().is_empty();
        self.counts.paragraphs += 1;
        self.counts.paragraphs_with_unknown_tokens += usize::from(unknown > 0);
        self.counts.paragraphs_unknown += usize::from(nothing);
        self.counts.tokens += tokens.ids.len();
        self.counts.unknown_tokens += unknown;
        self.windows
            .push_paragraph(&tokens.ids, &tokens.ranges, length)
    }

    fn question(&mut self, question: &Question, tokens: &Tokens) -> Result<()> {
        let kept = tokens.ids.len().min(self.settings.max_question_length);
        let room = self.layout.room(kept);
        let ranges = match self.last.take() {
            Some((last, ranges)) if last == question.paragraph => ranges,
            _ => self.windows.token_ranges(question.paragraph)?,
        };
        self.counts.questions += 1;
        self.counts.questions_cut += usize::from(kept < tokens.ids.len());
        let answers = question.answers().iter();
        let covering: Vec<_> = answers
            .map(|answer| answer_tokens(&ranges, &answer.range()))
            .collect();
        self.count_answers(&covering, room);
        let ids = &tokens.ids[..kept];
        let target = target(&question.reference, &ranges);
        self.windows
            .push_question(ids, question.paragraph, &target)?;
        for window in evaluation_windows(ranges.len(), room, self.settings.stride) {
            self.windows.push_window(window)?;
            self.counts.windows += 1;
        }
        self.last = Some((question.paragraph, ranges));
        Ok(())
    }

    /// Counts what is lost of a question's reference answers, each as the tokens that cover it.
    fn count_answers(&mut self, answers: &[Option<AnswerTokens>], room: usize) {
        let Some(first) = answers.first() else {
            return;
        };
        let counts = &mut self.counts;
        let is_exact = first.as_ref().is_some_and(|answer| answer.exact);
        let lengths = answers.iter().flatten().map(|answer| answer.tokens.len());
        let shortest = lengths.min();
        counts.answers += 1;
        counts.answers_not_expressible += usize::from(!is_exact);
        counts.answers_without_tokens += usize::from(shortest.is_none());
        counts.answers_longer_than_window += usize::from(shortest.is_some_and(|one| one > room));
    }
}

/// Returns what is to be learned of a question, in tokens with these characters.
fn target(reference: &Reference, ranges: &[Range<usize>]) -> Target {
    let answers = match reference {
        Reference::Unknown => return Target::None,
        Reference::Unanswerable => return Target::Unanswerable,
        Reference::Spans(answers) => answers,
    };
    let spans = answers
        .iter()
        .filter_map(|answer| answer_tokens(ranges, &answer.range()));
    let spans: Vec<Range<usize>> = spans.map(|covering| covering.tokens).collect();
    if spans.is_empty() {
        Target::None
    } else {
        Target::Spans(spans)
    }
}
