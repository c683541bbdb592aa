//! The bounds of every field of `config.json` that this version reads.

use serde_json::Value;
use spanwise_artifact::UserError;

use crate::families::FAMILIES;

/// What a field may hold.
#[derive(Clone, Copy)]
enum Bound {
    /// A whole number up to this one, and at least the first.
    Count(u64, u64),
    /// A number that is at least 0 and less than 1.
    Share,
    /// A number from 0 to this one.
    Number(f64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// True or false.
    Flag,
}

use Bound::{Count, Flag, Number, Share, Word};

/// Fields that every configuration has.
const REQUIRED: [(&str, Bound); 6] = [
    ("vocab_size", Count(1, 10_000_000)),
    ("hidden_size", Count(1, 65_536)),
    ("num_hidden_layers", LAYERS),
    ("num_attention_heads", Count(1, 65_536)),
    ("intermediate_size", Count(1, 1_048_576)),
    ("max_position_embeddings", Count(1, 1_048_576)),
];

/// Fields that have a default.
const OPTIONAL: [(&str, Bound); 13] = [
    ("embedding_size", Count(1, 65_536)),
    ("num_hidden_groups", LAYERS),
    ("inner_group_num", LAYERS),
    (
        "hidden_act",
        Word(&["gelu", "gelu_new", "gelu_pytorch_tanh", "relu"]),
    ),
    ("hidden_dropout_prob", Share),
    ("attention_probs_dropout_prob", Share),
    ("type_vocab_size", Count(1, 1024)),
    ("use_task_id", Flag),
    ("task_type_vocab_size", Count(1, 1024)),
    ("initializer_range", Number(100.0)),
    ("layer_norm_eps", Number(1.0)),
    ("pad_token_id", Count(0, 10_000_000)),
    ("position_embedding_type", Word(&["absolute"])),
];

/// Layers, and groups of them: the deepest published encoders have a tenth of it.
const LAYERS: Bound = Count(1, 1024);

/// The hint where a configuration is out of bounds.
pub(crate) const NOT_BUILT: &str =
    "this version builds no such encoder: choose another checkpoint, or fetch it again";

/// How much of a value a message shows, in characters.
const SHOWN: usize = 60;

/// Refuses a configuration with a field that is missing, of another type or out of bounds.
pub(crate) fn check(config: &Value) -> Result<(), UserError> {
    if !config.is_object() {
        return Err(
            UserError::new("the checkpoint's config.json is damaged: it is not an object")
                .hint("fetch the checkpoint again"),
        );
    }
    let value = |key: &str| config.get(key);
    let families = FAMILIES.map(|family| family.model_type);
    match value("model_type") {
        None => {
            return Err(UserError::new(
                "the checkpoint's config.json does not say what kind of encoder it is: model_type \
                 is missing",
            )
            .hint(format!(
                "add \"model_type\": \"bert\" to it, or the one of {} that it is",
                families.join(", ")
            )));
        }
        Some(Value::String(name)) if families.contains(&name.as_str()) => (),
        Some(other) => {
            let expected = format!("one of {}", families.join(", "));
            return Err(refused("model_type", other, &expected));
        }
    }
    for (key, bound) in REQUIRED {
        match value(key) {
            Some(value) => check_field(key, value, bound)?,
            None => {
                return Err(UserError::new(format!(
                    "the checkpoint's config.json is incomplete: {key} is missing"
                ))
                .hint("fetch the checkpoint again"));
            }
        }
    }
    for (key, bound) in OPTIONAL {
        if let Some(value) = value(key) {
            check_field(key, value, bound)?;
        }
    }
    Ok(())
}

fn check_field(key: &str, value: &Value, bound: Bound) -> Result<(), UserError> {
    let (holds, expected) = match bound {
        Count(least, most) => (
            value
                .as_u64()
                .is_some_and(|number| (least..=most).contains(&number)),
            format!("a whole number from {least} to {most}"),
        ),
        Share => (
            value
                .as_f64()
                .is_some_and(|number| (0.0..1.0).contains(&number)),
            "a number from 0 to less than 1".to_owned(),
        ),
        Number(most) => (
            value
                .as_f64()
                .is_some_and(|number| (0.0..=most).contains(&number)),
            format!("a number from 0 to {most}"),
        ),
        Word([word]) => (value.as_str() == Some(word), (*word).to_owned()),
        Word(words) => (
            value.as_str().is_some_and(|found| words.contains(&found)),
            format!("one of {}", words.join(", ")),
        ),
        Flag => (value.is_boolean(), "true or false".to_owned()),
    };
    if holds {
        Ok(())
    } else {
        Err(refused(key, value, &expected))
    }
}

fn refused(key: &str, value: &Value, expected: &str) -> UserError {
    UserError::new(format!(
        "the checkpoint's config.json has {key} = {}: must be {expected}",
        shown(value)
    ))
    .hint(NOT_BUILT)
}

/// Returns the beginning of a value, quoted so that a terminal shows it and does nothing else.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("{:?}", text.chars().take(SHOWN).collect::<String>()),
        other => other.to_string().escape_debug().to_string(),
    };
    let mut characters = text.chars();
    let mut shown: String = characters.by_ref().take(2 * SHOWN).collect();
    if characters.next().is_some() {
        shown.push('…');
    }
    shown
}
