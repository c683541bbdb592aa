//! Keeping the best model of a run, and ending a run that finds no better one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Tensor};
use rand::rngs::StdRng;
use serde_json::{Value, json};
use spanwise_artifact::settings::TrainTable;
use spanwise_artifact::{Reference, UserError, jsonl};
use spanwise_model::SpanModel;
use spanwise_ops::Precision;
use spanwise_testing::backends::devices;
use spanwise_testing::high_ids::Files;
use spanwise_testing::resuming::{assert_resumes, numbers};
use spanwise_testing::tiny::{config, span_model, values};
use spanwise_train::loss::Targets;
use spanwise_train::{SpanTask, TrainingExample};
use spanwise_training::log::DevMetrics;
use spanwise_training::state::SavedState;
use spanwise_training::{BackwardPass, MicroBatch, RunState, Task, TrainingLog, train};

use crate::support::{SEED, settings, task};

/// Settings whose learning rate stays too high to settle, so that the last model is not the best.
fn restless() -> TrainTable {
    TrainTable {
        learning_rate: 2e-2,
        schedule: spanwise_artifact::settings::Schedule::Constant,
        eval_steps: Some(4),
        load_best_model_at_end: true,
        ..settings()
    }
}

/// Settings that keep the best model and wait for a better one.
fn patient(patience: Option<usize>) -> TrainTable {
    TrainTable {
        load_best_model_at_end: true,
        early_stopping_patience: patience,
        ..settings()
    }
}

/// A run that has ended.
struct Ended {
    /// The weights that were evaluated after each number of steps.
    candidates: BTreeMap<usize, Vec<f32>>,
    result: Vec<f32>,
    records: Vec<Value>,
}

impl Ended {
    fn end(&self) -> &Value {
        self.records.last().expect("a run ends with a record")
    }

    fn kept_step(&self) -> usize {
        let step = self.end()["kept_step"].as_u64();
        step.and_then(|step| usize::try_from(step).ok())
            .expect("the last record has it")
    }
}

fn run<T: Task<Model = SpanModel>>(
    task: &T,
    settings: &SpanTask,
    device: &Device,
) -> Result<Ended> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("training.jsonl");
    let hyperparameters = settings.hyperparameters(SEED);
    let mut run = RunState::new(span_model(0.1, device)?, &hyperparameters);
    let candidates = RefCell::new(BTreeMap::new());
    let note = |run: &mut RunState<SpanModel>, _: &mut TrainingLog| {
        candidates
            .borrow_mut()
            .insert(run.step, values(run.candidate()));
        Ok(())
    };
    let mut log = TrainingLog::open(&path)?;
    train(task, &hyperparameters, &mut run, &mut log, note)?;
    Ok(Ended {
        candidates: candidates.into_inner(),
        result: values(&run.result()),
        records: jsonl::read(&path)?.collect::<Result<_>>()?,
    })
}

#[test]
fn the_weights_of_the_best_evaluation_are_kept() -> Result<()> {
    let files = Files::new()?;
    // What is kept does not depend on who computes it, and one backend takes a minute.
    for (name, device) in devices().take(1) {
        let device = device.autodiff();
        for ema in [0.0, 0.9] {
            let settings = TrainTable { ema, ..restless() };
            let task = task(&files, &settings, &device, Precision::Fp32)?;
            let ended = run(&task, &task, &device)?;
            let evaluated = |record: &&Value| record.get("dev_loss").is_some();
            let evaluations: Vec<&Value> = ended.records.iter().filter(evaluated).collect();
            assert_eq!(evaluations.len(), 20, "{name}");
            let score = |record: &Value| {
                let number = |key: &str| record[key].as_f64().expect("a number");
                (number("dev_exact_match"), -number("dev_loss"))
            };
            let mut best = evaluations[0];
            for later in &evaluations[1..] {
                if score(later) > score(best) {
                    best = later;
                }
            }
            let kept = ended.kept_step();
            assert_eq!(best["step"], kept, "{name}");
            assert!(kept < 80, "{name}: the last model must not be the best");
            assert_eq!(ended.result, ended.candidates[&kept], "{name}");
            assert_ne!(ended.result, ended.candidates[&80], "{name}");
            for record in &evaluations {
                assert_eq!(record["dev_questions"], 24, "{name}: all of dev");
            }
            let seconds: f64 = numbers(&ended.records, "seconds").iter().sum();
            let all = ended.end()["evaluation_seconds"].as_f64();
            assert!((all.expect("a number") - seconds).abs() < 1e-6, "{name}");

            if ema == 0.0 {
                continue;
            }
            // Saved before and after the best evaluation.
            let model = || span_model(0.1, &device);
            for steps in [kept..=kept, kept + 1..=kept + 1] {
                let hyperparameters = task.hyperparameters(SEED);
                assert_resumes(name, &task, &hyperparameters, steps, model, &device)?;
            }
        }
    }
    Ok(())
}

/// The task with evaluations that are known beforehand.
struct Scripted<'a> {
    task: &'a SpanTask<'a>,
    /// Exact match and loss of one evaluation after the other; the next one is interrupted.
    metrics: &'a [(f64, f64)],
    evaluated: Cell<usize>,
}

impl Task for Scripted<'_> {
    const NAME: &'static str = "train";
    type Model = SpanModel;
    type Item = TrainingExample;
    type Targets = Targets;

    fn items(&self) -> usize {
        self.task.items()
    }

    fn described(&self) -> String {
        self.task.described()
    }

    fn sample(&self, random: &mut StdRng) -> Vec<TrainingExample> {
        self.task.sample(random)
    }

    fn rows(&self, example: &TrainingExample) -> usize {
        self.task.rows(example)
    }

    fn length(&self, example: &TrainingExample) -> usize {
        self.task.length(example)
    }

    fn micro_batches(&self, parts: &[&[TrainingExample]], seed: u64) -> Vec<MicroBatch<Targets>> {
        self.task.micro_batches(parts, seed)
    }

    fn loss(&self, model: &SpanModel, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        self.task.loss(model, hidden, targets)
    }

    fn backward(
        &self,
        pass: &BackwardPass<SpanModel>,
        model: &SpanModel,
        gradients: &mut GradientsAccumulator<SpanModel>,
    ) -> Tensor<1> {
        self.task.backward(pass, model, gradients)
    }

    fn evaluate(&self, _: &SpanModel) -> Result<Option<DevMetrics>> {
        let Some(&(exact_match, loss)) = self.metrics.get(self.evaluated.get()) else {
            bail!("a signal has ended it");
        };
        self.evaluated.set(self.evaluated.get() + 1);
        Ok(Some(DevMetrics {
            loss,
            exact_match,
            questions: 24,
        }))
    }
}

#[test]
fn a_run_ends_when_its_patience_does() -> Result<()> {
    let files = Files::new()?;
    let mut devices = devices();
    let (_, device) = devices.next().expect("flex is always there");
    let device = device.autodiff();
    // An evaluation at the end of each of ten epochs, of 8 steps each.
    let check = |metrics: &[(f64, f64)], patience, kept: usize, steps: usize| -> Result<()> {
        let settings = patient(patience);
        let task = task(&files, &settings, &device, Precision::Fp32)?;
        let scripted = Scripted {
            task: &task,
            metrics,
            evaluated: Cell::new(0),
        };
        let ended = run(&scripted, &task, &device)?;
        let found = (ended.kept_step(), &ended.end()["step"]);
        assert_eq!(found, (kept, &json!(steps)), "{metrics:?}, {patience:?}");
        assert_eq!(ended.result, ended.candidates[&kept], "{metrics:?}");
        // The learning rate is that of all ten epochs.
        let rates = numbers(&ended.records, "learning_rate");
        assert_eq!(rates.len(), steps);
        let expected = 5e-3 * (80 - (steps - 1)) as f64 / 72.0;
        assert!((rates[steps - 1] - expected).abs() < 1e-9, "{rates:?}");
        Ok(())
    };
    let falling: Vec<(f64, f64)> = (0..10).map(|i| (0.5, 2.0 - f64::from(i))).collect();
    check(&falling, Some(1), 80, 80)?;
    let same = [(0.5, 1.0); 10];
    check(&same, Some(1), 8, 16)?;
    check(&same, Some(3), 8, 32)?;
    check(&same, None, 8, 80)?;
    // A higher exact match counts before a lower loss, and the count begins anew.
    let (low, high) = ((0.4, 0.1), (0.5, 0.9));
    let lower_loss = (0.5, 0.8);
    let metrics = [low, low, high, low, lower_loss, low, low, high, high, high];
    check(&metrics, Some(2), 40, 56)?;
    check(&metrics, Some(9), 40, 80)?;
    check(&metrics, Some(1), 8, 16)?;
    Ok(())
}

/// The state of a run, in a folder in which nothing is saved yet.
fn saved_state(folder: &Path) -> Result<SavedState> {
    let file = |name: &str| folder.join(name);
    jsonl::write_document(&file("config.json"), &config(0.1))?;
    let log = file("training.jsonl");
    Ok(SavedState::new(
        file("state"),
        &json!(1),
        file("config.json"),
        log,
    ))
}

#[test]
fn a_run_is_saved_where_its_evaluation_is_interrupted() -> Result<()> {
    let files = Files::new()?;
    let mut devices = devices();
    let (_, device) = devices.next().expect("flex is always there");
    let device = device.autodiff();
    let settings = patient(Some(2));
    let task = task(&files, &settings, &device, Precision::Fp32)?;
    let metrics = [(0.5, 1.0); 10];
    let scripted = |evaluations| Scripted {
        task: &task,
        metrics: &metrics[..evaluations],
        evaluated: Cell::new(0),
    };
    let whole = run(&scripted(10), &task, &device)?;

    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name);
    let state = saved_state(directory.path())?;
    let hyperparameters = task.hyperparameters(SEED);
    let begin = || -> Result<_> {
        let model = span_model(0.1, &device)?;
        Ok(RunState::new(model, &hyperparameters))
    };
    let (mut interrupted, mut saved) = (begin()?, Vec::new());
    let mut log = TrainingLog::open(&file("training.jsonl"))?;
    let result = train(
        &scripted(1),
        &hyperparameters,
        &mut interrupted,
        &mut log,
        |run, log| {
            saved.push(run.step);
            // As where a signal is kept when the second evaluation is under way.
            if saved.ends_with(&[16, 16]) {
                state.save(run, log)?;
            }
            Ok(())
        },
    );
    assert!(
        result.is_err() && saved.ends_with(&[15, 16, 16]),
        "{saved:?}"
    );

    let mut resumed = begin()?;
    assert!(state.restore(&mut resumed, &device)?);
    let mut log = TrainingLog::open(&file("training.jsonl"))?;
    let ok = |_: &mut RunState<SpanModel>, _: &mut TrainingLog| Ok(());
    train(&scripted(10), &hyperparameters, &mut resumed, &mut log, ok)?;
    assert_eq!(resumed.step, 24);
    assert_eq!(values(&resumed.result()), whole.result);
    Ok(())
}

#[test]
fn patience_and_best_weights_survive_an_interruption() -> Result<()> {
    let files = Files::new()?;
    let mut devices = devices();
    let (_, device) = devices.next().expect("flex is always there");
    let device = device.autodiff();
    let settings = patient(Some(3));
    let task = task(&files, &settings, &device, Precision::Fp32)?;
    // Equal every time. Written as a decimal, the loss is read as its upper neighbour, which the next
    // evaluation would be better than.
    let metrics = [(0.5, 1.525_279_464_749_945_5); 10];
    let scripted = || Scripted {
        task: &task,
        metrics: &metrics,
        evaluated: Cell::new(0),
    };
    let whole = run(&scripted(), &task, &device)?;
    assert_eq!(whole.end()["step"], 32);

    let directory = tempfile::tempdir()?;
    let file = |name: &str| directory.path().join(name);
    let state = saved_state(directory.path())?;
    let hyperparameters = task.hyperparameters(SEED);
    let task = scripted();
    let mut stopped_at = 0;
    for stop in [3, 11, 24, 31] {
        let mut run = RunState::new(span_model(0.1, &device)?, &hyperparameters);
        state.restore(&mut run, &device)?;
        assert_eq!(run.step, stopped_at);
        let mut log = TrainingLog::open(&file("training.jsonl"))?;
        let result = train(&task, &hyperparameters, &mut run, &mut log, |run, log| {
            if run.step == stop {
                state.save(run, log)?;
            }
            ensure!(run.step < stop, "the power went out");
            Ok(())
        });
        assert!(result.is_err(), "it has not ended before step {stop}");
        let best = format!("state/{stop}/best/model.safetensors");
        assert_eq!(file(&best).exists(), stop > 8, "after step {stop}");
        stopped_at = stop;
    }
    let mut run = RunState::new(span_model(0.1, &device)?, &hyperparameters);
    assert!(state.restore(&mut run, &device)?);
    let mut log = TrainingLog::open(&file("training.jsonl"))?;
    train(&task, &hyperparameters, &mut run, &mut log, |_, _| Ok(()))?;
    assert_eq!(run.step, 32);
    assert_eq!(values(&run.result()), whole.result);
    assert_eq!(whole.result, whole.candidates[&8]);
    let records: Vec<Value> = jsonl::read(&file("training.jsonl"))?.collect::<Result<_>>()?;
    for key in ["loss", "dev_loss", "learning_rate", "kept_step"] {
        let [whole, found] = [&whole.records, &records].map(|records| numbers(records, key));
        assert_eq!(whole, found, "{key}");
    }
    Ok(())
}

#[test]
fn nothing_is_chosen_without_dev_answers() -> Result<()> {
    let mut files = Files::new()?;
    for question in &mut files.references.questions {
        question.reference = Reference::Unknown;
    }
    let mut devices = devices();
    let (_, device) = devices.next().expect("flex is always there");
    let device = device.autodiff();
    let settings = restless();
    let task = task(&files, &settings, &device, Precision::Fp32)?;
    let error = run(&task, &task, &device).err().expect("it is refused");
    let error = error.downcast::<UserError>()?;
    assert_eq!(
        error.message,
        "train.load_best_model_at_end = true: the best model is chosen by dev questions, and none \
         has an answer in a window"
    );
    Ok(())
}
