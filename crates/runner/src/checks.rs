//! What can be known to fail before anything is trained.

use anyhow::{Result, ensure};
use rustix::fs::statvfs;
use spanwise_artifact::questions::QuestionCounts;
use spanwise_artifact::{Split, Stage, UserError};
use spanwise_config::EncoderConfig;

use crate::plan::graph::{Node, Source};
use crate::run::Run;

/// A model has f32 weights, where its checkpoint may have half of that. Without room to save a
/// training it still ends.
const COPIES: u64 = 2;

/// What does not fit the questions, once they are read.
pub(crate) fn data(run: &Run) -> Result<Vec<String>> {
    let pipeline = run.pipeline;
    let mut problems = Vec::new();
    let Some(data) = run.of_stage(Stage::Data).next() else {
        return Ok(problems);
    };
    let is_fitted = pipeline.members.len() > 1 && pipeline.ensemble.method.is_fitted();
    let counts = QuestionCounts::read(data)?;
    let answered = counts.get(&Split::Dev).map_or(0, |dev| dev.answered);
    if is_fitted && answered == 0 && pipeline.folds.is_none() {
        problems.push(format!(
            "{}: ensemble.method is fitted on dev, and no dev question has an answer",
            pipeline.file
        ));
    }
    Ok(problems)
}

/// What does not fit the checkpoints of all models, once they are there.
pub(crate) fn checkpoints(run: &Run) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for (model, node) in run.graph.checkpoints() {
        let Some(checkpoint) = &run.artifacts[node] else {
            continue;
        };
        let config = EncoderConfig::read(&checkpoint.join("config.json"))?;
        if let Err(refused) = config.check_window(model.windows.max_length) {
            let label = &run.graph.nodes()[node].label;
            problems.push(format!("{label}: {refused}"));
        }
    }
    Ok(problems)
}

/// Refuses a training that the disk has no room for. `node` reads the checkpoint that it starts from.
pub(crate) fn disk(run: &Run, node: &Node) -> Result<()> {
    let start = node.reads.iter().find(|read| read.role == "checkpoint");
    let Some(Source::Node(start)) = start.map(|read| &read.source) else {
        return Ok(());
    };
    let Some(start) = &run.artifacts[*start] else {
        return Ok(());
    };
    let weights = fs_err::metadata(start.join("model.safetensors"));
    let needed = COPIES * weights.map_or(0, |weights| weights.len());
    // A file system that does not say has room.
    let Ok(disk) = statvfs(start) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    ensure!(
        free >= needed,
        UserError::new(format!(
            "{} needs {:.1} GB of disk, and {:.1} GB are free",
            node.label,
            needed as f64 / 1e9,
            free as f64 / 1e9
        ))
        .hint("make room: cargo xtask gc removes what no run needs")
    );
    Ok(())
}
