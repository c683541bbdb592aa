//! The training loop: what it learns, that it repeats itself, and that it can be interrupted.

use anyhow::Result;
use burn::tensor::Device;
use serde_json::Value;
use spanwise_artifact::settings::{Settings, TrainTable};
use spanwise_artifact::{Reference, jsonl};
use spanwise_ops::Precision;
use spanwise_testing::backends::devices;
use spanwise_testing::high_ids::Files;
use spanwise_testing::resuming::{assert_resumes, numbers};
use spanwise_testing::tiny::span_model;
use spanwise_training::{Batches, RunState, Task, TrainingLog};

use crate::support::{SEED, settings, task};

/// Trains and returns the log's records.
fn train(
    files: &Files,
    device: &Device,
    settings: &TrainTable,
    precision: Precision,
) -> Result<Vec<Value>> {
    train_after(0.0, files, device, settings, precision)
}

/// As [`train`], with `seconds` spent already.
fn train_after(
    seconds: f64,
    files: &Files,
    device: &Device,
    settings: &TrainTable,
    precision: Precision,
) -> Result<Vec<Value>> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("training.jsonl");
    let device = device.clone().autodiff();
    let task = task(files, settings, &device, precision)?;
    let hyperparameters = task.hyperparameters(SEED);
    let mut run = RunState::new(span_model(0.1, &device)?, &hyperparameters);
    run.seconds = seconds;
    let mut log = TrainingLog::open(&path)?;
    spanwise_training::train(&task, &hyperparameters, &mut run, &mut log, |_, _| Ok(()))?;
    jsonl::read(&path)?.collect()
}

#[test]
fn training_learns_and_repeats_itself() -> Result<()> {
    let files = Files::new()?;
    for (name, device) in devices() {
        let settings = TrainTable {
            eval_steps: Some(20),
            ..settings()
        };
        let records = train(&files, &device, &settings, Precision::Fp32)?;
        let losses = numbers(&records, "loss");
        assert_eq!(losses.len(), 10 * 64 / 8);
        let evaluations: Vec<_> = records
            .iter()
            .filter(|record| record.get("dev_exact_match").is_some())
            .map(|record| [record["step"].as_u64(), record["epoch"].as_u64()])
            .collect();
        let expected = [
            (8, 1),
            (16, 2),
            (20, 3),
            (24, 3),
            (32, 4),
            (40, 5),
            (48, 6),
            (56, 7),
            (60, 8),
            (64, 8),
            (72, 9),
            (80, 10),
        ];
        assert_eq!(
            evaluations,
            expected.map(|(step, epoch)| [Some(step), Some(epoch)]),
            "every 20 steps and at every epoch's end"
        );
        let exact = numbers(&records, "dev_exact_match");
        assert!(exact.last() > Some(&0.6), "{name}: {exact:?}");
        assert!(
            losses.last() < Some(&(losses[0] / 3.0)),
            "{name}: {losses:?}"
        );

        let again = numbers(&train(&files, &device, &settings, Precision::Fp32)?, "loss");
        assert_eq!(losses, again, "{name}: the same seed repeats the run");
    }
    Ok(())
}

#[test]
fn only_dev_questions_with_answers_are_measured() -> Result<()> {
    let settings = TrainTable {
        epochs: 1,
        ..settings()
    };
    let mut files = Files::new()?;
    let questions = files.references.questions.len();
    for labelled in [questions / 2, 0] {
        for question in &mut files.references.questions[labelled..] {
            question.reference = Reference::Unknown;
        }
        for (name, device) in devices() {
            let records = train(&files, &device, &settings, Precision::Fp32)?;
            let measured = numbers(&records, "dev_questions");
            let expected = (labelled > 0).then_some(labelled as f64);
            assert_eq!(measured.last().copied(), expected, "{name}");
            let losses = numbers(&records, "dev_loss");
            assert_eq!(losses.is_empty(), labelled == 0, "{name}");
        }
    }
    Ok(())
}

#[test]
fn a_run_ends_in_time_and_its_schedule_with_it() -> Result<()> {
    let files = Files::new()?;
    for (name, device) in devices() {
        let within = |max_minutes, spent| {
            let settings = TrainTable {
                max_minutes,
                ..settings()
            };
            train_after(spent, &files, &device, &settings, Precision::Fp32)
        };
        // No step is that fast: the first, at the beginning of the warm-up, is the last.
        let records = within(Some(1e-9), 0.0)?;
        assert_eq!(numbers(&records, "learning_rate"), [0.0], "{name}");
        assert_eq!(numbers(&records, "dev_loss").len(), 1, "{name}");

        // Half of the time is over, and steps take next to nothing of the rest: they are as in the
        // middle of the run until it is there.
        let rates = numbers(&within(Some(1e9), 3e10)?, "learning_rate");
        let peak = settings().learning_rate;
        assert_eq!(rates.len(), 80, "{name}");
        assert!((rates[0] - peak * 40.0 / 72.0).abs() < 1e-9, "{name}");
        assert!((rates[39] - rates[0]).abs() < 1e-9, "{name}");
        assert!((rates[79] - peak / 72.0).abs() < 1e-9, "{name}");

        let (unlimited, ample) = (within(None, 0.0)?, within(Some(1e9), 0.0)?);
        for key in ["learning_rate", "loss"] {
            let (unlimited, ample) = (numbers(&unlimited, key), numbers(&ample, key));
            assert_eq!(unlimited, ample, "{name}: {key} with time enough");
        }
    }
    Ok(())
}

#[test]
fn an_interrupted_run_resumes_as_if_nothing_had_happened() -> Result<()> {
    let files = Files::new()?;
    let settings = settings();
    for (name, device) in devices() {
        let device = device.autodiff();
        let task = task(&files, &settings, &device, Precision::Fp32)?;
        let hyperparameters = task.hyperparameters(SEED);
        let model = || span_model(0.1, &device);
        // Saved in the middle of the third epoch, and at its end, where an evaluation is due.
        for steps in [19..=22, 24..=24] {
            assert_resumes(name, &task, &hyperparameters, steps, model, &device)?;
        }
    }
    Ok(())
}

#[test]
fn sixteen_bits_track_f32() -> Result<()> {
    let files = Files::new()?;
    for (name, device) in devices() {
        let full = train(&files, &device, &settings(), Precision::Fp32)?;
        let full = numbers(&full, "loss");
        for precision in [Precision::Bf16, Precision::Fp16] {
            let half = train(&files, &device, &settings(), precision)?;
            let half = numbers(&half, "loss");
            let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
            let (full_end, half_end) =
                (mean(&full[full.len() - 8..]), mean(&half[half.len() - 8..]));
            assert!(
                (full[0] - half[0]).abs() < 0.05,
                "{name}: first losses {} and {}, {precision:?}",
                full[0],
                half[0]
            );
            assert_ne!(full, half, "{name}: {precision:?} must not silently be f32");
            assert!(
                (full_end - half_end).abs() < 0.3,
                "{name}: last losses {full_end} and {half_end}, {precision:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn every_regulariser_learns_and_changes_something() -> Result<()> {
    let files = Files::new()?;
    type Change = fn(&mut TrainTable);
    let regularisers: [(&str, Change); 9] = [
        ("joint_loss", |settings| settings.joint_loss = 0.5),
        ("soft_labels", |settings| settings.soft_labels = 0.1),
        ("negative_windows", |settings| settings.negative_windows = 2),
        ("mask_inputs", |settings| settings.mask_inputs = 0.1),
        ("multi_sample_dropout", |settings| {
            settings.multi_sample_dropout = 3;
        }),
        ("r_drop", |settings| settings.r_drop = 1.0),
        ("fgm", |settings| settings.fgm = 0.1),
        ("layer_decay", |settings| settings.layer_decay = 0.9),
        ("ema", |settings| settings.ema = 0.9),
    ];
    for (name, device) in devices() {
        let plain = train(&files, &device, &settings(), Precision::Fp32)?;
        for (regulariser, set) in &regularisers {
            let mut settings = settings();
            set(&mut settings);
            assert_eq!(settings.problems(), []);
            let records = train(&files, &device, &settings, Precision::Fp32)?;
            let exact = numbers(&records, "dev_exact_match");
            let best = exact.iter().copied().fold(0.0, f64::max);
            assert!(best > 0.6, "{name}, {regulariser}: {exact:?}");
            assert_ne!(
                numbers(&records, "dev_loss"),
                numbers(&plain, "dev_loss"),
                "{name}: {regulariser} changes nothing"
            );
        }
    }
    Ok(())
}

#[test]
fn an_epoch_has_every_question_once_and_its_answer_whole() -> Result<()> {
    let files = Files::new()?;
    let settings = TrainTable {
        batch_size: 10,
        ..settings()
    };
    let mut devices = devices();
    let (_, device) = devices.next().expect("flex is always there");
    let task = task(&files, &settings, &device, Precision::Fp32)?;
    let sample = |seed, epoch| Batches::new(&task, &task.hyperparameters(seed)).sample(epoch);
    let batches = sample(1, 0);
    let mut seen: Vec<usize> = batches
        .iter()
        .flatten()
        .map(|example| example.windows[0].question)
        .collect();
    seen.sort_unstable();
    assert!(seen.into_iter().eq(0..64));
    for example in batches.iter().flatten() {
        let [window] = &example.windows[..] else {
            panic!("one window without being asked for more");
        };
        let answer = files.train.answer(window.question).expect("labelled");
        assert!(window.tokens.start <= answer.start && answer.end <= window.tokens.end);
    }
    assert_eq!(batches, sample(1, 0));
    assert_ne!(batches, sample(1, 1), "another epoch, other windows");
    assert_ne!(batches, sample(2, 0), "another seed, other windows");
    Ok(())
}

#[test]
fn no_answer_is_learned_where_there_is_none() -> Result<()> {
    let files = Files::with_unanswerable()?;
    // The loss is the same whoever computes it.
    for (name, device) in devices().take(1) {
        let settings = TrainTable {
            epochs: 20,
            ..settings()
        };
        let records = train(&files, &device, &settings, Precision::Fp32)?;
        let exact = numbers(&records, "dev_exact_match");
        // Two thirds have an answer.
        assert!(exact.last() > Some(&0.8), "{name}: {exact:?}");
    }
    Ok(())
}

#[test]
fn windows_without_the_answer_are_learned_from_beside_those_that_have_it() -> Result<()> {
    let mut devices = devices();
    let (_, device) = devices.next().expect("flex is always there");
    let check = |files: &Files, settings: &TrainTable, expected: [bool; 3]| -> Result<()> {
        let task = task(files, settings, &device, Precision::Fp32)?;
        let batches = Batches::new(&task, &task.hyperparameters(1)).sample(0);
        let examples: Vec<_> = batches.into_iter().flatten().collect();
        assert_eq!(examples.len(), task.items());
        let mut found = [false; 3];
        for example in examples {
            let window = &example.windows[0];
            let is_unanswerable = files.train.is_unanswerable(window.question);
            match &example.answer {
                Some(answer) => {
                    assert!(window.tokens.start <= answer.start && answer.end <= window.tokens.end);
                    found[0] = true;
                }
                None if is_unanswerable => found[1] = true,
                None => {
                    let answer = files.train.answer(window.question).expect("labelled");
                    let tokens = &window.tokens;
                    assert!(tokens.end <= answer.start || answer.end <= tokens.start);
                    found[2] = true;
                }
            }
        }
        assert_eq!(found, expected);
        Ok(())
    };
    let unanswerable = Files::with_unanswerable()?;
    check(&unanswerable, &settings(), [true, true, true])?;
    let negative_windows = TrainTable {
        negative_windows: 1,
        ..settings()
    };
    check(&unanswerable, &negative_windows, [true, true, false])?;
    check(&Files::new()?, &settings(), [true, false, false])
}
