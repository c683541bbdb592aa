//! An average of the weights along a run, often better than the last of them.
//!
//! Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM Journal on
//! Control and Optimization 30 (4), 1992, doi:10.1137/0330046.

use burn::module::Module;
use spanwise_model::parameters;

/// The exponential moving average of a model's parameters.
pub struct AveragedWeights<M> {
    decay: f64,
    model: M,
}

impl<M: Module> AveragedWeights<M> {
    /// Starts with the model as it is.
    pub fn new(model: &M, decay: f64) -> Self {
        // The optimizer writes into parameters in place, so the average needs memory of its own.
        let copy = weighted(model.clone(), model, 0.0);
        Self { decay, model: copy }
    }

    /// Returns the model with the averaged weights.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Replaces the average by one computed earlier.
    pub fn restore(&mut self, model: M) {
        self.model = model;
    }

    /// Moves the average towards `model`, as it is after `step` steps. Early on it moves faster, or
    /// the first weights would count for long.
    pub fn update(&mut self, model: &M, step: usize) {
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        self.model = weighted(self.model.clone(), model, decay);
    }
}

/// Returns `decay · average + (1 − decay) · model`, in new memory.
fn weighted<M: Module>(average: M, model: &M, decay: f64) -> M {
    let mut latest = parameters::named(model).into_iter();
    parameters::map(average, |_, average| {
        let (_, latest) = latest.next().expect("both models have the same parameters");
        average.mul_scalar(decay) + latest.mul_scalar(1.0 - decay)
    })
}
