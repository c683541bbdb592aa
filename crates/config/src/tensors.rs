//! The tensors that a checkpoint of an encoder holds, by its configuration.

use spanwise_artifact::UserError;
use spanwise_artifact::text::some_of;

use crate::EncoderConfig;
use crate::families::Family;

/// The module of a question-answering head, the same in every family.
pub const SPAN_HEAD: &str = "qa_outputs";

/// A tensor that a checkpoint must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// Its name in a checkpoint with a head. Without a head, the family's prefix is left out.
    pub name: String,
    /// Its dimensions as PyTorch has them: a linear layer's matrix is `[outputs, inputs]`.
    pub shape: Vec<usize>,
}

impl Family {
    /// Returns the name of a layer's module below the prefix, where `layers_per_group` layers with
    /// parameters of their own are in a group.
    pub fn layer_name(&self, index: usize, layers_per_group: usize) -> String {
        let (group, inner) = (index / layers_per_group, index % layers_per_group);
        [("{layer}", index), ("{group}", group), ("{inner}", inner)]
            .iter()
            .fold(
                self.names.layer.to_owned(),
                |layer, (placeholder, number)| layer.replace(placeholder, &number.to_string()),
            )
    }
}

impl EncoderConfig {
    /// Returns the tensors of the encoder, without those of a head.
    pub fn tensors(&self) -> impl Iterator<Item = Expected> + '_ {
        let prefix = self.family.prefix;
        let (width, hidden, inner) = (
            self.embedding_size(),
            self.hidden_size,
            self.intermediate_size,
        );
        let embeddings = self
            .family
            .names
            .embeddings
            .iter()
            .flat_map(move |(part, name)| {
                let name = format!("{prefix}embeddings.{name}");
                match *part {
                    "word" => table(&name, self.vocab_size, width),
                    "position" => table(&name, self.max_position_embeddings, width),
                    "token_type" => table(&name, self.type_vocab_size, width),
                    "task_type" => match self.task_types() {
                        Some(rows) => table(&name, rows, width),
                        None => Vec::new(),
                    },
                    _ => norm(&name, width),
                }
            });
        let projection = self
            .projects_embeddings()
            .then(|| {
                let name = format!("{prefix}{}", self.family.names.projection);
                linear(&name, hidden, width)
            })
            .into_iter()
            .flatten();
        let layers = self.groups() * self.inner_group_num;
        let layers = (0..layers).flat_map(move |index| {
            let layer = self.family.layer_name(index, self.inner_group_num);
            let parts = self.family.names.layer_parts.iter();
            parts.flat_map(move |(part, name)| {
                let name = format!("{prefix}{layer}.{name}");
                match *part {
                    "attention_norm" | "output_norm" => norm(&name, hidden),
                    "intermediate" => linear(&name, inner, hidden),
                    "output" => linear(&name, hidden, inner),
                    _ => linear(&name, hidden, hidden),
                }
            })
        });
        embeddings.chain(projection).chain(layers)
    }

    /// Returns the tensors of a question-answering head: a start and an end logit per token.
    pub fn span_head_tensors(&self) -> Vec<Expected> {
        linear(SPAN_HEAD, 2, self.hidden_size)
    }

    /// Refuses to answer with the weights of a checkpoint as they are where the `missing` tensors are
    /// those of its question-answering head.
    ///
    /// # Errors
    /// Fails with a [`UserError`] that names them.
    pub fn refuse_headless(missing: &[String]) -> Result<(), UserError> {
        if missing.is_empty() {
            return Ok(());
        }
        Err(UserError::new(format!(
            "train.epochs = 0: the checkpoint has no question-answering head: {} missing",
            match missing {
                [one] => format!("{one} is"),
                several => format!("{} are", several.join(" and ")),
            }
        ))
        .hint("train it, or name a checkpoint that was fine-tuned for question answering"))
    }

    /// Refuses weights that are not this encoder's: tensors that are missing, or of another shape.
    /// `shape_of` returns the shape of a tensor that is there. Messages call the checkpoint `name`.
    ///
    /// # Errors
    /// Fails with a [`UserError`] that has the first few and the number of the others.
    pub fn refuse_other_tensors(
        &self,
        name: &str,
        shape_of: impl Fn(&str) -> Option<Vec<usize>>,
    ) -> Result<(), UserError> {
        let prefix = self.family.prefix;
        let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
        for Expected {
            name: tensor,
            shape,
        } in self.tensors()
        {
            let unprefixed = tensor.strip_prefix(prefix).unwrap_or(&tensor);
            match shape_of(&tensor).or_else(|| shape_of(unprefixed)) {
                None => missing.push(tensor),
                Some(found) if found != shape => {
                    misshapen.push(format!("{tensor} has {found:?}, expected {shape:?}"));
                }
                Some(_) => (),
            }
        }
        let mut problems = Vec::new();
        if !missing.is_empty() {
            let (count, some) = (missing.len(), some_of(&missing));
            problems.push(format!("{count} tensors are missing: {some}"));
        }
        if !misshapen.is_empty() {
            let (count, some) = (misshapen.len(), some_of(&misshapen));
            problems.push(format!("{count} tensors have other shapes: {some}"));
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(UserError::new(format!(
            "the weights of {name} are not those of the {} encoder in its config.json: {}",
            self.family.model_type,
            problems.join("; ")
        ))
        .hint(
            "fetch config.json and the weights from the same place; weights under other names need \
             transformers' save_pretrained",
        ))
    }
}

fn table(module: &str, rows: usize, width: usize) -> Vec<Expected> {
    vec![tensor(module, "weight", vec![rows, width])]
}

fn linear(module: &str, outputs: usize, inputs: usize) -> Vec<Expected> {
    vec![
        tensor(module, "weight", vec![outputs, inputs]),
        tensor(module, "bias", vec![outputs]),
    ]
}

fn norm(module: &str, width: usize) -> Vec<Expected> {
    vec![
        tensor(module, "weight", vec![width]),
        tensor(module, "bias", vec![width]),
    ]
}

fn tensor(module: &str, parameter: &str, shape: Vec<usize>) -> Expected {
    Expected {
        name: format!("{module}.{parameter}"),
        shape,
    }
}
