//! AdamW with weight decay that spares biases and layer norms, and clipping by global norm.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use spanwise_ops::optimizer::{self, AdamWStep, Slot};

/// Names of the two moments in a saved state, behind their parameter's path.
const MOMENTS: [&str; 2] = ["first", "second"];

/// Key of the number of steps in a saved state's metadata.
const STEPS: &str = "steps";

/// What stays the same through a run.
#[derive(Debug, Clone, Copy)]
pub struct OptimizerSettings {
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Largest global norm of the gradients.
    pub max_grad_norm: f64,
    /// Factor on the learning rate from the head to the last layer, from it to the one below, and so on down to the
    /// embeddings (ULMFiT; Howard & Ruder, 2018).
    pub layer_decay: f64,
    /// Number of layers with parameters of their own.
    pub layers: usize,
}

/// The optimizer of one training run. Its state belongs to parameters by their path in the model.
pub struct AdamW {
    settings: OptimizerSettings,
    steps: usize,
    moments: BTreeMap<String, [Tensor<1>; 2]>,
}

impl AdamW {
    /// An optimizer that has seen nothing.
    pub fn new(settings: OptimizerSettings) -> Self {
        Self {
            settings,
            steps: 0,
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
        let metadata = [(STEPS.to_owned(), self.steps.to_string())].into();
        safetensors::serialize_to_file(views, Some(metadata), path)
            .with_context(|| format!("write {}", path.display()))
    }

    /// Takes up the state that [`AdamW::save`] wrote. `device` does not record gradients.
    pub fn restore(&mut self, path: &Path, device: &Device) -> Result<()> {
        let bytes = fs_err::read(path)?;
        let read = || -> Result<_> {
            let (_, metadata) = SafeTensors::read_metadata(&bytes)?;
            let steps = metadata.metadata().as_ref().and_then(|all| all.get(STEPS));
            let steps = steps.context("the number of steps is missing")?.parse()?;
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
        (self.steps, self.moments) = read().with_context(|| format!("read {}", path.display()))?;
        Ok(())
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
        let clip = ((norm.clone() + 1e-6) / self.settings.max_grad_norm).clamp_min(1.0);
        let norm = norm
            .try_into_scalar::<f32>()
            .map_err(|error| anyhow!("{error:?}"))?;
        if !norm.is_finite() {
            self.moments.extend(
                slots
                    .into_iter()
                    .map(|(path, slot)| (path, [slot.first_moment, slot.second_moment])),
            );
            return Ok((model, f64::from(norm)));
        }

        self.steps += 1;
        let divisor = clip.mul_scalar(loss_scale);
        // One call for all parameters that take the same step.
        let mut groups: BTreeMap<(usize, bool), Vec<(String, Slot)>> = BTreeMap::new();
        for (path, slot) in slots {
            let group = (self.settings.depth(&path), is_spared(&path));
            groups.entry(group).or_default().push((path, slot));
        }
        let mut updated = BTreeMap::new();
        for ((depth, spared), group) in groups {
            let (paths, slots): (Vec<String>, Vec<Slot>) = group.into_iter().unzip();
            let step = AdamWStep {
                number: self.steps,
                learning_rate: learning_rate * self.settings.layer_decay.powi(depth as i32),
                weight_decay: if spared {
                    0.0
                } else {
                    self.settings.weight_decay
                },
            };
            for (path, slot) in paths
                .into_iter()
                .zip(optimizer::step(slots, step, &divisor))
            {
                self.moments
                    .insert(path.clone(), [slot.first_moment, slot.second_moment]);
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

impl OptimizerSettings {
    /// One learning rate for all.
    pub fn uniform(weight_decay: f64, max_grad_norm: f64) -> Self {
        Self {
            weight_decay,
            max_grad_norm,
            layer_decay: 1.0,
            layers: 0,
        }
    }

    /// How many times the learning rate of a parameter decays: not at all where all are the same.
    fn depth(&self, path: &str) -> usize {
        let mut parts = path.split('.');
        if self.layer_decay == 1.0 || parts.next() != Some("encoder") {
            return 0;
        }
        let layer = (parts.next() == Some("layers"))
            .then(|| parts.next()?.parse::<usize>().ok())
            .flatten();
        layer.map_or(self.layers + 1, |layer| self.layers - layer)
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
        let [first_moment, second_moment] = self
            .moments
            .remove(&path)
            .unwrap_or_else(|| [gradient.zeros_like(), gradient.zeros_like()]);
        let slot = Slot {
            parameter: flat(param.val().inner()),
            gradient,
            first_moment,
            second_moment,
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
