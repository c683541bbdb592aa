//! What can be known to fail before anything is trained.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use rustix::fs::statvfs;
use safetensors::tensor::Metadata;
use spanwise_artifact::questions::QuestionCounts;
use spanwise_artifact::{Found, Manifest, Split, Stage, UserError, columns};
use spanwise_config::EncoderConfig;

use crate::plan::freshness::Store;
use crate::plan::graph::{Graph, Node, Source};
use crate::run::{Run, trains};

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
    if answered > 0 || pipeline.folds.is_some() {
        return Ok(problems);
    }
    let mut refuse = |what: &str| {
        let file = &pipeline.file;
        problems.push(format!("{file}: {what}, and no dev question has an answer"));
    };
    if is_fitted {
        refuse("ensemble.method is fitted on dev");
    }
    if pipeline.models().any(|model| model.train.chooses_on_dev()) {
        refuse("train.load_best_model_at_end chooses a model on dev");
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

/// Which checkpoints have no question-answering head, of those that are to answer as they are.
pub(crate) fn heads(run: &Run) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for node in untrained(run) {
        let Some(checkpoint) = &run.artifacts[node] else {
            continue;
        };
        let config = EncoderConfig::read(&checkpoint.join("config.json"))?;
        let weights = columns::map(&checkpoint.join("model.safetensors"))?;
        let Some(header) = header(&weights) else {
            continue; // the train stage says why
        };
        let tensors = header.tensors();
        let names = config.span_head_tensors().into_iter();
        let names = names.map(|tensor| tensor.name);
        let missing: Vec<String> = names.filter(|name| !tensors.contains_key(name)).collect();
        if let Err(refused) = EncoderConfig::refuse_headless(&missing) {
            let label = &run.graph.nodes()[node].label;
            problems.push(format!("{label}: {refused}"));
        }
    }
    Ok(problems)
}

/// The nodes of the checkpoints that are to answer as they are.
pub(crate) fn untrained(run: &Run) -> Vec<usize> {
    let checkpoints = run.graph.checkpoints();
    let untrained = checkpoints.filter(|(model, _)| !model.train.learns());
    untrained.map(|(_, node)| node).collect()
}

/// Refuses a kept model, node `index`, whose tokenizer is not the one that its windows are made
/// with: it would read other tokens than it has learned.
pub(crate) fn kept_model(run: &Run, index: usize, model: &Path) -> Result<()> {
    let tokenizer = |artifact: &Path| -> Result<Option<String>> {
        let manifest = Manifest::read(artifact)?;
        let file = manifest.and_then(|manifest| manifest.files.get("tokenizer.json").cloned());
        Ok(file.map(|file| file.digest))
    };
    let node = &run.graph.nodes()[index];
    let start = first_checkpoint(&run.graph, node);
    let Some(checkpoint) = start.and_then(|start| run.artifacts[start].as_deref()) else {
        return Ok(());
    };
    ensure!(
        tokenizer(model)? == tokenizer(checkpoint)?,
        UserError::new(format!(
            "--keep {}: the model was trained with another tokenizer than that of {}",
            node.stage, run.pipeline.file
        ))
        .hint("train it again, or name its own checkpoint")
    );
    Ok(())
}

/// Refuses to begin a training, node `index`, where the disk has no room for all models that are
/// still to be trained.
pub(crate) fn disk(run: &Run, index: usize) -> Result<()> {
    let graph = whole_graph(run);
    let mut artifacts = run.artifacts.clone();
    artifacts.resize(graph.nodes().len(), None);
    let mut outputs = BTreeSet::new();
    let (mut models, mut needed) = (0, 0_u64);
    for (later, node) in graph.nodes().iter().enumerate().skip(index) {
        let ready = run.store.ready(&graph, later, &artifacts)?;
        let output = ready.map(|ready| ready.output);
        if let Some(output) = &output
            && later > index
            && matches!(Store::find(output), Found::Whole(_))
        {
            artifacts[later] = Some(output.clone());
            continue;
        }
        // Members may share what comes before their training.
        let is_shared = output.is_some_and(|output| !outputs.insert(output));
        if trains(node.stage) && !is_shared {
            models += 1;
            needed = model_bytes(&graph, node, &artifacts)?.saturating_add(needed);
        }
    }
    // A file system that does not say has room.
    let Ok(disk) = statvfs(run.store.artifacts()) else {
        return Ok(());
    };
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let models = match models {
        1 => "the model to be trained needs".to_owned(),
        models => format!("the {models} models to be trained need"),
    };
    ensure!(
        free >= needed,
        UserError::new(format!(
            "{}: {models} {:.1} GB of disk, and {:.1} GB are free",
            graph.nodes()[index].label,
            needed as f64 / 1e9,
            free as f64 / 1e9
        ))
        .hint("make room: cargo xtask gc removes what no run needs")
    );
    Ok(())
}

/// The graph with all members, where training time does not decide how many there are.
fn whole_graph<'a>(run: &Run<'a>) -> Graph<'a> {
    let mut graph = run.graph.clone();
    let is_finished = graph
        .nodes()
        .last()
        .is_some_and(|node| node.stage == Stage::Answers);
    if run.pipeline.max_minutes.is_none() && !is_finished {
        while graph.add_member() {}
        graph.finish();
    }
    graph
}

/// The node of the checkpoint that a training starts from, whatever has been trained in between.
fn first_checkpoint(graph: &Graph, training: &Node) -> Option<usize> {
    let mut reads = training.reads.iter();
    let start = reads.find(|read| read.role == "checkpoint")?;
    let Source::Node(start) = start.source else {
        return None;
    };
    let node = &graph.nodes()[start];
    if trains(node.stage) {
        first_checkpoint(graph, node)
    } else {
        Some(start)
    }
}

/// Bytes of the model that a training writes: its checkpoint's weights as f32. Without room to save
/// a training it still ends.
fn model_bytes(graph: &Graph, training: &Node, artifacts: &[Option<PathBuf>]) -> Result<u64> {
    let start = first_checkpoint(graph, training);
    let Some(checkpoint) = start.and_then(|start| artifacts[start].as_deref()) else {
        return Ok(0);
    };
    let weights = columns::map(&checkpoint.join("model.safetensors"))?;
    // One that is damaged is found to be so before it is read.
    let Some(header) = header(&weights) else {
        return Ok(0);
    };
    let values = header.tensors().values().fold(0, |sum: u64, tensor| {
        let shape = tensor.shape.iter();
        let values = shape.fold(1, |product: u64, &size| product.saturating_mul(size as u64));
        sum.saturating_add(values)
    });
    Ok(values.saturating_mul(size_of::<f32>() as u64))
}

/// What a file of weights says of its tensors, wherever they are.
fn header(weights: &[u8]) -> Option<Metadata> {
    let (length, rest) = weights.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    serde_json::from_slice(rest.get(..length)?).ok()
}
