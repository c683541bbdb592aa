//! The predict stage: windows and a trained model → start and end scores of every paragraph
//! character, and of no answer.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use spanwise_artifact::scores::ScoreWriter;
use spanwise_artifact::settings::{Precision, PredictJob};
use spanwise_artifact::windows::WindowFile;
use spanwise_artifact::{Draft, Job, Split, Stage};
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
    let device = job::open_device(job, draft)?;
    let directory = job.input("train")?;
    let config = EncoderConfig::read(&directory.join("config.json"))?;
    let layout = job::read_layout(job, &config)?;
    let (model, missing) = weights::load::<SpanModel>(directory, &device)?;
    ensure!(missing.is_empty(), "the trained model has no span head");
    let precision = settings.precision.unwrap_or(Precision::Fp32);
    let scorer = Scorer {
        model: &model,
        device: &device,
        layout: &layout,
        precision: job::precision(precision, &device, draft),
        tokens_per_pass: settings.batch_size * layout.max_length,
    };
    for split in splits {
        if let Some(file) = job::open_windows(job, split, &config)? {
            score(&scorer, &file, split, draft)
                .with_context(|| format!("score the {} split", split.name()))?;
        }
    }
    Ok(())
}

/// Scores a split one question at a time, holding the scores of none.
fn score(scorer: &Scorer, file: &WindowFile, split: Split, draft: &Draft) -> Result<()> {
    let (questions, windows) = (file.questions(), file.windows());
    let name = split.name();
    tracing::info!("{name}: {questions} questions, {windows} windows");
    let lengths = (0..questions).map(|question| file.paragraph_characters(question));
    let mut writer = ScoreWriter::create(draft.path(), split, lengths.collect())?;
    let mut progress = Progress::new(name, windows);
    scorer.score(file, file.evaluation_windows(), |scored| {
        progress.advance(scored.new_windows);
        writer.push(scored.scores.view(), scored.whole)
    })?;
    writer.finish()
}
