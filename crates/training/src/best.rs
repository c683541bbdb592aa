//! The weights of the best evaluation of a run, and when to give up waiting for a better one.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};
use spanwise_model::parameters;

use crate::log::Evaluation;

/// The best weights so far, by the task exact match on dev, then the lower loss, then the earlier
/// step.
///
/// They are in the host's memory, 4 bytes a parameter, whatever the model's device is: it has no
/// room to spare.
pub(crate) struct BestWeights {
    patience: Option<usize>,
    record: Option<BestRecord>,
    /// Flat values of every parameter, in the order of [`parameters::named`].
    values: Vec<Vec<f32>>,
}

/// The best evaluation, as it is saved beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct BestRecord {
    evaluation: Evaluation,
    /// Evaluations since then.
    evaluations_since: usize,
    /// Bits of exact match and loss: a float that is written as a decimal may be read as its
    /// neighbour, which would decide a tie.
    bits: [u64; 2],
}

impl BestRecord {
    fn new(evaluation: Evaluation) -> Self {
        Self {
            evaluations_since: 0,
            bits: [evaluation.dev_exact_match, evaluation.dev_loss].map(f64::to_bits),
            evaluation,
        }
    }

    fn is_worse_than(&self, other: &Evaluation) -> bool {
        let [exact_match, loss] = self.bits.map(f64::from_bits);
        other.dev_exact_match > exact_match
            || (other.dev_exact_match == exact_match && other.dev_loss < loss)
    }
}

impl BestWeights {
    /// None yet. `patience`: evaluations without a better one to wait for.
    pub(crate) fn new(patience: Option<usize>) -> Self {
        Self {
            patience,
            record: None,
            values: Vec::new(),
        }
    }

    /// Takes an evaluation of `model` into account: keeps its weights where none before were better.
    pub(crate) fn consider<M: Module>(&mut self, evaluation: Evaluation, model: &M) {
        match &mut self.record {
            Some(best) if !best.is_worse_than(&evaluation) => best.evaluations_since += 1,
            _ => self.keep(BestRecord::new(evaluation), model),
        }
    }

    /// Replaces what is kept.
    pub(crate) fn keep<M: Module>(&mut self, record: BestRecord, model: &M) {
        let values = parameters::named(model).into_iter().map(|(_, tensor)| {
            let values = tensor.into_data().try_into_vec::<f32>();
            values.expect("parameters are f32")
        });
        self.values = values.collect();
        self.record = Some(record);
    }

    /// What is saved; `None` before the first evaluation.
    pub(crate) fn record(&self) -> Option<&BestRecord> {
        self.record.as_ref()
    }

    /// The best evaluation; `None` before the first.
    pub(crate) fn evaluation(&self) -> Option<&Evaluation> {
        self.record.as_ref().map(|best| &best.evaluation)
    }

    /// Whether so many evaluations have passed without a better one that no more are waited for.
    pub(crate) fn is_out_of_patience(&self) -> bool {
        let since = self.record.as_ref().map(|best| best.evaluations_since);
        self.patience
            .zip(since)
            .is_some_and(|(patience, since)| since >= patience)
    }

    /// Returns `model`, whatever its weights and its device are, with the best weights; as it is
    /// before the first evaluation.
    pub(crate) fn model<M: Module>(&self, model: M) -> M {
        if self.record.is_none() {
            return model;
        }
        let mut values = self.values.iter();
        parameters::map(model, |_, now| {
            let values = values.next().expect("both have the same parameters");
            let count = values.len();
            Tensor::from_data(TensorData::new(values.clone(), [count]), &now.device())
        })
    }
}
