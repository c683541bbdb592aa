//! What is learned: for every question, where its answer starts and ends among the tokens of
//! windows of its paragraph, or that the window does not answer it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use anyhow::{Result, ensure};
use burn::optim::GradientsAccumulator;
use burn::tensor::{Device, Tensor};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use spanwise_artifact::UserError;
use spanwise_artifact::profile::longest_answer;
use spanwise_artifact::questions::Questions;
use spanwise_artifact::scores::{self, ScoreFile};
use spanwise_artifact::settings::{DistillTable, LearnedReferences, TrainTable};
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_model::SpanModel;
use spanwise_model::batch::Batch;
use spanwise_model::pair_template::{
    Row, answer_range, input_length, input_row, question_and_paragraph_ranges,
};
use spanwise_ops::Precision;
use spanwise_training::log::DevMetrics;
use spanwise_training::{BackwardPass, Hyperparameters, MicroBatch, Task, derive_seed};

use crate::evaluation::{self, Dev};
use crate::loss::{Boundaries, NO_ANSWER, Targets};
use crate::placement;
use crate::regularisers::distillation::{self, SoftTargets};
use crate::regularisers::{adversary, masked_inputs};

/// What is learned from.
#[derive(Clone, Copy)]
pub struct TrainingData<'a> {
    /// Pair template and lengths.
    pub layout: &'a Layout,
    /// Training questions.
    pub train: &'a WindowFile,
    /// An ensemble's scores of the training questions, to learn from as well.
    pub teacher: Option<(&'a ScoreFile, DistillTable)>,
    /// Dev questions and their reference answers, where there are any.
    pub dev: Option<(&'a WindowFile, &'a Questions)>,
}

/// One in so many questions about long paragraphs is learned from by a window without its answer as
/// well, others every epoch. With one of each, where six windows in ten have no answer, a model of
/// two epochs learns that and not to find answers.
const WITHOUT_ANSWER: usize = 4;

/// A question's windows to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingExample {
    /// A window that holds the whole answer, then `negative_windows` from the rest of the
    /// paragraph; or one without an answer.
    pub windows: Vec<Window>,
    /// The paragraph tokens of the answer; `None` where the window does not answer the question.
    pub answer: Option<Range<usize>>,
}

/// Learns spans as `[train]` says.
///
/// Where the paragraphs of some questions do not answer them, windows that do not answer their
/// question are learned from, too, as [`NO_ANSWER`]: one of each unanswerable question, and in
/// addition to the window with the answer one without it, of paragraphs that are longer than a
/// window, for a quarter of the questions. With `negative_windows`, which teach only that the answer
/// is elsewhere, there are none of the latter.
pub struct SpanTask<'a> {
    data: TrainingData<'a>,
    settings: &'a TrainTable,
    device: &'a Device,
    precision: Precision,
    /// The questions that can be learned from.
    questions: Vec<usize>,
    /// Those of them that may be learned from by a window without their answer as well.
    long: Vec<usize>,
    /// Whether there are unanswerable ones among them.
    learns_no_answer: bool,
    /// The longest answer that is looked for on dev, in characters.
    longest_answer: usize,
}

impl<'a> SpanTask<'a> {
    /// The task of learning from `data` on `device`, which records gradients. Refuses data without
    /// a question to learn from, and masked inputs where the tokenizer has no masking token.
    pub fn new(
        data: TrainingData<'a>,
        settings: &'a TrainTable,
        device: &'a Device,
        precision: Precision,
    ) -> Result<Self> {
        let questions = learnable(data.train, data.layout, settings.references);
        ensure!(
            !questions.is_empty(),
            UserError::new(
                "no training question has an answer that fits a window, and none is unanswerable"
            )
        );
        ensure!(
            data.layout.template.mask_id.is_some() || settings.mask_inputs == 0.0,
            UserError::new("train.mask_inputs needs a masking token, and the tokenizer has none")
        );
        if let Some((teacher, _)) = data.teacher {
            check_teacher(teacher, data.train)?;
        }
        let learns_no_answer = data.train.has_unanswerable();
        let mut long = questions.clone();
        long.retain(|&question| {
            learns_no_answer
                && settings.negative_windows == 0
                && has_window_without_answer(data, question)
        });
        Ok(Self {
            data,
            settings,
            device,
            precision,
            questions,
            long,
            learns_no_answer,
            longest_answer: longest_answer(&answer_lengths(data.train)),
        })
    }

    /// Number of questions that are learned from in an epoch by a window with the answer and by one
    /// without it.
    fn learned_twice(&self) -> usize {
        self.long.len().div_ceil(WITHOUT_ANSWER)
    }

    /// Returns what the loop needs to know of the settings.
    pub fn hyperparameters(&self, seed: u64) -> Hyperparameters {
        let settings = self.settings;
        Hyperparameters {
            seed,
            epochs: settings.epochs,
            max_minutes: settings.max_minutes,
            batch_size: settings.batch_size,
            micro_batch_size: settings.micro_batch_size(),
            max_length: self.data.layout.max_length,
            learning_rate: settings.learning_rate,
            schedule: settings.schedule,
            warmup_ratio: settings.warmup_ratio,
            weight_decay: settings.weight_decay,
            max_grad_norm: settings.max_grad_norm,
            layer_decay: settings.layer_decay,
            ema: settings.ema,
            precision: self.precision,
            gradient_checkpointing: settings.gradient_checkpointing,
            eval_steps: settings.eval_steps,
            load_best_model_at_end: settings.load_best_model_at_end,
            early_stopping_patience: settings.early_stopping_patience,
        }
    }

    /// Samples a question's windows, with `twice` one without its answer among them.
    fn examples(&self, question: usize, twice: bool, random: &mut StdRng) -> Vec<TrainingExample> {
        let TrainingData { train, layout, .. } = self.data;
        let tokens = train.paragraph_tokens(question).len();
        let room = room(train, layout, question);
        let window = |tokens| Window { question, tokens };
        let without_answer = |tokens| TrainingExample {
            windows: vec![window(tokens)],
            answer: None,
        };
        if train.is_unanswerable(question) {
            return vec![without_answer(placement::anywhere(tokens, room, random))];
        }
        let answers = answers_that_fit(train, layout, self.settings.references, question);
        let answer = match answers.len() {
            0 => return Vec::new(),
            1 => answers[0].clone(),
            several => answers[random.random_range(0..several)].clone(),
        };
        let around = placement::around(layout.placement, tokens, room, answer.clone(), random);
        let positive = around.expect("an answer that fits the window");
        let all = every_answer(train, question).unwrap_or(answer.clone());
        let negatives = (0..self.settings.negative_windows)
            .filter_map(|_| placement::without(tokens, room, all.clone(), random));
        let windows = std::iter::once(positive).chain(negatives);
        let mut examples = vec![TrainingExample {
            windows: windows.map(window).collect(),
            answer: Some(answer),
        }];
        if twice {
            examples.extend(placement::without(tokens, room, all, random).map(without_answer));
        }
        examples
    }

    fn micro_batch(&self, examples: &[TrainingExample], seed: u64) -> MicroBatch<Targets> {
        let mut random = StdRng::seed_from_u64(seed);
        let mut rows = Vec::new();
        for example in examples {
            for window in &example.windows {
                rows.push(self.row(window, example.answer.as_ref(), &mut random));
            }
        }
        let once = Batch::from_rows(&rows, self.data.layout, self.device);
        MicroBatch {
            targets: self.targets(examples, &once.mask),
            losses: examples.len(),
            tokens: once.tokens,
            input: if self.settings.r_drop > 0.0 {
                once.twice()
            } else {
                once
            },
        }
    }

    /// Returns a window's input, some of its tokens masked where that is asked for, but none of the
    /// answer's.
    fn row(&self, window: &Window, answer: Option<&Range<usize>>, random: &mut StdRng) -> Row {
        let TrainingData { train, layout, .. } = self.data;
        let (mut ids, types) = input_row(train, layout, window);
        let probability = self.settings.mask_inputs;
        if let Some(mask) = layout.template.mask_id.filter(|_| probability > 0.0) {
            let texts = question_and_paragraph_ranges(train, layout, window);
            let answer = answer.and_then(|answer| answer_range(train, layout, window, answer));
            masked_inputs::mask(&mut ids, &texts, answer, probability, mask, random);
        }
        (ids, types)
    }

    /// Returns the labels of examples. `mask`: their rows', `[rows, tokens]`.
    fn targets(&self, examples: &[TrainingExample], mask: &Tensor<2>) -> Targets {
        let TrainingData { train, layout, .. } = self.data;
        let boundaries = examples.iter().map(|example| Boundaries {
            answer: match &example.answer {
                Some(answer) => answer_range(train, layout, &example.windows[0], answer)
                    .expect("an example's first window has its answer"),
                None => NO_ANSWER,
            },
            rows: example.windows.len(),
        });
        let boundaries: Vec<_> = boundaries.collect();
        let targets = Targets::new(&boundaries, self.settings.soft_labels, mask);
        let Some((teacher, settings)) = self.data.teacher else {
            return targets;
        };
        let soft_targets = examples.iter().map(|example| {
            let window = &example.windows[0];
            let [_, paragraph] = question_and_paragraph_ranges(train, layout, window);
            if example.answer.is_none() && !train.is_unanswerable(window.question) {
                // The teacher's scores are those of all windows together, and not of this one.
                return SoftTargets::no_answer(paragraph);
            }
            let scores = teacher.get(window.question);
            let (scores, whole) = scores.expect("all were read when the task was made");
            let null = self.learns_no_answer.then_some(whole.null);
            let temperature = settings.temperature as f32;
            let first = paragraph.start;
            distillation::soft_targets(train, window, first, scores.view(), null, temperature)
        });
        targets.with_teacher(&soft_targets.collect::<Vec<_>>(), settings)
    }

    /// Returns the dev split; `None` where there is none.
    fn dev(&self) -> Option<Dev<'_>> {
        let (windows, references) = self.data.dev?;
        Some(Dev {
            windows,
            references,
            layout: self.data.layout,
            device: self.device,
            precision: self.precision,
            knows_no_answer: self.learns_no_answer,
            longest_answer: self.longest_answer,
            // Without activations to keep, twice as many fit.
            tokens_per_pass: 2 * self.settings.micro_batch_size() * self.data.layout.max_length,
        })
    }

    /// Returns loss and task exact match on so many dev questions; `None` where none can be
    /// measured.
    fn dev_metrics(&self, model: &SpanModel, questions: usize) -> Result<Option<DevMetrics>> {
        match self.dev() {
            Some(dev) => evaluation::evaluate(model, dev, questions),
            None => Ok(None),
        }
    }
}

/// Whether a question's paragraph has a window without the answer.
fn has_window_without_answer(data: TrainingData, question: usize) -> bool {
    let TrainingData { train, layout, .. } = data;
    let tokens = train.paragraph_tokens(question).len();
    let answers = every_answer(train, question);
    tokens > room(train, layout, question)
        && answers.is_some_and(|answers| placement::leaves_room(tokens, &answers))
}

impl Task for SpanTask<'_> {
    const NAME: &'static str = "train";
    type Model = SpanModel;
    type Item = TrainingExample;
    type Targets = Targets;

    fn items(&self) -> usize {
        self.questions.len() + self.learned_twice()
    }

    fn described(&self) -> String {
        let questions = self.questions.len();
        match self.learned_twice() {
            0 => format!("{questions} questions to learn from"),
            twice => format!(
                "{questions} questions to learn from, {twice} of them also by a window without the answer"
            ),
        }
    }

    fn sample(&self, random: &mut StdRng) -> Vec<TrainingExample> {
        let mut twice = self.long.clone();
        let (twice, _) = twice.partial_shuffle(random, self.learned_twice());
        let twice: HashSet<usize> = twice.iter().copied().collect();
        let questions = self.questions.iter();
        questions
            .flat_map(|question| self.examples(*question, twice.contains(question), random))
            .collect()
    }

    fn rows(&self, example: &TrainingExample) -> usize {
        let copies = if self.settings.r_drop > 0.0 { 2 } else { 1 };
        copies * example.windows.len()
    }

    fn length(&self, example: &TrainingExample) -> usize {
        let TrainingData { train, layout, .. } = self.data;
        let windows = example.windows.iter();
        let lengths = windows.map(|window| input_length(train, layout, window));
        lengths.max().unwrap_or(0)
    }

    fn micro_batches(&self, parts: &[&[TrainingExample]], seed: u64) -> Vec<MicroBatch<Targets>> {
        let parts = parts.iter().enumerate();
        parts
            .map(|(index, examples)| self.micro_batch(examples, derive_seed(seed, index as u64)))
            .collect()
    }

    fn loss(&self, model: &SpanModel, hidden: Tensor<3>, targets: &Targets) -> Tensor<1> {
        targets.loss(model, &hidden, self.settings)
    }

    fn backward(
        &self,
        pass: &BackwardPass<SpanModel>,
        model: &SpanModel,
        gradients: &mut GradientsAccumulator<SpanModel>,
    ) -> Tensor<1> {
        if self.settings.fgm > 0.0 {
            adversary::backward(pass, model, self.settings.fgm, gradients)
        } else {
            pass(model, gradients)
        }
    }

    fn check(&self, model: &SpanModel) -> Result<()> {
        if let Some((_, references)) = self.data.dev
            && references.questions.iter().all(|q| q.answers().is_empty())
        {
            tracing::info!("no dev question has an answer: nothing is measured while training");
        }
        ensure!(
            !self.settings.load_best_model_at_end
                || self.dev().is_some_and(evaluation::is_measurable),
            UserError::new(
                "train.load_best_model_at_end = true: the best model is chosen by dev questions, \
                 and none has an answer in a window"
            )
            .hint("name labelled questions under data.dev, or leave the key out")
        );
        self.dev_metrics(model, evaluation::FIRST_QUESTIONS)
            .map(drop)
    }

    fn evaluate(&self, model: &SpanModel) -> Result<Option<DevMetrics>> {
        let questions = if self.settings.load_best_model_at_end {
            usize::MAX
        } else {
            evaluation::QUESTIONS
        };
        self.dev_metrics(model, questions)
    }
}

/// Refuses a teacher that has scored other questions than those to learn from, or whose scores
/// cannot be read.
fn check_teacher(teacher: &ScoreFile, train: &WindowFile) -> Result<()> {
    let lengths = (0..train.questions()).map(|question| train.paragraph_characters(question));
    ensure!(
        teacher.lengths().eq(lengths),
        UserError::new("the teacher has scored other questions than those to learn from")
    );
    for range in scores::ranges(teacher.lengths(), 1 << 20) {
        teacher.read(range)?;
    }
    Ok(())
}

/// Returns the number of questions by the length of their training answer in characters.
fn answer_lengths(train: &WindowFile) -> BTreeMap<usize, usize> {
    let mut lengths = BTreeMap::new();
    for question in 0..train.questions() {
        if let Some(answer) = train.answer(question) {
            let first = train.characters(question, answer.start);
            let last = train.characters(question, answer.end - 1);
            *lengths.entry(last.end - first.start).or_default() += 1;
        }
    }
    lengths
}

/// Returns the questions that can be learned from: those with an answer that fits a window, and
/// those that are unanswerable.
fn learnable(train: &WindowFile, layout: &Layout, references: LearnedReferences) -> Vec<usize> {
    let is_learnable = |&question: &usize| {
        train.is_unanswerable(question)
            || !answers_that_fit(train, layout, references, question).is_empty()
    };
    (0..train.questions()).filter(is_learnable).collect()
}

/// Returns the paragraph tokens that fit into a window of a question.
fn room(train: &WindowFile, layout: &Layout, question: usize) -> usize {
    layout.room(train.question_tokens(question).len())
}

/// Returns the paragraph tokens of the answers to learn from that fit a window.
fn answers_that_fit(
    train: &WindowFile,
    layout: &Layout,
    references: LearnedReferences,
    question: usize,
) -> Vec<Range<usize>> {
    let room = room(train, layout, question);
    let answers = train.answers(question);
    let count = match references {
        LearnedReferences::First => 1,
        LearnedReferences::All => answers.len(),
    };
    let fitting = answers.filter(|answer| answer.len() <= room);
    fitting.take(count).collect()
}

/// Returns the paragraph tokens from the first to the last of all reference answers; `None` where
/// there is none.
fn every_answer(train: &WindowFile, question: usize) -> Option<Range<usize>> {
    let answers = train.answers(question);
    answers.reduce(|all, answer| all.start.min(answer.start)..all.end.max(answer.end))
}
