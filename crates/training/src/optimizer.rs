//! AdamW with weight decay that spares biases and layer norms, and clipping by global norm.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use spanwise_model::parameters::{self, ParameterPath};
use spanwise_ops::optimizer::{self, AdamWStep, Slot, StepTensors};

/// Names of the two moments in a saved state, behind their parameter's path.
const MOMENTS: [&str; 2] = ["first", "second"];

/// Key of the number of steps in a saved state's metadata.
const STEPS: &str = "steps";

/// Gradients on their way into a step, clipped by their global norm.
pub struct ClippedGradients {
    /// Path, value and gradient of every parameter that has one, flat. The gradients are still
    /// those that came in; `divisor` clips them.
    parameters: Vec<(ParameterPath, Tensor<1>, Tensor<1>)>,
    /// What every gradient is divided by, one element.
    divisor: Tensor<1>,
    norm: Tensor<1>,
}

impl ClippedGradients {
    /// Returns the global norm of the unscaled gradients before clipping, one element.
    pub fn norm(&self) -> Tensor<1> {
        self.norm.clone()
    }

    /// Returns 1 where the gradients have overflowed, else 0, one element.
    pub fn overflowed(&self) -> Tensor<1> {
        self.norm.clone().is_finite().bool_not().float()
    }
}

/// Removes the loss scale from gradients and scales them down to a global norm of `max_norm`.
/// Nothing waits for the device.
///
/// Reference: `torch.nn.utils.clip_grad_norm_`.
pub fn clip<M: Module>(
    model: &M,
    gradients: GradientsParams,
    max_norm: f64,
    loss_scale: Option<&Tensor<1>>,
) -> ClippedGradients {
    let parameters = parameters::with_gradients(model, gradients);
    let gradients = parameters.iter().map(|(_, _, gradient)| gradient.clone());
    let mut norm = optimizer::global_norm(&gradients.collect::<Vec<_>>());
    if let Some(scale) = loss_scale {
        norm = norm / scale.clone();
    }
    let mut divisor = ((norm.clone() + 1e-6) / max_norm).clamp_min(1.0);
    if let Some(scale) = loss_scale {
        divisor = divisor * scale.clone();
    }
    ClippedGradients {
        parameters,
        divisor,
        norm,
    }
}

/// What stays the same through a run.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerSettings {
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Factor on the learning rate from the head to the last layer, from it to the one below, and
    /// so on down to the embeddings: Howard & Ruder, "Universal Language Model Fine-tuning for Text
    /// Classification", arXiv:1801.06146.
    pub layer_decay: f64,
    /// Number of layers with parameters of their own.
    pub layers: usize,
}

/// The optimizer of one training run. Its state belongs to parameters by their path in the model.
pub struct AdamW {
    settings: OptimizerSettings,
    /// Number of steps that were taken, one element: those with gradients that overflowed were not,
    /// and only the device knows at once which these are. `None` before the first.
    steps: Option<Tensor<1>>,
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl AdamW {
    /// An optimizer before its first step.
    pub fn new(settings: OptimizerSettings) -> Self {
        Self {
            settings,
            steps: None,
            moments: BTreeMap::new(),
        }
    }

    /// Writes the state: moments to a safetensors file, the number of steps into its metadata.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut arrays = BTreeMap::new();
        for (parameter, moments) in &self.moments {
            for (name, moment) in MOMENTS.iter().zip(moments) {
                let values = moment
                    .clone()
                    .into_data()
                    .try_into_vec::<f32>()
                    .map_err(|error| anyhow!("{error:?}"))?;
                arrays.insert(format!("{parameter}.{name}"), values);
            }
        }
        let views = arrays
            .iter()
            .map(|(name, values)| {
                let bytes = bytemuck::cast_slice(values);
                Ok((
                    name,
                    TensorView::new(Dtype::F32, vec![values.len()], bytes)?,
                ))
            })
            .collect::<Result<Vec<_>>>()?;
        let steps = match &self.steps {
            Some(steps) => scalar(steps.clone())?,
            None => 0.0,
        };
        let metadata = [(STEPS.to_owned(), steps.to_string())].into();
        safetensors::serialize_to_file(views, Some(metadata), path)
            .with_context(|| format!("write {}", path.display()))
    }

    /// Returns the same optimizer in the state that [`AdamW::save`] wrote. `device` does not record
    /// gradients.
    pub fn restored(&self, path: &Path, device: &Device) -> Result<Self> {
        let bytes = fs_err::read(path)?;
        let read = || -> Result<_> {
            let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
            let steps = metadata.metadata().as_ref().and_then(|all| all.get(STEPS));
            let steps = steps.context("the number of steps is missing")?;
            let steps = Tensor::from_data([steps.parse::<f32>()?], device);
            let arrays = SafeTensors::deserialize(&bytes)?;
            let mut moments = BTreeMap::new();
            for name in arrays.names() {
                let Some(parameter) = name.strip_suffix(&format!(".{}", MOMENTS[0])) else {
                    continue;
                };
                let tensor = |moment: &str| -> Result<Tensor<1>> {
                    let view = arrays.tensor(&format!("{parameter}.{moment}"))?;
                    let values: Vec<f32> = bytemuck::pod_collect_to_vec(view.data());
                    Ok(Tensor::from_data(values.as_slice(), device))
                };
                let both = [tensor(MOMENTS[0])?, tensor(MOMENTS[1])?];
                moments.insert(parameter.to_owned(), both);
            }
            Ok((steps, moments))
        };
        let (steps, moments) = read().with_context(|| format!("read {}", path.display()))?;
        Ok(Self {
            settings: self.settings,
            steps: Some(steps),
            moments,
        })
    }

    /// Returns the model after a step, or as it was where gradients have overflowed. On libtorch the
    /// parameters of `model` change in place too.
    ///
    /// Reference: `torch.optim.AdamW`. Loshchilov & Hutter, "Decoupled Weight Decay
    /// Regularization", arXiv:1711.05101.
    pub fn step<M: Module>(
        &mut self,
        model: M,
        gradients: ClippedGradients,
        learning_rate: f64,
    ) -> M {
        let skipped = gradients.overflowed();
        let steps = self.steps.take();
        let steps = steps.unwrap_or_else(|| skipped.zeros_like());
        let tensors = StepTensors {
            number: steps.clone() + 1.0,
            divisor: gradients.divisor,
            skipped: skipped.clone(),
        };
        self.steps = Some(steps + 1.0 - skipped);
        // One call for all parameters that take the same step.
        let mut groups: BTreeMap<(usize, bool), Vec<(String, Slot)>> = BTreeMap::new();
        for (path, parameter, gradient) in gradients.parameters {
            let group = (self.settings.depth(&path), decays(&path));
            let path = path.to_string();
            let moments = self.moments.remove(&path);
            let [first, second] =
                moments.unwrap_or_else(|| [gradient.zeros_like(), gradient.zeros_like()]);
            let slot = Slot {
                parameter,
                gradient,
                first_moment: first,
                second_moment: second,
            };
            groups.entry(group).or_default().push((path, slot));
        }
        let mut updated = BTreeMap::new();
        for ((depth, decays), group) in groups {
            let (paths, slots): (Vec<String>, Vec<Slot>) = group.into_iter().unzip();
            let step = AdamWStep {
                learning_rate: learning_rate * self.settings.layer_decay.powi(depth as i32),
                weight_decay: if decays {
                    self.settings.weight_decay
                } else {
                    0.0
                },
            };
            let slots = optimizer::step(slots, step, &tensors);
            for (path, slot) in paths.into_iter().zip(slots) {
                let moments = [slot.first_moment, slot.second_moment];
                self.moments.insert(path.clone(), moments);
                updated.insert(path, slot.parameter);
            }
        }
        parameters::map(model, |path, value| {
            updated.remove(&path.to_string()).unwrap_or(value)
        })
    }
}

/// Reads a tensor of one element, which waits for the device.
pub(crate) fn scalar(tensor: Tensor<1>) -> Result<f64> {
    let value = tensor.try_into_scalar::<f32>();
    Ok(f64::from(value.map_err(|error| anyhow!("{error:?}"))?))
}

impl OptimizerSettings {
    /// One learning rate for all parameters.
    pub fn uniform(weight_decay: f64) -> Self {
        Self {
            weight_decay,
            layer_decay: 1.0,
            layers: 0,
        }
    }

    /// Returns how many times the learning rate of a parameter decays; 0 where all are the same.
    fn depth(&self, path: &ParameterPath) -> usize {
        if self.layer_decay == 1.0 || !path.is_in_encoder() {
            return 0;
        }
        let layer = path.layer();
        layer.map_or(self.layers + 1, |layer| self.layers - layer)
    }
}

/// Returns whether a parameter decays: all but biases and layer norms. The bias that stands alone in a
/// masked head, in no layer, decays too, or the results of pre-training would change.
fn decays(path: &ParameterPath) -> bool {
    !path.is_bias_or_norm() || path.names().len() == 1
}
