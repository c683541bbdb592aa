//! Whether an interrupted run resumes as if nothing had happened.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use burn::tensor::Device;
use serde_json::{Value, json};
use spanwise_artifact::jsonl;
use spanwise_training::state::SavedState;
use spanwise_training::{Hyperparameters, RunState, Task, TrainingLog, train};

use crate::tiny::{config, values};

/// Returns the values of a key in the records that have it.
pub fn numbers(records: &[Value], key: &str) -> Vec<f64> {
    let numbers = records.iter().filter_map(|record| record[key].as_f64());
    numbers.collect()
}

/// Saves a run of `task` after the first of `steps`, interrupts it after the last, resumes it, and
/// compares its end with that of a run that was not interrupted. Returns the losses.
///
/// `model` returns the model before its first step, as [`config`] with a dropout of 0.1 describes
/// it.
pub fn assert_resumes<T: Task>(
    name: &str,
    task: &T,
    hyperparameters: &Hyperparameters,
    steps: RangeInclusive<usize>,
    model: impl Fn() -> Result<T::Model>,
    device: &Device,
) -> Result<Vec<f64>> {
    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name);
    jsonl::write_document(&file("config.json"), &config(0.1))?;
    let state = |identity: u64, log: &str| {
        let identity = json!(identity);
        SavedState::new(file("state"), &identity, file("config.json"), file(log))
    };
    let records = |log: &str| jsonl::read(&file(log))?.collect::<Result<Vec<Value>>>();
    let start = || anyhow::Ok(RunState::new(model()?, hyperparameters));
    let to_the_end = |run: &mut RunState<T::Model>, log: &str| {
        let log = &mut TrainingLog::open(&file(log))?;
        train(task, hyperparameters, run, log, |_, _| Ok(()))
    };

    let mut whole = start()?;
    to_the_end(&mut whole, "whole")?;

    let interrupted = train(
        task,
        hyperparameters,
        &mut start()?,
        &mut TrainingLog::open(&file("first"))?,
        |run, log| {
            if run.step == *steps.start() {
                state(1, "first").save(run, log)?;
            }
            ensure!(run.step < *steps.end(), "the power went out");
            Ok(())
        },
    );
    assert!(interrupted.is_err());

    // A later save of which a power cut has left half, and one that the disk has not kept.
    for (step, content) in [("99", ""), ("98", "{}")] {
        fs_err::create_dir(file("state").join(step))?;
        fs_err::write(file("state").join(step).join("state.json"), content)?;
    }
    let mut second = start()?;
    assert!(
        !state(2, "second").restore(&mut second, device)?,
        "{name}: the state of another run"
    );
    assert!(state(1, "second").restore(&mut second, device)?);
    assert_eq!(second.step, *steps.start());
    assert!(second.seconds > 0.0, "{name}: time spent counts");
    to_the_end(&mut second, "second")?;
    assert_eq!(values(&whole.model), values(&second.model), "{name}");
    assert_eq!(
        values(&whole.result()),
        values(&second.result()),
        "{name}: what is kept"
    );
    for key in ["loss", "dev_loss", "dev_exact_match", "kept_step"] {
        let [whole, second] = [records("whole")?, records("second")?];
        assert_eq!(numbers(&whole, key), numbers(&second, key), "{name}: {key}");
    }

    let state = state(1, "second");
    let model = file("state")
        .join(steps.start().to_string())
        .join("model.safetensors");
    let mut bytes = fs_err::read(&model)?;
    *bytes.last_mut().context("a model has weights")? ^= 1;
    fs_err::write(&model, bytes)?;
    assert!(
        !state.restore(&mut second, device)?,
        "{name}: a model that is damaged"
    );
    state.remove()?;
    assert!(!state.restore(&mut second, device)?);
    Ok(numbers(&records("whole")?, "loss"))
}
