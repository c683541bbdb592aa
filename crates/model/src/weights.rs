//! Parameters from and to `model.safetensors`, under Hugging Face's names.
//!
//! One table of names per kind of encoder serves both directions. PyTorch keeps a linear layer's matrix as
//! `[outputs, inputs]`, this project as `[inputs, outputs]`; it is transposed on the way.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use burn::module::{ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use fs_err::File;
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use spanwise_artifact::UserError;

use crate::config::{EncoderConfig, Family};
use crate::encoder::Encodes;

/// Our name of an embedding table or layer norm → its name below `embeddings`.
const EMBEDDINGS: [(&str, &str); 4] = [
    ("word", "word_embeddings"),
    ("position", "position_embeddings"),
    ("token_type", "token_type_embeddings"),
    ("norm", "LayerNorm"),
];

/// Our name of a layer's part → BERT's, ELECTRA's and RoBERTa's, and ALBERT's.
const LAYER: [(&str, &str, &str); 8] = [
    ("query", "attention.self.query", "attention.query"),
    ("key", "attention.self.key", "attention.key"),
    ("value", "attention.self.value", "attention.value"),
    (
        "attention_output",
        "attention.output.dense",
        "attention.dense",
    ),
    (
        "attention_norm",
        "attention.output.LayerNorm",
        "attention.LayerNorm",
    ),
    ("intermediate", "intermediate.dense", "ffn"),
    ("output", "output.dense", "ffn_output"),
    ("output_norm", "output.LayerNorm", "full_layer_layer_norm"),
];

/// How the checkpoints of a configuration call the parameters of a model.
#[derive(Clone, Copy)]
struct Names {
    family: Family,
    layers_per_group: usize,
}

impl Names {
    fn of(config: &EncoderConfig) -> Self {
        Self {
            family: config.model_type,
            layers_per_group: config.inner_group_num,
        }
    }

    /// A parameter's name, from its path in a model. That of a head lacks the family's prefix.
    fn parameter(self, path: &[String]) -> String {
        let (parameter, module) = path.split_last().expect("a parameter has a name");
        let parameter = match parameter.as_str() {
            "gamma" => "weight",
            "beta" => "bias",
            same => same,
        };
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        let prefix = self.family.prefix();
        match module[..] {
            ["span_head"] => format!("qa_outputs.{parameter}"),
            ["transform"] => format!("{}.{parameter}", self.masked_head()[0]),
            ["norm"] => format!("{}.{parameter}", self.masked_head()[1]),
            [] => format!("{}.{parameter}", self.masked_head()[2]),
            ["encoder", "projection"] => format!("{prefix}{}.{parameter}", self.projection()),
            ["encoder", "embeddings", part] => {
                let (_, part) = find(EMBEDDINGS, |entry| entry.0 == part);
                format!("{prefix}embeddings.{part}.{parameter}")
            }
            ["encoder", "layers", index, part] => {
                let index = index.parse().expect("layers are numbered");
                format!(
                    "{prefix}encoder.{}.{parameter}",
                    self.layer_part(index, part)
                )
            }
            _ => unreachable!("the model has no part {module:?}"),
        }
    }

    /// Of the head that guesses masked tokens: its linear layer, its layer norm, and what holds its bias.
    fn masked_head(self) -> [&'static str; 3] {
        match self.family {
            Family::Bert => [
                "cls.predictions.transform.dense",
                "cls.predictions.transform.LayerNorm",
                "cls.predictions",
            ],
            Family::Electra => [
                "generator_predictions.dense",
                "generator_predictions.LayerNorm",
                "generator_lm_head",
            ],
            Family::Roberta | Family::XlmRoberta | Family::Camembert => {
                ["lm_head.dense", "lm_head.layer_norm", "lm_head"]
            }
            Family::Albert => ["predictions.dense", "predictions.LayerNorm", "predictions"],
        }
    }

    fn projection(self) -> &'static str {
        match self.family {
            Family::Albert => "encoder.embedding_hidden_mapping_in",
            _ => "embeddings_project",
        }
    }

    fn layer_part(self, index: usize, part: &str) -> String {
        let (_, bert, albert) = find(LAYER, |entry| entry.0 == part);
        if self.family == Family::Albert {
            let (group, inner) = (index / self.layers_per_group, index % self.layers_per_group);
            format!("albert_layer_groups.{group}.albert_layers.{inner}.{albert}")
        } else {
            format!("layer.{index}.{bert}")
        }
    }
}

fn find<T: Copy, const N: usize>(table: [T; N], wanted: impl Fn(&T) -> bool) -> T {
    let found = table.into_iter().find(wanted);
    found.expect("the table names every part of the model")
}

/// Builds the model of a checkpoint directory's `config.json` and fills it from its `model.safetensors`.
///
/// Parameters of other heads are left aside. A missing head is drawn from `device`'s generator and
/// reported in the returned names; any other missing or mis-shaped parameter is refused.
pub fn load<M: Encodes>(directory: &Path, device: &Device) -> Result<(M, Vec<String>)> {
    let config = EncoderConfig::read(&directory.join("config.json"))?;
    let path = directory.join("model.safetensors");
    let file = File::open(&path)?;
    #[expect(
        unsafe_code,
        reason = "artifacts are immutable once committed, so the map cannot change underneath"
    )]
    let map =
        unsafe { Mmap::map(file.file()) }.with_context(|| format!("map {}", path.display()))?;
    let tensors =
        SafeTensors::deserialize(&map).with_context(|| format!("read {}", path.display()))?;

    let mut loader = Loader {
        tensors,
        names: Names::of(&config),
        path: Place::default(),
        device,
        missing: Vec::new(),
        problems: Vec::new(),
    };
    let model = M::new(&config, device).map(&mut loader);
    let Loader {
        missing,
        mut problems,
        ..
    } = loader;
    let prefix = config.model_type.prefix();
    let (absent, head): (Vec<_>, Vec<_>) = missing
        .into_iter()
        .partition(|name| name.starts_with(prefix));
    problems.extend(absent.into_iter().map(|name| format!("{name} is missing")));
    ensure!(
        problems.is_empty(),
        UserError::new(format!(
            "the checkpoint does not fit its config.json: {}",
            problems.join("; ")
        ))
    );
    Ok((model, head))
}

/// Writes the parameters of a model that `config` describes, as f32 under Hugging Face's names.
pub fn save<M: Encodes>(model: &M, config: &EncoderConfig, path: &Path) -> Result<()> {
    let mut collector = Collector {
        names: Names::of(config),
        path: Place::default(),
        tensors: BTreeMap::new(),
    };
    model.visit(&mut collector);
    let views = collector
        .tensors
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

/// Where a walk over the module stands.
#[derive(Default)]
struct Place {
    names: Vec<String>,
    /// Whether the innermost module keeps its matrix transposed.
    linear: bool,
}

impl Place {
    fn enter(&mut self, name: &str, container: &str) {
        self.names.push(name.to_owned());
        self.linear |= container == "Struct:Linear";
    }

    fn exit(&mut self, container: &str) {
        self.names.pop();
        self.linear &= container != "Struct:Linear";
    }
}

struct Loader<'a> {
    tensors: SafeTensors<'a>,
    names: Names,
    path: Place,
    device: &'a Device,
    missing: Vec<String>,
    problems: Vec<String>,
}

impl Loader<'_> {
    /// The parameter's values in our layout, or why they cannot be had.
    fn read(&self, name: &str, shape: &[usize]) -> Result<Option<Vec<f32>>> {
        let prefix = self.names.family.prefix();
        let unprefixed = name.strip_prefix(prefix).unwrap_or(name);
        let Ok(view) = self
            .tensors
            .tensor(name)
            .or_else(|_| self.tensors.tensor(unprefixed))
        else {
            return Ok(None);
        };
        let transposed = self.path.linear && shape.len() == 2;
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
        let name = self.names.parameter(&self.path.names);
        let shape = param.lazy_shape().to_vec();
        match self.read(&name, &shape) {
            Ok(Some(values)) => {
                let tensor = Tensor::from_data(TensorData::new(values, shape), self.device);
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Ok(None) => {
                self.missing.push(name);
                // Drawn here and now: when first used, dropout would have drawn before.
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

struct Collector {
    names: Names,
    path: Place,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, _name: &str, container_type: &str) {
        self.path.exit(container_type);
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let mut shape = tensor.dims().to_vec();
        let mut values = tensor
            .into_data()
            .try_into_vec::<f32>()
            .expect("parameters are f32");
        if self.path.linear && D == 2 {
            values = transpose(&values, shape[0], shape[1]);
            shape.reverse();
        }
        self.tensors
            .insert(self.names.parameter(&self.path.names), (shape, values));
    }
}

/// A tensor's values as f32, or its type where that is not a float this project reads.
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

/// The transpose of a row-major `[rows, columns]` matrix.
fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns)
        .flat_map(|column| (0..rows).map(move |row| values[row * columns + column]))
        .collect()
}
