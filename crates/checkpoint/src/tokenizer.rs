//! `tokenizer.json` from the older pair `vocab.txt` and `tokenizer_config.json`.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde::Deserialize;
use spanwise_artifact::{UserError, jsonl};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::{AddedToken, Model, Tokenizer};

/// `tokenizer_config.json`, its fields under their own names with `BertTokenizer`'s defaults.
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

/// Writes `tokenizer.json` into `directory`, which holds `vocab.txt` and perhaps `tokenizer_config.json`.
///
/// The result is what transformers' `BertTokenizerFast` builds from the same two files.
pub fn write_from_vocabulary(directory: &Path) -> Result<()> {
    let path = directory.join("tokenizer_config.json");
    let config: TokenizerConfig = if path.exists() {
        jsonl::read_document(&path)?
    } else {
        TokenizerConfig::default()
    };

    let model = WordPiece::from_file(&directory.join("vocab.txt").to_string_lossy())
        .unk_token(config.unk_token.text().to_owned())
        .build()
        .map_err(|error| anyhow!("build the tokenizer: {error}"))?;
    let id = |token: &Token| match model.token_to_id(token.text()) {
        Some(id) => Ok((token.text().to_owned(), id)),
        None => Err(UserError::new(format!("vocab.txt has no {}", token.text()))),
    };
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
    let pretty = true;
    tokenizer
        .save(directory.join("tokenizer.json"), pretty)
        .map_err(|error| anyhow!("write tokenizer.json: {error}"))
}
