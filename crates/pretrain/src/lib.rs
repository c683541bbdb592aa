//! Going on with what the encoder was pre-trained by, masked language modelling, on the task's own texts
//! (Gururangan et al., 2020): questions with windows of their paragraphs, as they will be read later.

use anyhow::{Result, anyhow, ensure};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Int, Tensor, TensorData, activation};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use spanwise_artifact::UserError;
use spanwise_artifact::settings::PretrainTable;
use spanwise_artifact::windows::{Layout, Window, WindowFile};
use spanwise_ops::Precision;
use spanwise_program::progress::Progress;

use spanwise_model::batch::{self, Batch, Row, input_length, within_budget};
use spanwise_model::encoder::MaskedModel;
use spanwise_training::backward::Backward;
use spanwise_training::log::TrainingLog;
use spanwise_training::state::Training;
use spanwise_training::{batches::by_length, seed::mix};
use spanwise_training::{mask, schedule};

/// Of the tokens to guess, the share that the model sees as they are, and the share that it sees as another one
/// (Devlin et al., 2019): later it will see no masks.
const KEPT: f64 = 0.1;
const REPLACED: f64 = 0.1;

/// What a run learns from and how.
pub struct Run<'a> {
    /// `[pretrain]`.
    pub settings: &'a PretrainTable,
    /// Decides windows, order, masks and dropout.
    pub seed: u64,
    /// Records gradients.
    pub device: &'a Device,
    /// Of matrix products.
    pub precision: Precision,
    /// Pair template and lengths.
    pub layout: &'a Layout,
    /// The texts.
    pub files: &'a [WindowFile],
}

/// A window of one of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    file: usize,
    window: Window,
}

/// Inputs with hidden tokens, and what was hidden.
struct Masked {
    batch: Batch,
    /// Places in the flattened batch, `[hidden]`.
    places: Tensor<1, Int>,
    /// Vocabulary ids, `[hidden, 1]`.
    ids: Tensor<2, Int>,
    count: usize,
}

impl Run<'_> {
    /// Takes a run to its end. `after_step` sees it after every step.
    pub fn train(
        &self,
        training: &mut Training<MaskedModel>,
        log: &mut TrainingLog,
        mut after_step: impl FnMut(&Training<MaskedModel>) -> Result<()>,
    ) -> Result<()> {
        let settings = self.settings;
        let mask = self.layout.template.mask_id.ok_or_else(|| {
            UserError::new("pre-training needs a masking token, and the tokenizer has none")
        })?;
        let texts: usize = self.files.iter().map(WindowFile::questions).sum();
        ensure!(texts > 0, UserError::new("there is no text to read"));
        let steps_per_epoch = texts.div_ceil(settings.batch_size);
        let total = settings.epochs * steps_per_epoch;
        tracing::info!("{texts} questions with their paragraphs to read, {total} steps");
        let mut progress = Progress::new("pretrain", total - training.step);
        while training.step < total {
            let epoch = training.step / steps_per_epoch;
            let batches = self.batches(epoch);
            for texts in &batches[training.step % steps_per_epoch..] {
                let position = training.step as f64;
                let factor = schedule::factor(settings.schedule, settings.warmup_ratio, position, total);
                let learning_rate = settings.learning_rate * factor;
                let seed = mix(self.seed, training.step as u64);
                let note = training.take_step(epoch, learning_rate, log, |model, scale| {
                    self.gradients(model, texts, mask, seed, scale)
                })?;
                progress.note(note);
                progress.advance(1);
                after_step(training)?;
            }
        }
        Ok(())
    }

    /// The batches of an epoch: every question once, each with a window anywhere in its paragraph.
    fn batches(&self, epoch: usize) -> Vec<Vec<Text>> {
        let mut random = StdRng::seed_from_u64(mix(self.seed, epoch as u64));
        let mut texts = Vec::new();
        for (index, file) in self.files.iter().enumerate() {
            for question in 0..file.questions() {
                let tokens = file.paragraph_tokens(question).len();
                let room = self.layout.room(file.question_tokens(question).len());
                let start = random.random_range(0..=tokens.saturating_sub(room));
                let tokens = start..(start + room).min(tokens);
                texts.push(Text {
                    file: index,
                    window: Window { question, tokens },
                });
            }
        }
        rand::seq::SliceRandom::shuffle(&mut texts[..], &mut random);
        by_length(
            texts,
            |text| self.length(text),
            self.settings.batch_size,
            &mut random,
        )
    }

    fn length(&self, text: &Text) -> usize {
        input_length(&self.files[text.file], self.layout, &text.window)
    }

    /// Mean loss over the hidden tokens of `texts`, the gradients of that loss times `scale`, and the number of
    /// real tokens.
    fn gradients(
        &self,
        model: &MaskedModel,
        texts: &[Text],
        mask: u32,
        seed: u64,
        scale: f64,
    ) -> Result<(f64, GradientsParams, usize)> {
        let mut random = StdRng::seed_from_u64(seed);
        let budget = self.settings.micro_batch_size() * self.layout.max_length;
        let size = |text: &Text| (1, batch::width(self.length(text), self.layout.max_length));
        let inputs: Vec<Masked> = within_budget(texts, size, budget)
            .into_iter()
            .map(|texts| self.hide(texts, mask, &mut random))
            .collect();
        let hidden_tokens: usize = inputs.iter().map(|input| input.count).sum();
        let tokens = inputs.iter().map(|input| input.batch.tokens).sum();
        let mut gradients = GradientsAccumulator::new();
        let mut losses = Vec::new();
        for (index, input) in inputs.iter().enumerate() {
            let backward = Backward {
                model,
                batch: &input.batch,
                precision: self.precision,
                seed: mix(seed, index as u64),
            };
            let loss = |hidden: Tensor<3>| {
                let [rows, tokens, width] = hidden.dims();
                let hidden = hidden
                    .reshape([rows * tokens, width])
                    .select(0, input.places.clone());
                let logits = model.logits(hidden);
                activation::log_softmax(logits, 1)
                    .gather(1, input.ids.clone())
                    .sum()
                    .mul_scalar(-scale / hidden_tokens as f64)
            };
            losses.push(backward.run(false, loss, &mut gradients));
        }
        let loss = Tensor::cat(losses, 0)
            .sum()
            .try_into_scalar::<f32>()
            .map_err(|error| anyhow!("{error:?}"))?;
        Ok((f64::from(loss) / scale, gradients.grads(), tokens))
    }

    /// Hides tokens of questions and paragraphs, at least one together.
    fn hide(&self, texts: &[Text], mask: u32, random: &mut StdRng) -> Masked {
        let mut rows: Vec<Row> = Vec::new();
        let mut hidden: Vec<(usize, usize, u32)> = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            let file = &self.files[text.file];
            let (mut ids, types) = batch::row(file, self.layout, &text.window);
            let parts = batch::text(file, self.layout, &text.window);
            for part in &parts {
                let (share, longest) = (self.settings.mlm_probability, self.settings.longest_mask);
                for place in mask::draw(part, share, longest, random) {
                    hidden.push((index, place, ids[place]));
                    let chance = random.random::<f64>();
                    if chance < REPLACED {
                        // Another token of the same paragraph: as common as tokens of the text are.
                        let tokens = file.paragraph_tokens(text.window.question);
                        ids[place] = tokens[random.random_range(0..tokens.len())];
                    } else if chance >= REPLACED + KEPT {
                        ids[place] = mask;
                    }
                }
            }
            rows.push((ids, types));
        }
        if hidden.is_empty() {
            let [_, paragraph] =
                batch::text(&self.files[texts[0].file], self.layout, &texts[0].window);
            hidden.push((0, paragraph.start, rows[0].0[paragraph.start]));
            rows[0].0[paragraph.start] = mask;
        }
        let batch = Batch::from_rows(&rows, self.layout, self.device);
        let [_, width] = batch.ids.dims();
        let count = hidden.len();
        let (places, ids): (Vec<i64>, Vec<i64>) = hidden
            .into_iter()
            .map(|(row, place, id)| ((row * width + place) as i64, i64::from(id)))
            .unzip();
        Masked {
            places: Tensor::from_data(TensorData::new(places, [count]), self.device),
            ids: Tensor::from_data(TensorData::new(ids, [count, 1]), self.device),
            batch,
            count,
        }
    }
}
