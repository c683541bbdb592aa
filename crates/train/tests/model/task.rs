//! A task small enough for a test, that models learn in a second: the answer is the run of tokens with high ids.

use std::ops::RangeInclusive;

use anyhow::Result;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor};
use spanwise_artifact::questions::Questions;
use spanwise_artifact::settings::{Placement, TrainTable};
use spanwise_artifact::windows::{Layout, Special, Template, WindowArrays, WindowFile};
use spanwise_artifact::{Answer, Paragraph, Question, Split, jsonl};
use spanwise_model::config::EncoderConfig;
use spanwise_model::encoder::{Encodes, SpanModel};
use spanwise_ops::Precision;
use spanwise_train::Run;
use spanwise_train::epoch;
use spanwise_training::log::TrainingLog;
use spanwise_training::optimizer::OptimizerSettings;
use spanwise_training::state::{SavedState, Training};

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
    let mut arrays = WindowArrays::default();
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
        let characters: Vec<_> = (0..length).map(|index| index..index + 1).collect();
        arrays
            .push_paragraph(&ids, &characters, length)
            .expect("a range for each token");
        arrays
            .push_question(&[5, 6], index, Some(start..start + answer_length))
            .expect("the paragraph was pushed");
        let room = layout().room(2);
        for start in (0..).step_by(7) {
            arrays
                .push_window(start..(start + room).min(length))
                .expect("the question was pushed");
            if start + room >= length {
                break;
            }
        }
    }
    (arrays, questions)
}

/// The task's files, written and opened.
pub struct Files {
    pub directory: tempfile::TempDir,
    pub layout: Layout,
    pub train: WindowFile,
    pub dev: WindowFile,
    pub dev_questions: Questions,
}

impl Files {
    /// A run on them.
    pub fn run<'a>(
        &'a self,
        settings: &'a TrainTable,
        device: &'a Device,
        precision: Precision,
    ) -> Run<'a> {
        Run {
            settings,
            seed: 7,
            device,
            precision,
            layout: &self.layout,
            train: &self.train,
            teacher: None,
            dev: Some((&self.dev, &self.dev_questions)),
        }
    }
}

/// Writes and opens the task's files.
pub fn files() -> Result<Files> {
    let directory = tempfile::tempdir()?;
    task(64).0.write(directory.path(), Split::Train)?;
    let (dev, dev_questions) = task(24);
    dev.write(directory.path(), Split::Dev)?;
    let open =
        |split| anyhow::Ok(WindowFile::open(directory.path(), split)?.expect("just written"));
    Ok(Files {
        layout: layout(),
        train: open(Split::Train)?,
        dev: open(Split::Dev)?,
        dev_questions,
        directory,
    })
}

/// A tiny BERT's `config.json`.
fn config_document(dropout: f64) -> serde_json::Value {
    serde_json::json!({
        "model_type": "bert", "vocab_size": 80, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 32, "initializer_range": 0.1,
        "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout,
    })
}

/// A tiny BERT with random weights, always the same.
pub fn model(dropout: f64, device: &Device) -> Result<SpanModel> {
    drawn(dropout, 3, device)
}

/// A tiny BERT with a head, its weights drawn from `seed`.
pub fn drawn<M: Encodes>(dropout: f64, seed: u64, device: &Device) -> Result<M> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("config.json");
    jsonl::write_document(&path, &config_document(dropout))?;
    device.seed(seed);
    let model = M::new(&EncoderConfig::read(&path)?, device);
    // Parameters are drawn when first used, which must not be between seeding and dropout.
    parameters(&model);
    Ok(model)
}

/// What the task is learned with.
pub fn settings() -> TrainTable {
    TrainTable {
        epochs: 10,
        batch_size: 8,
        learning_rate: 5e-3,
        ..Default::default()
    }
}

/// A run before its first step.
pub fn begin(
    settings: &TrainTable,
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

/// The values of a key in the records that have it.
pub fn numbers(records: &[serde_json::Value], key: &str) -> Vec<f64> {
    records
        .iter()
        .filter_map(|record| record[key].as_f64())
        .collect()
}

/// All parameters, flattened.
pub fn parameters<M: Module>(model: &M) -> Vec<f32> {
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

/// Between the elements of two vectors of one length.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}

/// A run's loop, from where a training stands to its end; the closure sees it after every step.
type Loop<'a, M> = &'a dyn Fn(
    &mut Training<M>,
    &mut TrainingLog,
    &mut dyn FnMut(&Training<M>) -> Result<()>,
) -> Result<()>;

/// Saves a run after the first of `steps`, interrupts it after the last, and holds what it comes to when it goes on to
/// the run that was not interrupted. `begin`: a run before its first step. Gives the losses.
pub fn assert_goes_on<M: Encodes>(
    (name, device): (&str, &Device),
    steps: RangeInclusive<usize>,
    begin: impl Fn() -> Result<Training<M>>,
    train: Loop<M>,
) -> Result<Vec<f64>> {
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("config.json");
    jsonl::write_document(&config, &config_document(0.1))?;
    let log = |name: &str| directory.path().join(name);
    let state = |identity: u64| {
        SavedState::new(directory.path().join("state"), serde_json::json!(identity))
    };
    let losses = |name: &str| -> Result<Vec<f64>> {
        let records: Vec<serde_json::Value> = jsonl::read(&log(name))?.collect::<Result<_>>()?;
        Ok(numbers(&records, "loss"))
    };
    let to_the_end = |training: &mut Training<M>, name: &str| {
        train(training, &mut TrainingLog::open(&log(name))?, &mut |_| {
            Ok(())
        })
    };

    let mut whole = begin()?;
    to_the_end(&mut whole, "whole")?;

    let interrupted = train(
        &mut begin()?,
        &mut TrainingLog::open(&log("first"))?,
        &mut |training| {
            if training.step == *steps.start() {
                state(1).save(training, &config, &log("first"))?;
            }
            anyhow::ensure!(training.step < *steps.end(), "the power went out");
            Ok(())
        },
    );
    assert!(interrupted.is_err());

    let mut second = begin()?;
    assert!(
        !state(2).restore(&mut second, &log("second"), device)?,
        "{name}: the state of another run"
    );
    assert!(state(1).restore(&mut second, &log("second"), device)?);
    assert_eq!(second.step, *steps.start());
    assert!(second.seconds > 0.0, "{name}: time spent counts");
    to_the_end(&mut second, "second")?;
    assert_eq!(
        parameters(&whole.model),
        parameters(&second.model),
        "{name}"
    );
    assert_eq!(losses("whole")?, losses("second")?, "{name}");

    state(1).remove()?;
    assert!(!state(1).restore(&mut second, &log("second"), device)?);
    losses("whole")
}
