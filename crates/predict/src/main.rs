//! The predict stage: windows and a trained model → start and end scores of every paragraph character.

use std::process::ExitCode;

use anyhow::{Context, Result};
use spanwise_artifact::scores::ScoreWriter;
use spanwise_artifact::settings::{Precision, PredictJob};
use spanwise_artifact::windows::WindowFile;
use spanwise_artifact::{Draft, Job, Stage};
use spanwise_model::EncoderConfig;
use spanwise_model::SpanModel;
use spanwise_model::score::Scorer;
use spanwise_model::{job, weights};
use spanwise_program as program;
use spanwise_program::progress::Progress;

fn main() -> ExitCode {
    program::main(Stage::Predict, predict)
}

fn predict(job: &Job, draft: &mut Draft) -> Result<()> {
    let PredictJob {
        table: settings,
        splits,
    } = job.settings()?;
    let device = job::open_device(job)?;
    let directory = job.input("train")?;
    let layout = job::read_layout(job, &EncoderConfig::read(&directory.join("config.json"))?)?;
    let (model, missing) = weights::load::<SpanModel>(directory, &device)?;
    anyhow::ensure!(missing.is_empty(), "the trained model has no span head");
    let scorer = Scorer {
        model: &model,
        device: &device,
        layout: &layout,
        precision: job::precision(settings.precision.unwrap_or(Precision::Fp32), &device),
        tokens_per_pass: settings.batch_size * layout.max_length,
    };
    for split in splits {
        let Some(file) = WindowFile::open(job.input("windows")?, split)? else {
            continue;
        };
        tracing::info!(
            "{}: {} questions, {} windows",
            split.name(),
            file.questions(),
            file.windows()
        );
        let lengths = (0..file.questions())
            .map(|question| file.paragraph_characters(question))
            .collect();
        let mut writer = ScoreWriter::create(draft.path(), split, lengths)?;
        let mut progress = Progress::new(split.name(), file.windows());
        scorer.score(&file, file.evaluation_windows(), |_, scores, windows| {
            progress.advance(windows);
            writer.push(scores.view())
        })?;
        writer
            .finish()
            .with_context(|| format!("finish the {} scores", split.name()))?;
    }
    Ok(())
}
