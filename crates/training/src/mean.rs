//! A running mean of the weights, which is often better than the last of them (Polyak & Juditsky, 1992).

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

/// The exponential moving average of a model's parameters.
pub struct RunningMean<M> {
    decay: f64,
    model: M,
}

impl<M: Module> RunningMean<M> {
    /// Begins with the model as it is.
    pub fn new(model: &M, decay: f64) -> Self {
        // The optimizer writes into parameters where they are, so the mean needs memory of its own.
        let copy = Self::blend(model.clone(), model, 0.0);
        Self { decay, model: copy }
    }

    /// The mean.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Takes up a mean computed earlier.
    pub fn restore(&mut self, model: M) {
        self.model = model;
    }

    /// Moves the mean towards `model`, as it is after `step` steps. Early on it moves faster, or the first weights
    /// would count for long.
    pub fn update(&mut self, model: &M, step: usize) {
        let step = step as f64;
        let decay = self.decay.min((1.0 + step) / (10.0 + step));
        self.model = Self::blend(self.model.clone(), model, decay);
    }

    /// `decay · mean + (1 − decay) · model`, in new memory.
    fn blend(mean: M, model: &M, decay: f64) -> M {
        let mut parameters = Parameters(Vec::new());
        model.visit(&mut parameters);
        let mut blend = Blend {
            latest: parameters.0.into_iter(),
            decay,
        };
        mean.map(&mut blend)
    }
}

/// All parameters, flat, in the order in which every model of this kind is walked through.
struct Parameters(Vec<Tensor<1>>);

impl ModuleVisitor for Parameters {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().inner();
        let count = value.shape().num_elements();
        self.0.push(value.reshape([count]));
    }
}

struct Blend {
    latest: std::vec::IntoIter<Tensor<1>>,
    decay: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let latest = self.latest.next().expect("both models are alike");
        let decay = self.decay;
        param.map(|mean| {
            let latest = latest.reshape(mean.dims());
            let blended = mean.inner().mul_scalar(decay) + latest.mul_scalar(1.0 - decay);
            Tensor::from_inner(blended).require_grad()
        })
    }
}
