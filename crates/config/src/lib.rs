//! `config.json` of an encoder: what this version builds, and which tensors its checkpoints hold.
//!
//! - [`EncoderConfig`]: the file, field by field under its own names
//! - [`families`]: what its `model_type` decides
//! - [`tensors`]: the names and shapes of an encoder's tensors
//!
//! Without Burn, so that a checkpoint can be refused before its weights are fetched.
//!
//! Reference: transformers'
//! [`BertConfig`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/models/bert/configuration_bert.py)
//! and its namesakes for the other families.

#![warn(missing_docs)]

pub mod families;
mod fields;
pub mod tensors;

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use spanwise_artifact::UserError;

use crate::families::{Family, Positions};

/// Architecture of an encoder. [`EncoderConfig::parse`] holds every field to its bounds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct EncoderConfig {
    /// The family that `model_type` names.
    #[serde(rename = "model_type")]
    pub family: &'static Family,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the embeddings; `hidden_size` where it is not given.
    pub embedding_size: Option<usize>,
    /// Width of hidden states.
    pub hidden_size: usize,
    /// Number of encoder layers.
    pub num_hidden_layers: usize,
    /// Groups of consecutive layers that share their parameters (ALBERT). Where it is not given, no
    /// layers share any.
    pub num_hidden_groups: Option<usize>,
    /// Layers with parameters of their own in a group.
    #[serde(default = "one_layer_per_group")]
    pub inner_group_num: usize,
    /// Attention heads of a layer, a divisor of `hidden_size`.
    pub num_attention_heads: usize,
    /// Inner width of feed-forward blocks.
    pub intermediate_size: usize,
    /// Activation inside feed-forward blocks.
    #[serde(rename = "hidden_act", default)]
    pub activation: Activation,
    /// Dropout after embeddings, attention and feed-forward blocks.
    #[serde(default = "default_dropout")]
    pub hidden_dropout_prob: f64,
    /// Dropout of attention weights.
    #[serde(default = "default_dropout")]
    pub attention_probs_dropout_prob: f64,
    /// Rows of the position embedding.
    pub max_position_embeddings: usize,
    /// Rows of the token-type embedding.
    #[serde(default = "default_token_types")]
    pub type_vocab_size: usize,
    /// Whether the embedding of a task type is added to every token's (ERNIE).
    #[serde(default)]
    use_task_id: bool,
    /// Rows of the task-type embedding.
    #[serde(default = "default_task_types")]
    task_type_vocab_size: usize,
    /// Standard deviation of newly initialised weights.
    #[serde(default = "default_initializer_range")]
    pub initializer_range: f64,
    /// Constant added to the variance in layer norms.
    #[serde(default = "default_layer_norm_eps")]
    pub layer_norm_eps: f64,
    /// Id of the padding token, which RoBERTa's positions follow.
    pub pad_token_id: Option<usize>,
}

/// The non-linearity of a feed-forward block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Activation {
    /// `x · Φ(x)` with the exact normal distribution function (Hendrycks & Gimpel, 2016,
    /// arXiv:1606.08415).
    #[default]
    #[serde(rename = "gelu")]
    Gelu,
    /// GELU with Φ approximated by a hyperbolic tangent, as in the first implementations.
    #[serde(rename = "gelu_new", alias = "gelu_pytorch_tanh")]
    GeluTanh,
    /// `max(x, 0)`.
    #[serde(rename = "relu")]
    Relu,
}

fn one_layer_per_group() -> usize {
    1
}

fn default_token_types() -> usize {
    2
}

fn default_task_types() -> usize {
    3
}

fn default_dropout() -> f64 {
    0.1
}

fn default_initializer_range() -> f64 {
    0.02
}

fn default_layer_norm_eps() -> f64 {
    1e-12
}

impl EncoderConfig {
    /// Reads `config.json`.
    ///
    /// # Errors
    /// See [`EncoderConfig::parse`].
    pub fn read(path: &Path) -> Result<Self, UserError> {
        let text = fs_err::read(path).map_err(|error| {
            UserError::new(format!(
                "the checkpoint's config.json cannot be read: {error}"
            ))
        })?;
        Self::parse(&text)
    }

    /// Parses the text of a `config.json`.
    ///
    /// # Errors
    /// Fails with a [`UserError`] where it describes an encoder that this version does not build,
    /// or one that none could: a value of another type or out of bounds, sizes that do not divide.
    pub fn parse(text: &[u8]) -> Result<Self, UserError> {
        let mut config: Value = serde_json::from_slice(text).map_err(|error| {
            UserError::new(format!(
                "the checkpoint's config.json is damaged: it is not JSON: {error}"
            ))
            .hint("fetch the checkpoint again")
        })?;
        if let Some(fields) = config.as_object_mut() {
            // As in transformers, null is the default.
            fields.retain(|_, value| !value.is_null());
        }
        fields::check(&config)?;
        let config: Self = serde_json::from_value(config).map_err(|error| {
            UserError::new(format!(
                "the checkpoint's config.json cannot be used: {error}"
            ))
        })?;
        config.check()?;
        Ok(config)
    }

    /// Width of the embeddings.
    pub fn embedding_size(&self) -> usize {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    /// Whether a projection leads from the embeddings' width to the layers'.
    pub fn projects_embeddings(&self) -> bool {
        self.family.always_projects || self.embedding_size() != self.hidden_size
    }

    /// Rows of the task-type embedding; `None` where the encoder has none. Families whose
    /// checkpoints have no name for it ignore `use_task_id`, as in transformers.
    pub fn task_types(&self) -> Option<usize> {
        let mut parts = self.family.names.embeddings.iter();
        let is_named = parts.any(|(part, _)| *part == "task_type");
        (is_named && self.use_task_id).then_some(self.task_type_vocab_size)
    }

    /// Position of an input's first token.
    pub fn first_position(&self) -> usize {
        match self.family.positions {
            Positions::FromZero => 0,
            Positions::AfterPadding => self.pad_token_id.unwrap_or(1) + 1,
        }
    }

    /// Longest input in tokens.
    pub fn max_tokens(&self) -> usize {
        self.max_position_embeddings
            .saturating_sub(self.first_position())
    }

    /// Refuses windows that are longer than the encoder takes.
    ///
    /// # Errors
    /// Has both lengths, in tokens.
    pub fn check_window(&self, length: usize) -> Result<(), UserError> {
        let most = self.max_tokens();
        if length <= most {
            return Ok(());
        }
        Err(UserError::new(format!(
            "windows.max_length is {length}, but the checkpoint takes at most {most} tokens"
        )))
    }

    /// Groups of layers that share parameters.
    pub fn groups(&self) -> usize {
        self.num_hidden_groups.unwrap_or(self.num_hidden_layers)
    }

    /// Dropout after feed-forward blocks.
    pub fn feed_forward_dropout(&self) -> f64 {
        if self.family.drops_after_feed_forward {
            self.hidden_dropout_prob
        } else {
            0.0
        }
    }

    /// What two fields together must hold to.
    fn check(&self) -> Result<(), UserError> {
        let refuse = |holds: bool, key: &str, found: usize, expected: &str| {
            if holds {
                Ok(())
            } else {
                Err(UserError::new(format!(
                    "the checkpoint's config.json has {key} = {found}: must be {expected}"
                ))
                .hint(fields::NOT_BUILT))
            }
        };
        let heads = self.num_attention_heads;
        refuse(
            self.hidden_size.is_multiple_of(heads),
            "num_attention_heads",
            heads,
            &format!("a divisor of hidden_size, {}", self.hidden_size),
        )?;
        let groups = self.groups();
        refuse(
            self.num_hidden_layers.is_multiple_of(groups),
            "num_hidden_groups",
            groups,
            &format!("a divisor of num_hidden_layers, {}", self.num_hidden_layers),
        )?;
        refuse(
            self.max_tokens() > 0,
            "max_position_embeddings",
            self.max_position_embeddings,
            &format!(
                "more than {}, the position of an input's first token",
                self.first_position()
            ),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A `config.json` of a tiny encoder with some values set; a value of null takes a key out.
    fn config(changes: &Value) -> Vec<u8> {
        let mut config = json!({
            "model_type": "bert", "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 2,
            "num_attention_heads": 2, "intermediate_size": 4, "max_position_embeddings": 8,
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        let fields = config.as_object_mut().unwrap();
        fields.retain(|_, value| !value.is_null());
        serde_json::to_vec(&config).unwrap()
    }

    #[test]
    fn task_types_need_a_family_with_names_for_them() {
        let check = |model_type: &str, use_task_id: bool, expected: Option<usize>| {
            let changes = json!({
                "model_type": model_type, "use_task_id": use_task_id, "task_type_vocab_size": 3,
            });
            let config = EncoderConfig::parse(&config(&changes)).unwrap();
            assert_eq!(config.task_types(), expected, "{model_type}, {use_task_id}");
        };
        check("ernie", true, Some(3));
        check("ernie", false, None);
        check("bert", true, None);
    }

    /// The parity tests of the model hold the encoders that these files describe to transformers.
    #[test]
    fn release_5_of_transformers_describes_the_same_encoders() {
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../model/tests/fixtures");
        let mut count = 0;
        for entry in fs_err::read_dir(fixtures).unwrap() {
            let directory = entry.unwrap().path();
            if directory.is_dir() {
                let read = |file: &str| EncoderConfig::read(&directory.join(file)).unwrap();
                assert_eq!(read("config-5.json"), read("config.json"), "{directory:?}");
                count += 1;
            }
        }
        assert_eq!(count, 2 * crate::families::FAMILIES.len());
    }

    #[test]
    fn what_cannot_be_built_is_refused_by_name() {
        let check = |changes: Value, expected: &str| {
            let error = EncoderConfig::parse(&config(&changes)).expect_err(expected);
            assert!(error.message.contains(expected), "{error}");
        };
        check(
            json!({"model_type": null}),
            "config.json does not say what kind of encoder it is: model_type is missing",
        );
        check(
            json!({"model_type": "t5"}),
            "model_type = \"t5\": must be one of bert, electra, roberta, xlm-roberta, camembert, \
             albert, ernie",
        );
        check(json!({"hidden_size": null}), "hidden_size is missing");
        check(
            json!({"hidden_size": "4"}),
            "hidden_size = \"4\": must be a whole number from 1 to 65536",
        );
        check(
            json!({"hidden_size": 4.5}),
            "hidden_size = 4.5: must be a whole number from 1 to 65536",
        );
        check(json!({"hidden_size": -4}), "hidden_size = -4: must be a");
        check(
            json!({"num_hidden_layers": 1_000_000_000}),
            "num_hidden_layers = 1000000000: must be a whole number from 1 to 1024",
        );
        check(json!({"num_hidden_layers": 0}), "num_hidden_layers = 0");
        check(
            json!({"inner_group_num": 1_000_000_000}),
            "inner_group_num = 1000000000",
        );
        check(
            json!({"embedding_size": 1_000_000_000}),
            "embedding_size = 1000000000",
        );
        check(
            json!({"vocab_size": u64::MAX}),
            "vocab_size = 18446744073709551615",
        );
        check(
            json!({"type_vocab_size": 1_000_000}),
            "type_vocab_size = 1000000: must be a whole number from 1 to 1024",
        );
        for dropout in [json!(2), json!(-1), json!(1.0), json!(1e300)] {
            let expected = "must be a number from 0 to less than 1";
            check(json!({"hidden_dropout_prob": dropout}), expected);
            check(json!({"attention_probs_dropout_prob": dropout}), expected);
        }
        check(
            json!({"layer_norm_eps": -1e-5}),
            "layer_norm_eps = -0.00001: must be a number from 0 to 1",
        );
        check(
            json!({"initializer_range": 1e9}),
            "initializer_range = 1000000000.0: must be a number from 0 to 100",
        );
        check(
            json!({"hidden_act": "silu"}),
            "hidden_act = \"silu\": must be one of gelu, gelu_new, gelu_pytorch_tanh, relu",
        );
        check(
            json!({"position_embedding_type": "relative_key"}),
            "position_embedding_type = \"relative_key\": must be absolute",
        );
        check(
            json!({"use_task_id": 1}),
            "use_task_id = 1: must be true or false",
        );
        check(
            json!({"num_attention_heads": 3}),
            "num_attention_heads = 3: must be a divisor of hidden_size, 4",
        );
        check(
            json!({"num_hidden_groups": 3}),
            "num_hidden_groups = 3: must be a divisor of num_hidden_layers, 2",
        );
        check(
            json!({"model_type": "roberta", "max_position_embeddings": 2}),
            "max_position_embeddings = 2: must be more than 2, the position of",
        );
        check(
            json!({"model_type": "roberta", "pad_token_id": u64::MAX}),
            "pad_token_id = 18446744073709551615",
        );
    }

    #[test]
    fn what_is_no_object_is_damaged() {
        let check = |text: &[u8], expected: &str| {
            let error = EncoderConfig::parse(text).expect_err(expected);
            assert!(error.message.contains(expected), "{error}");
            assert!(error.hint.is_some(), "{error}");
        };
        check(b"", "it is not JSON");
        check(b"{\"model_type\": NaN}", "it is not JSON");
        check(b"\xff\xfe", "it is not JSON");
        check(&vec![b'['; 100_000], "it is not JSON");
        check(b"[]", "it is not an object");
    }

    #[test]
    fn values_are_shown_without_their_control_characters() {
        let changes = json!({"model_type": "\x1b[2J\u{202e}\u{9b}x".to_owned() + &"y".repeat(500)});
        let error = EncoderConfig::parse(&config(&changes)).expect_err("no such family");
        assert!(!error.message.contains(char::is_control), "{error:?}");
        assert!(!error.message.contains('\u{202e}'), "{error:?}");
        assert!(error.message.len() < 300, "{error:?}");
    }
}
