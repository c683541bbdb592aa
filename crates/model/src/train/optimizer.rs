//! AdamW with weight decay that spares biases and layer norms, and clipping by global norm.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use spanwise_ops::optimizer::{self, Slot};

/// The optimizer of one training run. Its state belongs to parameters by their path in the model.
pub struct AdamW {
    weight_decay: f64,
    max_grad_norm: f64,
    steps: usize,
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl AdamW {
    /// An optimizer that has seen nothing.
    pub fn new(weight_decay: f64, max_grad_norm: f64) -> Self {
        Self {
            weight_decay,
            max_grad_norm,
            steps: 0,
            moments: BTreeMap::new(),
        }
    }

    /// Takes a step with gradients divided by `loss_scale` and scaled down to the largest norm allowed;
    /// returns the norm between the two.
    ///
    /// A step whose gradients are not finite is not taken. Reference: `torch.nn.utils.clip_grad_norm_` and
    /// `torch.optim.AdamW`.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        gradients: GradientsParams,
        learning_rate: f64,
        loss_scale: f64,
    ) -> Result<(M, f64)> {
        let mut collector = Collector {
            path: Vec::new(),
            gradients,
            moments: &mut self.moments,
            slots: Vec::new(),
        };
        model.visit(&mut collector);
        let slots = collector.slots;
        let gradients: Vec<Tensor<1>> = slots
            .iter()
            .map(|(_, slot)| slot.gradient.clone())
            .collect();
        let norm = optimizer::global_norm(&gradients).div_scalar(loss_scale);
        drop(gradients);
        let clip = ((norm.clone() + 1e-6) / self.max_grad_norm).clamp_min(1.0);
        let norm = norm
            .try_into_scalar::<f32>()
            .map_err(|error| anyhow!("{error:?}"))?;
        if !norm.is_finite() {
            self.moments.extend(
                slots
                    .into_iter()
                    .map(|(path, slot)| (path, [slot.first, slot.second])),
            );
            return Ok((model, f64::from(norm)));
        }

        self.steps += 1;
        let divisor = clip.mul_scalar(loss_scale);
        let (spared, decayed): (Vec<_>, Vec<_>) =
            slots.into_iter().partition(|(path, _)| is_spared(path));
        let mut updated = BTreeMap::new();
        for (group, weight_decay) in [(decayed, self.weight_decay), (spared, 0.0)] {
            let (paths, slots): (Vec<String>, Vec<Slot>) = group.into_iter().unzip();
            let settings = optimizer::AdamW {
                step: self.steps,
                learning_rate,
                weight_decay,
            };
            for (path, slot) in paths
                .into_iter()
                .zip(optimizer::step(slots, settings, &divisor))
            {
                self.moments.insert(path.clone(), [slot.first, slot.second]);
                updated.insert(path, slot.parameter);
            }
        }
        let mut writer = Writer {
            path: Vec::new(),
            updated,
        };
        Ok((model.map(&mut writer), f64::from(norm)))
    }
}

/// Whether weight decay leaves a parameter alone: biases and layer norms.
fn is_spared(path: &str) -> bool {
    [".bias", ".gamma", ".beta"]
        .iter()
        .any(|end| path.ends_with(end))
}

/// Takes every parameter that has a gradient, with its moments.
struct Collector<'a> {
    path: Vec<String>,
    gradients: GradientsParams,
    moments: &'a mut BTreeMap<String, [Tensor<1>; 2]>,
    slots: Vec<(String, Slot)>,
}

impl ModuleVisitor for Collector<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else {
            return;
        };
        let path = self.path.join(".");
        let gradient = flat(gradient);
        let [first, second] = self
            .moments
            .remove(&path)
            .unwrap_or_else(|| [gradient.zeros_like(), gradient.zeros_like()]);
        let slot = Slot {
            parameter: flat(param.val().inner()),
            gradient,
            first,
            second,
        };
        self.slots.push((path, slot));
    }
}

/// Puts updated parameters back into the model.
struct Writer {
    path: Vec<String>,
    updated: BTreeMap<String, Tensor<1>>,
}

impl ModuleMapper for Writer {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.updated.remove(&self.path.join(".")) {
            Some(value) => param.map(|old| {
                let value = value.reshape(old.dims());
                Tensor::from_inner(value).require_grad()
            }),
            None => param,
        }
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let count = tensor.shape().num_elements();
    tensor.reshape([count])
}
