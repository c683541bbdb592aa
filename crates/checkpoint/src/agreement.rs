//! What is checked of a checkpoint before anything is trained: that this version builds it, and that
//! its files fit each other.

use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use serde::Deserialize;
use spanwise_artifact::UserError;
use spanwise_config::EncoderConfig;
use tokenizers::Tokenizer;

use crate::{read_json, tokenizer, weights};

/// The classes whose tokenizer is BERT's, built from `vocab.txt` alone.
const BERT_CLASSES: [&str; 5] = ["Bert", "Electra", "DistilBert", "ConvBert", "MobileBert"];

/// The classes whose tokenizer is XLM-RoBERTa's, built from `sentencepiece.bpe.model`.
const XLM_ROBERTA_CLASSES: [&str; 1] = ["XLMRoberta"];

/// The part of `tokenizer_config.json` that says how the others are meant.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TokenizerKind {
    tokenizer_class: Option<String>,
    do_basic_tokenize: Option<bool>,
    subword_tokenizer_type: Option<String>,
}

/// Checks what the small files of a checkpoint say, without its weights: that this version builds
/// the encoder that `config.json` describes and the tokenizer that `tokenizer_config.json` names, and
/// that the encoder has a row for every token.
///
/// # Errors
/// Fails with a [`UserError`] that says what is supported, or has both sides of what does not fit.
pub fn check_small_files(name: &str, directory: &Path, split_characters: bool) -> Result<()> {
    let path = directory.join("config.json");
    if !path.is_file() {
        let missing = UserError::new(format!(
            "{name} has no config.json: it is not a checkpoint in Hugging Face layout"
        ));
        let hint = if directory.join("bert_config.json").is_file() {
            "its bert_config.json is the same under an older name: copy it to config.json, and add \
             \"model_type\": \"bert\" to the copy"
        } else {
            "a checkpoint holds config.json, its weights, and tokenizer.json or vocab.txt"
        };
        return Err(missing.hint(hint).into());
    }
    let config = EncoderConfig::read(&path)?;
    check_tokenizer_kind(name, directory, &config, split_characters)?;
    let tokenizer = tokenizer::read(name, directory)?;
    tokenizer::guarded(name, || check_tokens(name, &tokenizer, &config))?
}

/// Checks that the encoder in `directory` takes windows of `length` tokens.
///
/// # Errors
/// Fails with a [`UserError`] that has both lengths.
pub fn check_window(directory: &Path, length: usize) -> Result<()> {
    let config = EncoderConfig::read(&directory.join("config.json"))?;
    Ok(config.check_window(length)?)
}

/// Checks a finished checkpoint: its configuration and its weights fit each other.
///
/// # Errors
/// Fails with a [`UserError`] that has both sides of what does not fit.
pub fn check(name: &str, directory: &Path) -> Result<()> {
    let config = EncoderConfig::read(&directory.join("config.json"))?;
    weights::check(name, directory, &config)
}

/// Refuses a tokenizer that would be built from a vocabulary, but is none of those that are.
fn check_tokenizer_kind(
    name: &str,
    directory: &Path,
    config: &EncoderConfig,
    split_characters: bool,
) -> Result<()> {
    let path = directory.join("tokenizer_config.json");
    if directory.join("tokenizer.json").is_file() || !path.is_file() {
        // A tokenizer.json says everything itself.
        return check_sentencepiece(name, directory, config);
    }
    let kind: TokenizerKind = read_json(&path)?;
    let (from, classes) = if directory.join("vocab.txt").is_file() {
        ("vocab.txt", &BERT_CLASSES[..])
    } else if directory.join("sentencepiece.bpe.model").is_file() {
        ("sentencepiece.bpe.model", &XLM_ROBERTA_CLASSES[..])
    } else {
        return Ok(()); // refused where the tokenizer is built
    };
    let hint = "save it with transformers' AutoTokenizer, whose tokenizer.json is read as it is";
    if let Some(class) = &kind.tokenizer_class {
        let base = class.strip_suffix("Fast").unwrap_or(class);
        let base = base.strip_suffix("Tokenizer").unwrap_or(base);
        let splits = split_characters && base == "BertJapanese";
        ensure!(
            splits || classes.contains(&base),
            UserError::new(format!(
                "the tokenizer of {name} is {class:?}, which this version does not build from {from}"
            ))
            .hint(if base == "BertJapanese" {
                "checkpoint.split_characters = true makes every character a word, which its \
                 vocabulary of characters fits; or save a tokenizer.json beside it"
            } else {
                hint
            })
        );
    }
    let words = kind.do_basic_tokenize != Some(false);
    ensure!(
        words,
        UserError::new(format!(
            "the tokenizer of {name} has do_basic_tokenize = false, which this version does not \
             build from {from}"
        ))
        .hint(hint)
    );
    let subwords = kind.subword_tokenizer_type.as_deref();
    ensure!(
        split_characters || subwords.is_none_or(|kind| kind == "wordpiece"),
        UserError::new(format!(
            "the tokenizer of {name} has subword_tokenizer_type = {:?}, which this version does \
             not build from {from}",
            subwords.unwrap_or_default()
        ))
        .hint("set checkpoint.split_characters = true, or save a tokenizer.json beside it")
    );
    check_sentencepiece(name, directory, config)
}

/// Refuses a SentencePiece model whose pieces have other ids than XLM-RoBERTa's.
fn check_sentencepiece(name: &str, directory: &Path, config: &EncoderConfig) -> Result<()> {
    let is_built = !["tokenizer.json", "vocab.txt"]
        .iter()
        .any(|file| directory.join(file).is_file())
        && directory.join("sentencepiece.bpe.model").is_file();
    let family = config.family.model_type;
    ensure!(
        !is_built || family != "camembert",
        UserError::new(format!(
            "{name} has no tokenizer.json, and this version does not build that of {family} from \
             sentencepiece.bpe.model"
        ))
        .hint("save it with transformers' AutoTokenizer, which writes tokenizer.json")
    );
    Ok(())
}

/// Refuses a tokenizer with an id that the encoder has no row for, or without what windows need.
fn check_tokens(name: &str, tokenizer: &Tokenizer, config: &EncoderConfig) -> Result<()> {
    let rows = config.vocab_size;
    let vocabulary = tokenizer.get_vocab(true);
    let largest = vocabulary.iter().max_by_key(|(_, id)| **id);
    let Some((token, &id)) = largest else {
        return Err(
            UserError::new(format!("the tokenizer of {name} has no tokens"))
                .hint("fetch the checkpoint again")
                .into(),
        );
    };
    ensure!(
        (id as usize) < rows,
        UserError::new(format!(
            "the tokenizer of {name} has {} tokens, the model's embedding {rows} rows (vocab_size in \
             config.json): token {token:?} has none",
            u64::from(id) + 1
        ))
        .hint(
            "tokens were added without rows for them: call transformers' \
             model.resize_token_embeddings(len(tokenizer)) and save the model, or take the tokens out"
        )
    );
    let encoding = tokenizer
        .encode(("1", "1"), true)
        .map_err(|error| unusable(name, &anyhow!("{error}")))?;
    let sequences: Vec<Option<usize>> = (0..encoding.len())
        .map(|index| encoding.token_to_sequence(index))
        .collect();
    let first = sequences.iter().rposition(|sequence| *sequence == Some(0));
    let second = sequences.iter().position(|sequence| *sequence == Some(1));
    let (Some(first), Some(second)) = (first, second) else {
        return Err(unusable(name, &anyhow!("it makes no token of the text \"1\"")).into());
    };
    ensure!(
        first + 1 < second,
        UserError::new(format!(
            "the tokenizer of {name} has no pair template: it puts no special token between question \
             and paragraph"
        ))
        .hint(
            "its tokenizer.json needs a post_processor; transformers' AutoTokenizer writes one for \
             models that read pairs"
        )
    );
    let padding = match tokenizer.get_padding() {
        Some(padding) => Some(padding.pad_id),
        None => ["[PAD]", "<pad>"]
            .iter()
            .find_map(|token| tokenizer.token_to_id(token)),
    };
    ensure!(
        padding.is_some_and(|id| (id as usize) < rows),
        UserError::new(match padding {
            None => format!(
                "the tokenizer of {name} has no padding token: neither [PAD] nor <pad> is in its \
                 vocabulary"
            ),
            Some(id) => format!(
                "the tokenizer of {name} pads with token {id}, the model's embedding has {rows} rows"
            ),
        })
        .hint("set its pad_token and save it with transformers' AutoTokenizer")
    );
    let types = config.type_vocab_size;
    let largest_type = encoding.get_type_ids().iter().max().copied().unwrap_or(0);
    let largest_id = encoding.get_ids().iter().max().copied().unwrap_or(0);
    ensure!(
        (largest_id as usize) < rows && (largest_type as usize) < types,
        UserError::new(format!(
            "the pair template of {name}'s tokenizer uses token {largest_id} and type {largest_type}, \
             the model has {rows} tokens and {types} types (type_vocab_size in config.json)"
        ))
        .hint("fetch config.json and tokenizer.json from the same place")
    );
    Ok(())
}

fn unusable(name: &str, error: &anyhow::Error) -> UserError {
    UserError::new(format!("the tokenizer of {name} cannot be used: {error}"))
        .hint("save it with transformers' AutoTokenizer")
}
