//! AdamW (Loshchilov & Hutter, 2019) with weight decay that spares biases and layer norms, and clipping
//! by global norm.

use anyhow::{Result, anyhow};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Tensor;

/// The optimizer of one training run, with PyTorch's betas and epsilon.
pub fn adamw(weight_decay: f64) -> Result<ModuleOptimizer> {
    let config = AdamWConfig::new()
        .with_beta_1(0.9)
        .with_beta_2(0.999)
        .with_epsilon(1e-8);
    let spared = ParamGroup::from_any_regexes(vec![r"\.bias$", r"\.gamma$", r"\.beta$"])
        .map_err(|error| anyhow!("{error:?}"))?;
    let decayed = config.clone().with_weight_decay(weight_decay as f32).init();
    Ok(decayed.with_group(spared, config.with_weight_decay(0.0).build(), None))
}

/// Scales all gradients down so that their global L2 norm is at most `max_norm`; returns the norm before.
///
/// Reference: `torch.nn.utils.clip_grad_norm_`.
pub fn clip_by_global_norm<M: Module>(
    model: &M,
    gradients: &mut GradientsParams,
    max_norm: f64,
) -> Result<f64> {
    let mut squares = SquaredNorms {
        gradients,
        sums: Vec::new(),
    };
    model.visit(&mut squares);
    // One read for all: each would wait for the device.
    let total = Tensor::cat(squares.sums, 0)
        .sum()
        .try_into_scalar::<f32>()
        .map_err(|error| anyhow!("{error:?}"))?;
    let norm = f64::from(total).sqrt();
    if norm > max_norm {
        model.visit(&mut Scale {
            gradients,
            factor: max_norm / (norm + 1e-6),
        });
    }
    Ok(norm)
}

struct SquaredNorms<'a> {
    gradients: &'a GradientsParams,
    sums: Vec<Tensor<1>>,
}

impl ModuleVisitor for SquaredNorms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(param.id) {
            self.sums.push(gradient.square().sum());
        }
    }
}

struct Scale<'a> {
    gradients: &'a mut GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.remove::<D>(param.id) {
            self.gradients
                .register(param.id, gradient.mul_scalar(self.factor));
        }
    }
}
