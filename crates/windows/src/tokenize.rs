//! From text to tokens and the characters each of them covers.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use spanwise_artifact::windows::{Special, Template};
use tokenizers::Tokenizer;

/// The tokens of one text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Vocabulary ids.
    pub ids: Vec<u32>,
    /// Character range of every token in the original text, ascending.
    pub ranges: Vec<Range<usize>>,
}

/// Reads `tokenizer.json` and switches off truncation and padding, which this project does itself.
pub fn open(path: &Path) -> Result<Tokenizer> {
    let mut tokenizer =
        Tokenizer::from_file(path).map_err(|error| anyhow!("read {}: {error}", path.display()))?;
    tokenizer
        .with_truncation(None)
        .map_err(|error| anyhow!("{error}"))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

/// Tokenizes `text` without special tokens.
pub fn tokenize(tokenizer: &Tokenizer, text: &str) -> Result<Tokens> {
    let encoding = tokenizer
        .encode_char_offsets(text, false)
        .map_err(|error| anyhow!("tokenize: {error}"))?;
    let mut tokens = Tokens::default();
    for (&id, &(start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
        // A token that covers no character of the text can neither start nor end an answer.
        if start < end {
            tokens.ids.push(id);
            tokens.ranges.push(start..end);
        }
    }
    Ok(tokens)
}

/// Returns the tokenizer's pair template (`[CLS] question [SEP] paragraph [SEP]`), found by
/// encoding a pair.
pub fn template(tokenizer: &Tokenizer) -> Result<Template> {
    let encoding = tokenizer
        .encode(("1", "1"), true)
        .map_err(|error| anyhow!("encode a pair: {error}"))?;
    let mut template = Template {
        before: Vec::new(),
        between: Vec::new(),
        after: Vec::new(),
        question_type: 0,
        paragraph_type: 0,
        padding_id: padding_id(tokenizer)?,
        mask_id: ["[MASK]", "<mask>"]
            .iter()
            .find_map(|token| tokenizer.token_to_id(token)),
    };
    let mut seen = None;
    for (index, (&id, &token_type)) in encoding
        .get_ids()
        .iter()
        .zip(encoding.get_type_ids())
        .enumerate()
    {
        let special = Special { id, token_type };
        match (encoding.token_to_sequence(index), seen) {
            (None, None) => template.before.push(special),
            (None, Some(0)) => template.between.push(special),
            (None, Some(_)) => template.after.push(special),
            (Some(0), _) => (seen, template.question_type) = (Some(0), token_type),
            (Some(_), _) => (seen, template.paragraph_type) = (Some(1), token_type),
        }
    }
    if template.between.is_empty() {
        bail!(
            "the tokenizer has no pair template: it puts no special token between question and paragraph"
        );
    }
    Ok(template)
}

/// The id of the padding token: that of the tokenizer's padding, or of the token that is usually
/// named so.
fn padding_id(tokenizer: &Tokenizer) -> Result<u32> {
    if let Some(padding) = tokenizer.get_padding() {
        return Ok(padding.pad_id);
    }
    ["[PAD]", "<pad>"]
        .iter()
        .find_map(|token| tokenizer.token_to_id(token))
        .context("the tokenizer has no padding token: neither [PAD] nor <pad> is in its vocabulary")
}
