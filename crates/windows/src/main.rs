//! The windows stage: questions, paragraphs and a tokenizer → token ids, their character ranges and
//! evaluation windows.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use spanwise_artifact::settings::WindowsTable;
use spanwise_artifact::windows::{LAYOUT_FILE, Layout, WindowCounts};
use spanwise_artifact::{Draft, Job, Split, Stage, UserError, jsonl};
use spanwise_program as program;
use spanwise_windows::{losses, split, tokenize};

fn main() -> ExitCode {
    program::main(Stage::Windows, run)
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
    let mut counts: BTreeMap<Split, WindowCounts> = BTreeMap::new();
    let data = job.input("data")?;
    for split in Split::ALL {
        let found = split::write(&tokenizer, data, split, &settings, &layout, draft.path())?;
        if let Some(found) = found {
            tracing::info!(
                "{}: {} windows for {} questions",
                split.name(),
                found.windows,
                found.questions
            );
            losses::say(split, &found, &settings);
            counts.insert(split, found);
        }
    }
    jsonl::write_document(&draft.file(LAYOUT_FILE), &layout)?;
    WindowCounts::write(draft.path(), &counts)
}
