//! `tokenizer.json`: built where a checkpoint has only a vocabulary (`vocab.txt` with
//! `tokenizer_config.json`, or a SentencePiece model), and rewritten to split characters.

use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use serde::Deserialize;
use serde::de::IgnoredAny;
use spanwise_artifact::UserError;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::bert::BertProcessing;
use tokenizers::tokenizer::SplitDelimiterBehavior;
use tokenizers::{AddedToken, Model, Tokenizer};

use crate::{read_json, sentencepiece};

/// The part of `tokenizer_config.json` that is used, with the defaults of transformers'
/// `BertTokenizer`.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    do_lower_case: bool,
    tokenize_chinese_chars: bool,
    strip_accents: Option<bool>,
    unk_token: Token,
    sep_token: Token,
    pad_token: Token,
    cls_token: Token,
    mask_token: Token,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        let token = |text: &str| Token::Text(text.to_owned());
        Self {
            do_lower_case: true,
            tokenize_chinese_chars: true,
            strip_accents: None,
            unk_token: token("[UNK]"),
            sep_token: token("[SEP]"),
            pad_token: token("[PAD]"),
            cls_token: token("[CLS]"),
            mask_token: token("[MASK]"),
        }
    }
}

/// A special token: its text, or an object that holds it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Text(String),
    Object { content: String },
}

impl Token {
    fn text(&self) -> &str {
        match self {
            Token::Text(text) | Token::Object { content: text } => text,
        }
    }
}

/// Writes `tokenizer.json` into the checkpoint in `directory` if it has none. Messages call it
/// `name`.
///
/// # Errors
/// Fails with a [`UserError`] if the checkpoint has no tokenizer or it cannot be read.
pub fn complete(name: &str, directory: &Path) -> Result<()> {
    let tokenizer = read(name, directory)?;
    let path = directory.join("tokenizer.json");
    if path.is_file() {
        return Ok(());
    }
    save(&tokenizer, &path, Layout::Pretty)
}

/// Reads the tokenizer of the checkpoint in `directory`, or builds it from its vocabulary.
///
/// # Errors
/// Fails with a [`UserError`] if the checkpoint has no tokenizer or it cannot be read.
pub fn read(name: &str, directory: &Path) -> Result<Tokenizer> {
    guarded(name, || read_unguarded(name, directory))?
}

/// Calls the tokenizers library, which panics at some files that are not what it expects. Messages
/// call the checkpoint `name`.
///
/// # Errors
/// Fails with a [`UserError`] where it does.
pub(crate) fn guarded<T>(name: &str, call: impl FnOnce() -> T) -> Result<T, UserError> {
    // Only this thread runs while a checkpoint is read, so the hook is its own.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| ()));
    let result = panic::catch_unwind(AssertUnwindSafe(call));
    panic::set_hook(hook);
    result.map_err(|_| {
        UserError::new(format!(
            "the tokenizer of {name} is damaged: the tokenizers library stops at it"
        ))
        .hint("fetch the checkpoint again, or save it with transformers' AutoTokenizer")
    })
}

fn read_unguarded(name: &str, directory: &Path) -> Result<Tokenizer> {
    let path = directory.join("tokenizer.json");
    let pieces = directory.join("sentencepiece.bpe.model");
    if path.is_file() {
        open(&path)
    } else if directory.join("vocab.txt").is_file() {
        from_vocabulary(directory)
    } else if pieces.is_file() {
        sentencepiece::read(&pieces)
    } else {
        bail!(
            UserError::new(format!(
                "{name} has no tokenizer.json, vocab.txt or sentencepiece.bpe.model"
            ))
            .hint("save it with transformers' AutoTokenizer, which writes tokenizer.json")
        );
    }
}

fn open(path: &Path) -> Result<Tokenizer> {
    let text = fs_err::read_to_string(path).map_err(|error| unreadable(path, error))?;
    // The library panics at some that are not even JSON.
    let _: IgnoredAny = serde_json::from_str(&text).map_err(|error| unreadable(path, error))?;
    let tokenizer = Tokenizer::from_str(&text).map_err(|error| unreadable(path, error))?;
    Ok(tokenizer)
}

fn unreadable(path: &Path, error: impl Display) -> UserError {
    UserError::new(format!("cannot read {}: {error}", path.display()))
        .hint("fetch the checkpoint again, or save it with transformers' AutoTokenizer")
}

/// Han characters, kana, bopomofo, digits and punctuation. Not `\p{S}`: SentencePiece begins a word
/// with the symbol `▁`.
const SINGLE: &str = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Nd}\p{P}]";

/// Rewrites `tokenizer.json` in `directory` so that every Chinese or Japanese character, digit and
/// punctuation mark is a word of its own, and no token covers two of them.
///
/// # Errors
/// Fails with a [`UserError`] if `tokenizer.json` cannot be read.
pub fn split_characters(directory: &Path) -> Result<()> {
    let path = directory.join("tokenizer.json");
    let mut tokenizer = open(&path)?;
    let invert = false;
    let pattern = SplitPattern::Regex(SINGLE.to_owned());
    let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, invert)
        .map_err(|error| anyhow!("{error}"))?;
    let split = PreTokenizerWrapper::from(split);
    let steps = match tokenizer.get_pre_tokenizer().cloned() {
        None => vec![split],
        // Replaces characters by bytes, so they have to be split before.
        Some(bytes @ PreTokenizerWrapper::ByteLevel(_)) => vec![split, bytes],
        // Others mark where words begin, and the parts of a word do not, so it is split after.
        Some(words) => vec![words, split],
    };
    tokenizer.with_pre_tokenizer(Some(Sequence::new(steps)));
    save(&tokenizer, &path, Layout::Pretty)
}

/// How `tokenizer.json` is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Without whitespace.
    Compact,
    /// Indented.
    Pretty,
}

/// Writes a tokenizer to `path`.
pub fn save(tokenizer: &Tokenizer, path: &Path, layout: Layout) -> Result<()> {
    tokenizer
        .save(path, layout == Layout::Pretty)
        .map_err(|error| anyhow!("write {}: {error}", path.display()))
}

/// Builds BERT's tokenizer from `vocab.txt` and, if there is one, `tokenizer_config.json`, as
/// transformers' `BertTokenizerFast` does.
///
/// # Errors
/// Fails with a [`UserError`] if a file cannot be read or the vocabulary lacks a special token.
pub fn from_vocabulary(directory: &Path) -> Result<Tokenizer> {
    let path = directory.join("tokenizer_config.json");
    let config: TokenizerConfig = if path.exists() {
        read_json(&path)?
    } else {
        TokenizerConfig::default()
    };

    let vocabulary = directory.join("vocab.txt");
    let model = WordPiece::from_file(&vocabulary.to_string_lossy())
        .unk_token(config.unk_token.text().to_owned())
        .build()
        .map_err(|error| unreadable(&vocabulary, error))?;
    let id = |token: &Token| match model.token_to_id(token.text()) {
        Some(id) => Ok((token.text().to_owned(), id)),
        None => {
            let token = token.text();
            Err(
                UserError::new(format!("{} has no {token:?}", vocabulary.display())).hint(
                    "a line of vocab.txt is a token, and its number the row of the embedding; \
                     tokenizer_config.json names the special tokens where they are called otherwise",
                ),
            )
        }
    };
    for token in [&config.unk_token, &config.pad_token, &config.mask_token] {
        // One that is added behind the vocabulary has no row in the embedding.
        id(token)?;
    }
    let post_processor = BertProcessing::new(id(&config.sep_token)?, id(&config.cls_token)?);

    let mut tokenizer = Tokenizer::new(model);
    let clean_text = true;
    let normalizer = BertNormalizer::new(
        clean_text,
        config.tokenize_chinese_chars,
        config.strip_accents,
        config.do_lower_case,
    );
    tokenizer
        .with_normalizer(Some(normalizer))
        .map_err(|error| anyhow!("{error}"))?
        .with_pre_tokenizer(Some(BertPreTokenizer))
        .with_post_processor(Some(post_processor))
        .with_decoder(Some(WordPieceDecoder::default()));
    let special = [
        &config.pad_token,
        &config.unk_token,
        &config.cls_token,
        &config.sep_token,
        &config.mask_token,
    ]
    .map(|token| AddedToken::from(token.text(), true));
    tokenizer
        .add_special_tokens(special)
        .map_err(|error| anyhow!("{error}"))?;
    Ok(tokenizer)
}
