//! Parameters from and to `model.safetensors`, under Hugging Face's names.
//!
//! The names that a family's checkpoints have are in [`spanwise_config::families`] and serve both
//! directions.
//! PyTorch keeps a linear layer's matrix as `[outputs, inputs]`, this project as `[inputs,
//! outputs]`; it is transposed on the way.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail, ensure};
use burn::module::{ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use spanwise_artifact::text::some_of;
use spanwise_artifact::{UserError, columns};
use spanwise_config::EncoderConfig;

use crate::encoder::EncoderModel;
use crate::parameters::{self, ParameterPath};
use spanwise_config::families::Family;
use spanwise_config::tensors::SPAN_HEAD;

/// How the checkpoints of a configuration call the parameters of a model.
#[derive(Clone, Copy)]
struct CheckpointNames {
    family: &'static Family,
    layers_per_group: usize,
}

impl CheckpointNames {
    fn of(config: &EncoderConfig) -> Self {
        Self {
            family: config.family,
            layers_per_group: config.inner_group_num,
        }
    }

    /// Returns a parameter's name. That of a head's parameter lacks the family's prefix.
    fn of_parameter(self, path: &ParameterPath) -> String {
        let (parameter, module) = path.names().split_last().expect("a parameter has a name");
        let parameter = match parameter.as_str() {
            "gamma" => "weight",
            "beta" => "bias",
            same => same,
        };
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        let Family { prefix, names, .. } = self.family;
        match module[..] {
            ["span_head"] => format!("{SPAN_HEAD}.{parameter}"),
            ["transform"] => format!("{}.{parameter}", names.masked_head.transform),
            ["norm"] => format!("{}.{parameter}", names.masked_head.norm),
            [] => format!("{}.{parameter}", names.masked_head.bias),
            ["encoder", "projection"] => format!("{prefix}{}.{parameter}", names.projection),
            ["encoder", "embeddings", part] => {
                let part = find(names.embeddings, part);
                format!("{prefix}embeddings.{part}.{parameter}")
            }
            ["encoder", "layers", index, part] => {
                let index = index.parse().expect("layers are numbered");
                let layer = self.family.layer_name(index, self.layers_per_group);
                let part = find(names.layer_parts, part);
                format!("{prefix}{layer}.{part}.{parameter}")
            }
            _ => unreachable!("the model has no part {module:?}"),
        }
    }
}

fn find(table: &[(&str, &'static str)], part: &str) -> &'static str {
    let found = table.iter().find(|(ours, _)| *ours == part);
    let (_, theirs) = found.expect("the table names every part of the model");
    theirs
}

/// Builds the model of a checkpoint directory's `config.json` and fills it from its
/// `model.safetensors`.
///
/// Parameters of other heads are ignored. The parameters of a missing head are sampled from
/// `device`'s generator, and their names returned.
///
/// # Errors
/// Fails with a [`UserError`] where any other parameter is missing, has another shape than
/// `config.json` says, or holds NaN or infinity.
pub fn load<M: EncoderModel>(directory: &Path, device: &Device) -> Result<(M, Vec<String>)> {
    let config = EncoderConfig::read(&directory.join("config.json"))?;
    let path = directory.join("model.safetensors");
    let map = columns::map(&path)?;
    let tensors =
        SafeTensors::deserialize(&map).with_context(|| format!("read {}", path.display()))?;

    // Before anything of a size that only config.json has is made.
    config.refuse_other_tensors("the checkpoint", |tensor| {
        Some(tensors.tensor(tensor).ok()?.shape().to_vec())
    })?;
    let mut loader = Loader {
        tensors,
        names: CheckpointNames::of(&config),
        path: ParameterPath::default(),
        device,
        missing: Vec::new(),
        problems: Vec::new(),
    };
    let model = M::new(&config, device).map(&mut loader);
    let Loader {
        missing, problems, ..
    } = loader;
    ensure!(
        problems.is_empty(),
        UserError::new(format!(
            "the checkpoint's weights cannot be used: {}",
            some_of(&problems)
        ))
        .hint("fetch the checkpoint again, or choose another one")
    );
    Ok((model, missing))
}

/// Writes the parameters of a model that `config` describes, as f32 under Hugging Face's names.
pub fn save<M: EncoderModel>(model: &M, config: &EncoderConfig, path: &Path) -> Result<()> {
    let names = CheckpointNames::of(config);
    let mut tensors = BTreeMap::new();
    for (path, values) in parameters::named(model) {
        let mut values = values
            .into_data()
            .try_into_vec::<f32>()
            .expect("parameters are f32");
        let mut shape = path.shape().to_vec();
        if path.is_linear_matrix() {
            values = transpose(&values, shape[0], shape[1]);
            shape.reverse();
        }
        tensors.insert(names.of_parameter(&path), (shape, values));
    }
    let views = tensors
        .iter()
        .map(|(name, (shape, values))| {
            let bytes = bytemuck::cast_slice(values);
            Ok((
                name.as_str(),
                TensorView::new(Dtype::F32, shape.clone(), bytes)?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(views, Some(metadata), path)
        .with_context(|| format!("write {}", path.display()))
}

/// Replaces the parameters of a model by those of a file. Unlike [`parameters::map`], it does not
/// ask for their present values, which would sample them.
struct Loader<'a> {
    tensors: SafeTensors<'a>,
    names: CheckpointNames,
    path: ParameterPath,
    device: &'a Device,
    missing: Vec<String>,
    problems: Vec<String>,
}

impl Loader<'_> {
    /// Returns the parameter's values in this project's layout; `None` where the file has none.
    fn read(&self, name: &str, path: &ParameterPath) -> Result<Option<Vec<f32>>> {
        let prefix = self.names.family.prefix;
        let unprefixed = name.strip_prefix(prefix).unwrap_or(name);
        let Ok(view) = self
            .tensors
            .tensor(name)
            .or_else(|_| self.tensors.tensor(unprefixed))
        else {
            return Ok(None);
        };
        let (shape, transposed) = (path.shape(), path.is_linear_matrix());
        let expected: Vec<usize> = if transposed {
            shape.iter().rev().copied().collect()
        } else {
            shape.to_vec()
        };
        ensure!(
            view.shape() == expected,
            "{name} has the shape {:?}, expected {expected:?}",
            view.shape()
        );
        let values = to_f32(&view)
            .map_err(|found| anyhow!("{name} is {found:?}, supported are F32, F16 and BF16"))?;
        // Else the loss is NaN, and the learning rate blamed for it.
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            bail!("{name} holds {value}");
        }
        Ok(Some(if transposed {
            transpose(&values, shape[1], shape[0])
        } else {
            values
        }))
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path = self.path.at(param.lazy_shape().to_vec());
        let name = self.names.of_parameter(&path);
        match self.read(&name, &path) {
            Ok(Some(values)) => {
                let values = TensorData::new(values, path.shape().to_vec());
                let tensor = Tensor::from_data(values, self.device);
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Ok(None) => {
                self.missing.push(name);
                // Sampled now: once it is first used, dropout has sampled before it.
                param.val();
                param
            }
            Err(problem) => {
                self.problems.push(problem.to_string());
                param
            }
        }
    }
}

/// Returns a tensor's values as f32, or its type where that is not a float this project reads.
fn to_f32(view: &TensorView) -> Result<Vec<f32>, Dtype> {
    let bytes = view.data();
    let pairs = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match view.dtype() {
        Dtype::F32 => Ok(bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect()),
        Dtype::F16 => Ok(pairs()
            .map(|pair| half::f16::from_le_bytes(pair).to_f32())
            .collect()),
        Dtype::BF16 => Ok(pairs()
            .map(|pair| half::bf16::from_le_bytes(pair).to_f32())
            .collect()),
        other => Err(other),
    }
}

/// Returns the transpose of a row-major `[rows, columns]` matrix.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::PathBuf;

    use spanwise_config::families::FAMILIES;

    use super::*;
    use crate::SpanModel;

    fn fixture(model_type: &str) -> PathBuf {
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        fixtures.join(format!("tiny-{model_type}"))
    }

    #[test]
    fn an_encoder_has_the_tensors_that_its_configuration_lists() {
        for family in FAMILIES {
            let path = fixture(family.model_type).join("config.json");
            let config = EncoderConfig::read(&path).unwrap();
            let names = CheckpointNames::of(&config);
            let model = SpanModel::new(&config, &Device::flex());
            let found: BTreeSet<(String, Vec<usize>)> = parameters::named(&model)
                .into_iter()
                .filter(|(path, _)| path.is_in_encoder())
                .map(|(path, _)| {
                    let mut shape = path.shape().to_vec();
                    if path.is_linear_matrix() {
                        shape.reverse();
                    }
                    (names.of_parameter(&path), shape)
                })
                .collect();
            let listed = config.tensors().map(|tensor| (tensor.name, tensor.shape));
            assert_eq!(found, listed.collect(), "{}", family.model_type);
        }
    }

    /// Loads the tiny BERT with its tensors changed.
    fn load_changed(change: impl Fn(&str, &mut Vec<f32>) -> bool) -> Result<()> {
        let source = fixture("bert");
        let directory = tempfile::tempdir()?;
        let copy = directory.path();
        fs_err::copy(source.join("config.json"), copy.join("config.json"))?;
        let map = columns::map(&source.join("model.safetensors"))?;
        let tensors = SafeTensors::deserialize(&map)?;
        let mut changed = BTreeMap::new();
        for (name, view) in tensors.iter() {
            let mut values = to_f32(&view).expect("floats");
            if change(name, &mut values) {
                changed.insert(name.to_owned(), (view.shape().to_vec(), values));
            }
        }
        let views = changed.iter().map(|(name, (shape, values))| {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes);
            (name, view.expect("the same shape"))
        });
        safetensors::serialize_to_file(views, None, &copy.join("model.safetensors"))?;
        load::<SpanModel>(copy, &Device::flex()).map(|_| ())
    }

    #[test]
    fn weights_that_cannot_be_used_are_named() -> Result<()> {
        load_changed(|_, _| true)?;
        let check = |change: fn(&str, &mut Vec<f32>) -> bool, expected: &str| {
            let error = load_changed(change).expect_err(expected);
            let error = error.downcast_ref::<UserError>().expect(expected);
            assert!(error.message.contains(expected), "{error}");
            assert!(error.message.len() < 500, "{error}");
        };
        check(
            |name, values| {
                if name == "bert.encoder.layer.0.output.dense.bias" {
                    values[3] = f32::NAN;
                }
                true
            },
            "bert.encoder.layer.0.output.dense.bias holds NaN",
        );
        check(
            |name, values| {
                if name.ends_with("word_embeddings.weight") {
                    values[0] = f32::INFINITY;
                }
                true
            },
            "bert.embeddings.word_embeddings.weight holds inf",
        );
        check(
            |name, _| !name.starts_with("bert.encoder.layer.0."),
            "16 tensors are missing: bert.encoder.layer.0.attention.self.query.weight, ",
        );
        Ok(())
    }
}
