//! The training loop: what it learns, that it repeats itself, and that it can be interrupted.

use anyhow::Result;
use burn::tensor::Device;
use spanwise_artifact::jsonl;
use spanwise_artifact::settings::TrainTable;
use spanwise_model::encoder::SpanModel;
use spanwise_ops::Precision;
use spanwise_train::epoch::{self, Draw};
use spanwise_training::log::TrainingLog;
use spanwise_training::mean::RunningMean;

use crate::support::devices;
use crate::task::{
    Files, assert_goes_on, begin, drawn, files, largest_difference, model, numbers, parameters,
    settings,
};

/// Trains and gives the log's records.
fn train(
    files: &Files,
    device: &Device,
    settings: &TrainTable,
    precision: Precision,
) -> Result<Vec<serde_json::Value>> {
    train_after(0.0, files, device, settings, precision)
}

/// The same with `seconds` spent already.
fn train_after(
    seconds: f64,
    files: &Files,
    device: &Device,
    settings: &TrainTable,
    precision: Precision,
) -> Result<Vec<serde_json::Value>> {
    let device = device.clone().autodiff();
    let run = files.run(settings, &device, precision);
    let path = files.directory.path().join("training.jsonl");
    let mut training = begin(settings, &device, precision)?;
    training.seconds = seconds;
    let mut log = TrainingLog::open(&path)?;
    run.train(&mut training, &mut log, |_| Ok(()))?;
    let records = jsonl::read(&path)?.collect();
    fs_err::remove_file(&path)?;
    records
}

#[test]
fn training_learns_and_repeats_itself() -> Result<()> {
    let files = files()?;
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
            .map(|record| record["step"].as_u64())
            .collect();
        assert_eq!(
            evaluations,
            [8, 16, 20, 24, 32, 40, 48, 56, 60, 64, 72, 80].map(Some),
            "every 20 steps and at every epoch's end"
        );
        let exact = numbers(&records, "dev_exact_match");
        assert!(exact.last() > Some(&0.6), "{name}: {exact:?}");
        assert!(
            losses.last() < Some(&(losses[0] / 3.0)),
            "{name}: {losses:?}"
        );

        let again = numbers(&train(&files, &device, &settings, Precision::Fp32)?, "loss");
        assert_eq!(losses, again, "{name}: the same seed gives the same run");
    }
    Ok(())
}

#[test]
fn a_run_ends_in_time_and_its_schedule_with_it() -> Result<()> {
    let files = files()?;
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

        // Half of the time is over, and steps take next to nothing of the rest: they are as in the middle of the run
        // until it is there.
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
fn an_interrupted_run_goes_on_as_if_nothing_had_happened() -> Result<()> {
    let files = files()?;
    let settings = settings();
    for (name, device) in devices() {
        let device = device.autodiff();
        let run = files.run(&settings, &device, Precision::Fp32);
        let begin = || begin(&settings, &device, Precision::Fp32);
        // Saved amid the third epoch.
        assert_goes_on(
            (name, &device),
            19..=22,
            begin,
            &|training, log, after_step| run.train(training, log, after_step),
        )?;
    }
    Ok(())
}

#[test]
fn sixteen_bits_track_f32() -> Result<()> {
    let files = files()?;
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
fn every_way_to_train_learns() -> Result<()> {
    let files = files()?;
    type Change = fn(&mut TrainTable);
    let ways: [(&str, Change); 9] = [
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
        for (way, set) in &ways {
            let mut settings = settings();
            set(&mut settings);
            assert_eq!(settings.problems(), []);
            let records = train(&files, &device, &settings, Precision::Fp32)?;
            let exact = numbers(&records, "dev_exact_match");
            assert!(exact.last() > Some(&0.6), "{name}, {way}: {exact:?}");
            assert_ne!(
                numbers(&records, "dev_loss"),
                numbers(&plain, "dev_loss"),
                "{name}: {way} changes nothing"
            );
        }
    }
    Ok(())
}

#[test]
fn an_epoch_has_every_question_once_and_its_answer_whole() -> Result<()> {
    let files = files()?;
    let questions = epoch::trainable(&files.train, &files.layout);
    assert_eq!(questions.len(), 64);
    let draw = |seed, epoch| {
        let draw = Draw {
            batch_size: 10,
            negative_windows: 0,
            seed,
        };
        epoch::batches(&files.train, &files.layout, &questions, draw, epoch)
    };
    let batches = draw(1, 0);
    let mut seen: Vec<usize> = batches
        .iter()
        .flatten()
        .map(|example| example.windows[0].question)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, questions);
    for example in batches.iter().flatten() {
        let [window] = &example.windows[..] else {
            panic!("one window without being asked for more");
        };
        let answer = files.train.answer(window.question).expect("trainable");
        assert!(window.tokens.start <= answer.start && answer.end <= window.tokens.end);
    }
    assert_eq!(batches, draw(1, 0));
    assert_ne!(batches, draw(1, 1), "another epoch, other windows");
    assert_ne!(batches, draw(2, 0), "another seed, other windows");
    Ok(())
}

#[test]
fn the_running_mean_is_one() -> Result<()> {
    for (name, device) in devices() {
        let device = device.autodiff();
        let first = model(0.0, &device)?;
        let mut mean = RunningMean::new(&first, 0.25);
        let start = parameters(mean.model());
        assert_eq!(start, parameters(&first), "{name}");
        let second: SpanModel = drawn(0.0, 4, &device)?;
        let end = parameters(&second);
        // After many steps the decay is what was asked for; after one it is 2/11.
        for (step, decay) in [(1, 2.0f32 / 11.0), (1000, 0.25)] {
            let before = parameters(mean.model());
            mean.update(&second, step);
            let expected: Vec<f32> = before
                .iter()
                .zip(&end)
                .map(|(a, b)| decay * a + (1.0 - decay) * b)
                .collect();
            let found = parameters(mean.model());
            assert!(largest_difference(&found, &expected) < 1e-6, "{name}");
        }
        assert_eq!(start, parameters(&first), "{name}: the mean is a copy");
    }
    Ok(())
}
