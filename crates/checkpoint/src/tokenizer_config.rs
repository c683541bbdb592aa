//! `tokenizer_config.json`: written so that every release of transformers reads `tokenizer.json` as
//! it is.
//!
//! A class such as `BertTokenizer` changes the tokenizer that it is loaded with: release 4 sets its
//! normalizer anew, release 5 builds all of it anew from the vocabulary and drops the pre-tokenizer.
//! `PreTrainedTokenizerFast` changes nothing, but knows neither the special tokens nor what the model
//! reads, so they are named.
//!
//! Reference: transformers'
//! [`PreTrainedTokenizerFast`](https://github.com/huggingface/transformers/blob/v4.57.0/src/transformers/tokenization_utils_fast.py).

use std::path::Path;

use anyhow::{Result, anyhow};
use serde_json::{Map, Value, json};
use spanwise_artifact::jsonl;
use spanwise_config::EncoderConfig;
use tokenizers::{AddedToken, Tokenizer};

use crate::read_json;
use crate::tokenizer::{self, Layout};

/// File that the module writes.
pub const FILE: &str = "tokenizer_config.json";

/// File in which release 4 and earlier keep the special tokens once more.
const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";

/// The special tokens that transformers knows by their roles, and what they are called where no
/// file names them: in BERT's vocabularies, and in RoBERTa's. The ends of a text are named by files
/// only.
const ROLES: [(&str, &[&str]); 7] = [
    ("bos_token", &[]),
    ("eos_token", &[]),
    ("unk_token", &["[UNK]", "<unk>"]),
    ("sep_token", &["[SEP]", "</s>"]),
    ("pad_token", &["[PAD]", "<pad>"]),
    ("cls_token", &["[CLS]", "<s>"]),
    ("mask_token", &["[MASK]", "<mask>"]),
];

/// Writes `tokenizer_config.json` of the finished checkpoint in `directory`, in place of what its
/// source has, and leaves out `special_tokens_map.json`. What it names becomes a special token in
/// `tokenizer.json`, as it does wherever transformers loads it. Messages call the checkpoint
/// `name`.
///
/// # Errors
/// Fails with a [`UserError`](spanwise_artifact::UserError) if a file of the source cannot be read.
pub fn write(name: &str, directory: &Path) -> Result<()> {
    tokenizer::guarded(name, || write_unguarded(name, directory))?
}

fn write_unguarded(name: &str, directory: &Path) -> Result<()> {
    let mut tokenizer = tokenizer::read(name, directory)?;
    let path = directory.join(FILE);
    let special_tokens = directory.join(SPECIAL_TOKENS_FILE);
    let sources = [read(&path)?, read(&special_tokens)?];
    let named = special_tokens_of(&tokenizer, &sources);

    let added = tokenizer.get_added_tokens_decoder();
    let is_added = |token: &str| added.values().any(|added| added.content == token);
    let missing: Vec<AddedToken> = named
        .iter()
        .filter(|(_, token)| !is_added(token))
        .map(|(_, token)| AddedToken::from(token.clone(), true))
        .collect();
    if !missing.is_empty() {
        tokenizer
            .add_special_tokens(missing)
            .map_err(|error| anyhow!("{error}"))?;
        let path = directory.join("tokenizer.json");
        tokenizer::save(&tokenizer, &path, Layout::Pretty)?;
    }

    let mut document = Map::new();
    let mut set = |key: &str, value: Value| document.insert(key.to_owned(), value);
    set("tokenizer_class", json!("PreTrainedTokenizerFast"));
    // Release 5 leaves token types out unless they are named here.
    let inputs = ["input_ids", "token_type_ids", "attention_mask"];
    set("model_input_names", json!(inputs));
    let longest = EncoderConfig::read(&directory.join("config.json"))?.max_tokens();
    set("model_max_length", json!(longest));
    for (role, token) in named {
        set(role, json!(token));
    }
    // Release 4 sets it to what this file says, false where it says nothing.
    let words = serde_json::to_value(tokenizer.get_pre_tokenizer())?;
    if let Some(adds_space) = words
        .get("add_prefix_space")
        .filter(|value| value.is_boolean())
    {
        set("add_prefix_space", adds_space.clone());
    }
    jsonl::write_document(&path, &document)?;
    if special_tokens.exists() {
        fs_err::remove_file(special_tokens)?;
    }
    Ok(())
}

/// Reads a file of the source; nothing where it has none.
fn read(path: &Path) -> Result<Value> {
    if path.is_file() {
        return Ok(read_json(path)?);
    }
    Ok(Value::Null)
}

/// Returns the special tokens by role: as the first source names them whose token is in the
/// vocabulary, or else by their usual names. One that is not in the vocabulary would be added behind
/// it, where the embedding has no row.
fn special_tokens_of(tokenizer: &Tokenizer, sources: &[Value]) -> Vec<(&'static str, String)> {
    let named = ROLES.iter().filter_map(|(role, usual)| {
        let tokens = sources.iter().filter_map(|source| {
            let token = source.get(role)?;
            token.get("content").unwrap_or(token).as_str()
        });
        let mut tokens = tokens.chain(usual.iter().copied());
        let token = tokens.find(|token| tokenizer.token_to_id(token).is_some())?;
        Some((*role, token.to_owned()))
    });
    named.collect()
}
