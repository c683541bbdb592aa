//! The training loop and prediction on a task small enough for a test: the answer is the run of tokens
//! with high ids.

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::Scores;
use spanwise_artifact::settings::{Placement, PretrainSettings, TrainSettings};
use spanwise_artifact::windows::{Layout, Special, Template, WindowArrays, WindowFile};
use spanwise_artifact::{Answer, Paragraph, Question, Split, jsonl};
use spanwise_model::config::EncoderConfig;
use spanwise_model::encoder::{Encodes, MaskedModel, SpanModel};
use spanwise_model::pretrain;
use spanwise_model::score::Scorer;
use spanwise_model::train::Run;
use spanwise_model::train::epoch::{self, Draw};
use spanwise_model::train::log::TrainingLog;
use spanwise_model::train::mean::RunningMean;
use spanwise_model::train::optimizer::{AdamW, OptimizerSettings};
use spanwise_model::train::state::{SavedState, Training};
use spanwise_ops::Precision;

use crate::support::devices;

/// Tokens of these ids are the answer.
const ANSWER_IDS: std::ops::Range<u32> = 60..80;

fn layout() -> Layout {
    let special = |id, token_type| vec![Special { id, token_type }];
    let template = Template {
        before: special(1, 0),
        between: special(2, 0),
        after: special(2, 1),
        question_type: 0,
        paragraph_type: 1,
        padding_id: 0,
        mask_id: Some(4),
    };
    Layout {
        max_length: 20,
        placement: Placement::Random,
        template,
    }
}

/// `count` questions, each on a paragraph of its own: one character a token, one answer somewhere.
fn task(count: usize) -> (WindowArrays, Questions) {
    let mut arrays = WindowArrays {
        paragraph_offsets: vec![0],
        question_offsets: vec![0],
        ..Default::default()
    };
    let mut questions = Questions::default();
    for index in 0..count {
        let draw =
            |below: usize, salt: u64| (epoch::mix(index as u64, salt) % below as u64) as usize;
        let length = 10 + draw(20, 1);
        let answer_length = 1 + draw(3, 2);
        let start = draw(length - answer_length, 3);
        let ids: Vec<u32> = (0..length)
            .map(
                |place| match start <= place && place < start + answer_length {
                    true => ANSWER_IDS.start + draw(ANSWER_IDS.len(), 100 + place as u64) as u32,
                    false => 10 + draw(50, 200 + place as u64) as u32,
                },
            )
            .collect();
        let text: String = ids
            .iter()
            .filter_map(|id| char::from_u32(0x4e00 + id))
            .collect();
        let answer: String = text.chars().skip(start).take(answer_length).collect();
        questions.paragraphs.push(Paragraph {
            text,
            article: None,
        });
        questions.questions.push(Question {
            id: index.to_string(),
            paragraph: index,
            text: "?".to_owned(),
            answers: vec![Answer {
                text: answer,
                start,
            }],
        });
        arrays.token_starts.extend(0..length as u32);
        arrays.token_ends.extend(1..=length as u32);
        arrays.paragraph_tokens.extend(ids);
        arrays
            .paragraph_offsets
            .push(arrays.paragraph_tokens.len() as u32);
        arrays.paragraph_characters.push(length as u32);
        arrays.question_tokens.extend([5, 6]);
        arrays
            .question_offsets
            .push(arrays.question_tokens.len() as u32);
        arrays.question_paragraphs.push(index as u32);
        arrays.answer_starts.push(start as u32);
        arrays.answer_ends.push((start + answer_length - 1) as u32);
        let room = layout().room(2);
        for start in (0..).step_by(7) {
            arrays.window_questions.push(index as u32);
            arrays.window_starts.push(start as u32);
            arrays.window_ends.push((start + room).min(length) as u32);
            if start + room >= length {
                break;
            }
        }
    }
    (arrays, questions)
}

/// The task's files, written and opened.
struct Files {
    directory: tempfile::TempDir,
    train: WindowFile,
    dev: WindowFile,
    dev_questions: Questions,
}

fn files() -> Result<Files> {
    let directory = tempfile::tempdir()?;
    task(64).0.write(directory.path(), Split::Train)?;
    let (dev, dev_questions) = task(24);
    dev.write(directory.path(), Split::Dev)?;
    let open =
        |split| anyhow::Ok(WindowFile::open(directory.path(), split)?.expect("just written"));
    Ok(Files {
        train: open(Split::Train)?,
        dev: open(Split::Dev)?,
        dev_questions,
        directory,
    })
}

fn config_document(dropout: f64) -> serde_json::Value {
    serde_json::json!({
        "model_type": "bert", "vocab_size": 80, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 32, "initializer_range": 0.1,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    })
}

fn model(dropout: f64, device: &Device) -> Result<SpanModel> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("config.json");
    jsonl::write_document(&path, &config_document(dropout))?;
    device.seed(3);
    let model = SpanModel::new(&EncoderConfig::read(&path)?, device);
    // Parameters are drawn when first used, which must not be between seeding and dropout.
    parameters(&model);
    Ok(model)
}

fn settings() -> TrainSettings {
    TrainSettings {
        epochs: 10,
        batch_size: 8,
        learning_rate: 5e-3,
        ..Default::default()
    }
}

/// A run before its first step.
fn begin(
    settings: &TrainSettings,
    device: &Device,
    precision: Precision,
) -> Result<Training<SpanModel>> {
    let model = model(0.1, device)?;
    let optimizer = OptimizerSettings {
        weight_decay: settings.weight_decay,
        max_grad_norm: settings.max_grad_norm,
        layer_decay: settings.layer_decay,
        layers: model.encoder.layers.len(),
    };
    Ok(Training::new(model, optimizer, settings.ema, precision))
}

/// Trains and gives the log's records.
fn train(
    files: &Files,
    device: &Device,
    settings: &TrainSettings,
    precision: Precision,
) -> Result<Vec<serde_json::Value>> {
    let device = device.clone().autodiff();
    let layout = layout();
    let run = Run {
        settings,
        seed: 7,
        device: &device,
        precision,
        layout: &layout,
        train: &files.train,
        teacher: None,
        dev: Some((&files.dev, &files.dev_questions)),
    };
    let path = files.directory.path().join("training.jsonl");
    let mut training = begin(settings, &device, precision)?;
    let mut log = TrainingLog::open(&path)?;
    run.train(&mut training, &mut log, |_| Ok(()))?;
    let records = jsonl::read(&path)?.collect();
    std::fs::remove_file(&path)?;
    records
}

fn numbers(records: &[serde_json::Value], key: &str) -> Vec<f64> {
    records
        .iter()
        .filter_map(|record| record[key].as_f64())
        .collect()
}

#[test]
fn training_learns_and_repeats_itself() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let settings = TrainSettings {
            evaluate_every: Some(20),
            ..settings()
        };
        let records = train(&files, &device, &settings, Precision::F32)?;
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

        let again = numbers(&train(&files, &device, &settings, Precision::F32)?, "loss");
        assert_eq!(losses, again, "{name}: the same seed gives the same run");
    }
    Ok(())
}

#[test]
fn an_interrupted_run_goes_on_as_if_nothing_had_happened() -> Result<()> {
    let files = files()?;
    let settings = settings();
    let layout = layout();
    for (name, device) in devices() {
        let device = device.autodiff();
        let run = Run {
            settings: &settings,
            seed: 7,
            device: &device,
            precision: Precision::F32,
            layout: &layout,
            train: &files.train,
            teacher: None,
            dev: Some((&files.dev, &files.dev_questions)),
        };
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("config.json");
        jsonl::write_document(&config, &config_document(0.1))?;
        let log = |name: &str| directory.path().join(name);
        let state = |identity: u64| {
            SavedState::new(directory.path().join("state"), serde_json::json!(identity))
        };
        let begin = || begin(&settings, &device, Precision::F32);

        let mut whole = begin()?;
        run.train(&mut whole, &mut TrainingLog::open(&log("whole"))?, |_| {
            Ok(())
        })?;

        // Saved amid the third epoch, interrupted three steps later.
        let mut first = begin()?;
        let interrupted = run.train(
            &mut first,
            &mut TrainingLog::open(&log("first"))?,
            |training| {
                if training.step == 19 {
                    state(1).save(training, &config, &log("first"))?;
                }
                anyhow::ensure!(training.step < 22, "the power went out");
                Ok(())
            },
        );
        assert!(interrupted.is_err());

        let mut second = begin()?;
        assert!(
            !state(2).restore(&mut second, &log("second"), &device)?,
            "{name}: the state of another run"
        );
        assert!(state(1).restore(&mut second, &log("second"), &device)?);
        assert_eq!(second.step, 19);
        run.train(&mut second, &mut TrainingLog::open(&log("second"))?, |_| {
            Ok(())
        })?;
        assert_eq!(
            parameters(&whole.model),
            parameters(&second.model),
            "{name}"
        );
        let losses = |name: &str| -> Result<Vec<f64>> {
            let records: Vec<serde_json::Value> =
                jsonl::read(&log(name))?.collect::<Result<_>>()?;
            Ok(numbers(&records, "loss"))
        };
        assert_eq!(losses("whole")?, losses("second")?, "{name}");

        state(1).remove()?;
        assert!(!state(1).restore(&mut second, &log("second"), &device)?);
    }
    Ok(())
}

#[test]
fn sixteen_bits_track_f32() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let full = train(&files, &device, &settings(), Precision::F32)?;
        let full = numbers(&full, "loss");
        for precision in [Precision::Bf16, Precision::F16] {
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

/// All gradients, by parameter, flattened.
fn flatten(model: &SpanModel, gradients: &GradientsParams) -> Vec<f32> {
    struct Flat<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Flat<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = self
                .0
                .get::<D>(param.id)
                .expect("every parameter has a gradient");
            self.1.extend(
                gradient
                    .into_data()
                    .try_into_vec::<f32>()
                    .expect("gradients are f32"),
            );
        }
    }
    let mut flat = Flat(gradients, Vec::new());
    model.visit(&mut flat);
    flat.1
}

fn draw(batch_size: usize, seed: u64) -> Draw {
    Draw {
        batch_size,
        negative_windows: 0,
        seed,
    }
}

/// Loss and gradients of the first batch, of 13 questions.
fn gradients(
    files: &Files,
    model: &SpanModel,
    device: &Device,
    settings: TrainSettings,
    precision: Precision,
    scale: f64,
) -> Result<(f64, Vec<f32>)> {
    let layout = layout();
    let run = Run {
        settings: &settings,
        seed: 7,
        device,
        precision,
        layout: &layout,
        train: &files.train,
        teacher: None,
        dev: None,
    };
    let questions = epoch::trainable(&files.train, &layout);
    let batch = epoch::batches(&files.train, &layout, &questions, draw(13, 7), 0).remove(0);
    let (loss, gradients, _) = run.gradients(model, &batch, 11, scale)?;
    Ok((loss, flatten(model, &gradients)))
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

#[test]
fn micro_batches_add_up_to_the_batch() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.0, &device)?;
        let gradients = |micro_batch_size| {
            let settings = TrainSettings {
                batch_size: 13,
                micro_batch_size,
                ..settings()
            };
            gradients(&files, &model, &device, settings, Precision::F32, 1.0)
        };
        let (loss, whole) = gradients(None)?;
        for size in [1, 4, 5] {
            let (split_loss, split) = gradients(Some(size))?;
            assert!(
                (loss - split_loss).abs() < 1e-5,
                "{name}: {loss} and {split_loss}"
            );
            let difference = largest_difference(&whole, &split);
            assert!(
                difference < 1e-5,
                "{name}: micro-batches of {size} differ by {difference}"
            );
        }
    }
    Ok(())
}

#[test]
fn recomputing_activations_changes_nothing() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.1, &device)?;
        for precision in [Precision::F32, Precision::Bf16] {
            let gradients = |checkpoint_activations| {
                let settings = TrainSettings {
                    batch_size: 13,
                    micro_batch_size: Some(8),
                    checkpoint_activations,
                    ..settings()
                };
                gradients(&files, &model, &device, settings, precision, 1.0)
            };
            let (kept_loss, kept) = gradients(false)?;
            let (loss, recomputed) = gradients(true)?;
            assert!(
                (kept_loss - loss).abs() < 1e-6,
                "{name}: {kept_loss} and {loss}"
            );
            let difference = largest_difference(&kept, &recomputed);
            let largest = largest_difference(&kept, &vec![0.0; kept.len()]);
            assert!(
                difference < 1e-6 * largest.max(1.0),
                "{name}, {precision:?}: gradients differ by {difference} of {largest}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_scaled_loss_gives_scaled_gradients_until_they_overflow() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.0, &device)?;
        let gradients = |precision, scale| {
            let settings = TrainSettings {
                batch_size: 13,
                ..settings()
            };
            gradients(&files, &model, &device, settings, precision, scale)
        };
        let (loss, expected) = gradients(Precision::F32, 1.0)?;
        let (scaled_loss, scaled) = gradients(Precision::F16, 1024.0)?;
        assert!(
            (loss - scaled_loss).abs() < 0.02,
            "{name}: {loss} and {scaled_loss}"
        );
        let unscaled: Vec<f32> = scaled.iter().map(|gradient| gradient / 1024.0).collect();
        let difference = largest_difference(&expected, &unscaled);
        assert!(
            difference < 0.02,
            "{name}: gradients differ by {difference}"
        );

        let (_, overflowed) = gradients(Precision::F16, 1e9)?;
        assert!(overflowed.iter().any(|gradient| !gradient.is_finite()));
        let (_, wide) = gradients(Precision::Bf16, 1e9)?;
        assert!(wide.iter().all(|gradient| gradient.is_finite()), "{name}");
    }
    Ok(())
}

/// All parameters, flattened.
fn parameters<M: Module>(model: &M) -> Vec<f32> {
    struct Flat(Vec<f32>);
    impl ModuleVisitor for Flat {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param.val().into_data().try_into_vec::<f32>();
            self.0.extend(values.expect("parameters are f32"));
        }
    }
    let mut flat = Flat(Vec::new());
    model.visit(&mut flat);
    flat.0
}

#[test]
fn a_step_that_overflowed_is_not_taken() -> Result<()> {
    let files = files()?;
    let layout = layout();
    let settings = settings();
    for (name, device) in devices() {
        let device = device.autodiff();
        let mut model = model(0.0, &device)?;
        let run = Run {
            settings: &settings,
            seed: 7,
            device: &device,
            precision: Precision::F16,
            layout: &layout,
            train: &files.train,
            teacher: None,
            dev: None,
        };
        let questions = epoch::trainable(&files.train, &layout);
        let batches = epoch::batches(&files.train, &layout, &questions, draw(8, 7), 0);
        // One optimizer sees an overflow between two good steps, the other does not.
        let mut after = Vec::new();
        for scales in [&[256.0, 1e9, 256.0][..], &[256.0, 256.0]] {
            let mut optimizer = AdamW::new(OptimizerSettings::uniform(0.01, 1.0));
            let mut trained = model.clone();
            for &scale in scales {
                let before = parameters(&trained);
                let (_, gradients, _) = run.gradients(&trained, &batches[0], 11, scale)?;
                let norm;
                (trained, norm) = optimizer.step(trained, gradients, 1e-3, scale)?;
                assert_eq!(norm.is_finite(), scale < 1e9, "{name}: {norm} at {scale}");
                assert_eq!(norm.is_finite(), parameters(&trained) != before, "{name}");
            }
            after.push(parameters(&trained));
            model = self::model(0.0, &device)?;
        }
        assert_eq!(after[0], after[1], "{name}: the overflow left a trace");
    }
    Ok(())
}

#[test]
fn an_epoch_has_every_question_once_and_its_answer_whole() -> Result<()> {
    let files = files()?;
    let layout = layout();
    let questions = epoch::trainable(&files.train, &layout);
    assert_eq!(questions.len(), 64);
    let draw =
        |seed, epoch| epoch::batches(&files.train, &layout, &questions, draw(10, seed), epoch);
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
        let (first, last) = files.train.answer(window.question).expect("trainable");
        assert!(window.tokens.contains(&first) && window.tokens.contains(&last));
    }
    assert_eq!(batches, draw(1, 0));
    assert_ne!(batches, draw(1, 1), "another epoch, other windows");
    assert_ne!(batches, draw(2, 0), "another seed, other windows");
    Ok(())
}

#[test]
fn scores_do_not_depend_on_batching() -> Result<()> {
    let files = files()?;
    let layout = layout();
    for (name, device) in devices() {
        let model = model(0.0, &device)?;
        let score = |tokens_per_pass| -> Result<Vec<Scores>> {
            let scorer = Scorer {
                model: &model,
                device: &device,
                layout: &layout,
                precision: Precision::F32,
                tokens_per_pass,
            };
            let mut all = Vec::new();
            let mut windows = 0;
            scorer.score(
                &files.train,
                files.train.evaluation_windows(),
                |index, scores, count| {
                    assert_eq!(index, all.len(), "questions come in order");
                    windows += count;
                    all.push(scores);
                    Ok(())
                },
            )?;
            assert_eq!(windows, files.train.windows());
            Ok(all)
        };
        let alone = score(1)?;
        assert_eq!(alone.len(), 64);
        for (question, (one, several)) in alone.iter().zip(score(137)?).enumerate() {
            assert_eq!(one.start.len(), files.train.paragraph_characters(question));
            let pairs = one
                .start
                .iter()
                .zip(&several.start)
                .chain(one.end.iter().zip(&several.end));
            for (a, b) in pairs {
                assert!(
                    a.is_finite() && (a - b).abs() < 1e-5,
                    "{name}: {a} alone, {b} in a batch"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn every_way_to_train_learns() -> Result<()> {
    let files = files()?;
    type Change = fn(&mut TrainSettings);
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
        let plain = train(&files, &device, &settings(), Precision::F32)?;
        for (way, set) in &ways {
            let mut settings = settings();
            set(&mut settings);
            assert_eq!(settings.problems(), []);
            let records = train(&files, &device, &settings, Precision::F32)?;
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
fn micro_batches_add_up_however_the_loss_is_made() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.0, &device)?;
        let gradients = |micro_batch_size| {
            let settings = TrainSettings {
                batch_size: 13,
                micro_batch_size,
                joint_loss: 0.5,
                soft_labels: 0.1,
                negative_windows: 1,
                r_drop: 1.0,
                ..settings()
            };
            gradients(&files, &model, &device, settings, Precision::F32, 1.0)
        };
        let (loss, whole) = gradients(Some(13))?;
        for size in [1, 5] {
            let (split_loss, split) = gradients(Some(size))?;
            assert!(
                (loss - split_loss).abs() < 1e-5,
                "{name}: {loss}, {split_loss}"
            );
            assert!(largest_difference(&whole, &split) < 1e-5, "{name}");
        }
    }
    Ok(())
}

#[test]
fn an_adversarial_step_raises_the_loss() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let model = model(0.0, &device)?;
        let gradients = |fgm| {
            let settings = TrainSettings { fgm, ..settings() };
            gradients(&files, &model, &device, settings, Precision::F32, 1.0)
        };
        let (loss, clean) = gradients(0.0)?;
        let (same_loss, far) = gradients(0.5)?;
        assert_eq!(
            loss, same_loss,
            "{name}: the loss that is logged is the clean one"
        );
        // A step of no length doubles the gradients; a longer one leads where they differ.
        let (_, doubled) = gradients(1e-6)?;
        let twice: Vec<f32> = clean.iter().map(|gradient| 2.0 * gradient).collect();
        assert!(largest_difference(&twice, &doubled) < 1e-4, "{name}");
        assert!(largest_difference(&twice, &far) > 1e-3, "{name}");
    }
    Ok(())
}

#[test]
fn lower_layers_take_smaller_steps() -> Result<()> {
    let files = files()?;
    for (name, device) in devices() {
        let device = device.autodiff();
        let settings = TrainSettings {
            weight_decay: 0.0,
            layer_decay: 0.5,
            ..settings()
        };
        let mut training = begin(&settings, &device, Precision::F32)?;
        let before = training.model.clone().valid();
        let widths = |model: &SpanModel| {
            [
                parameters(&model.encoder.embeddings),
                parameters(&model.encoder.layers[0]),
                parameters(&model.encoder.layers[1]),
                parameters(&model.span_head),
            ]
        };
        let before = widths(&before);
        let layout = layout();
        let run = Run {
            settings: &settings,
            seed: 7,
            device: &device,
            precision: Precision::F32,
            layout: &layout,
            train: &files.train,
            teacher: None,
            dev: None,
        };
        let questions = epoch::trainable(&files.train, &layout);
        let batch = epoch::batches(&files.train, &layout, &questions, draw(8, 7), 0).remove(0);
        let (_, gradients, _) = run.gradients(&training.model, &batch, 11, 1.0)?;
        training.update(gradients, 1e-2)?;
        // Adam's first step has the learning rate's length in every parameter that has a gradient.
        let after = widths(&training.model);
        let steps: Vec<f32> = before
            .iter()
            .zip(&after)
            .map(|(a, b)| largest_difference(a, b))
            .collect();
        for (step, expected) in steps.iter().zip([0.125, 0.25, 0.5, 1.0]) {
            let expected = expected * 1e-2;
            assert!(
                (step - expected).abs() < 1e-3 * expected,
                "{name}: {steps:?}"
            );
        }
    }
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
        device.seed(4);
        let config = config_document(0.0);
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("config.json");
        jsonl::write_document(&path, &config)?;
        let second = SpanModel::new(&EncoderConfig::read(&path)?, &device);
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

#[test]
fn pre_training_learns_the_texts_and_goes_on_after_an_interruption() -> Result<()> {
    let files = files()?;
    let settings = PretrainSettings {
        epochs: 12,
        batch_size: 16,
        learning_rate: 5e-3,
        ..Default::default()
    };
    let layout = layout();
    for (name, device) in devices() {
        let device = device.autodiff();
        let texts = [
            WindowFile::open(files.directory.path(), Split::Train)?.expect("written"),
            WindowFile::open(files.directory.path(), Split::Dev)?.expect("written"),
        ];
        let run = pretrain::Run {
            settings: &settings,
            seed: 7,
            device: &device,
            precision: Precision::F32,
            layout: &layout,
            files: &texts,
        };
        let directory = tempfile::tempdir()?;
        let config = directory.path().join("config.json");
        jsonl::write_document(&config, &config_document(0.1))?;
        let begin = || -> Result<Training<MaskedModel>> {
            device.seed(3);
            let model = MaskedModel::new(&EncoderConfig::read(&config)?, &device);
            parameters(&model);
            let optimizer = OptimizerSettings::uniform(0.01, 1.0);
            Ok(Training::new(model, optimizer, 0.0, Precision::F32))
        };
        let log = |name: &str| directory.path().join(name);
        let mut whole = begin()?;
        run.train(&mut whole, &mut TrainingLog::open(&log("whole"))?, |_| {
            Ok(())
        })?;
        let records: Vec<serde_json::Value> = jsonl::read(&log("whole"))?.collect::<Result<_>>()?;
        let losses = numbers(&records, "loss");
        assert_eq!(losses.len(), 12 * (64 + 24usize).div_ceil(16));
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        // Where the answer is, ids are from 60 on; elsewhere they are below. Half of the guesses gain by knowing.
        assert!(
            mean(&losses[losses.len() - 6..]) < mean(&losses[..3]) - 0.3,
            "{name}: {losses:?}"
        );

        let state = || SavedState::new(directory.path().join("state"), serde_json::json!(1));
        let mut first = begin()?;
        let interrupted = run.train(
            &mut first,
            &mut TrainingLog::open(&log("first"))?,
            |training| {
                if training.step == 10 {
                    state().save(training, &config, &log("first"))?;
                }
                anyhow::ensure!(training.step < 12, "the power went out");
                Ok(())
            },
        );
        assert!(interrupted.is_err());
        let mut second = begin()?;
        assert!(state().restore(&mut second, &log("second"), &device)?);
        run.train(&mut second, &mut TrainingLog::open(&log("second"))?, |_| {
            Ok(())
        })?;
        assert_eq!(
            parameters(&whole.model),
            parameters(&second.model),
            "{name}"
        );
    }
    Ok(())
}
