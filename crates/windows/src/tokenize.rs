//! From text to tokens and the characters each of them covers.

use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use spanwise_artifact::windows::{Special, Template};
use tokenizers::{ModelWrapper, Tokenizer};
use unicode_segmentation::UnicodeSegmentation;

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
///
/// White space at the ends of a token belongs to none of its characters, where it has others: byte
/// level tokenizers have the space before a word in the word's token, and no answer begins with it.
/// A token that touches a grapheme cluster, which readers see as one character, covers all of it:
/// normalisers drop some of its code points, and answers are never cut inside it.
pub fn tokenize(tokenizer: &Tokenizer, text: &str) -> Result<Tokens> {
    let encoding = tokenizer
        .encode_char_offsets(text, false)
        .map_err(|error| anyhow!("tokenize: {error}"))?;
    let characters = Clusters::new(text);
    let mut tokens = Tokens::default();
    for (&id, &(start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
        // A token that covers no character of the text can neither start nor end an answer.
        if start < end {
            tokens.ids.push(id);
            tokens
                .ranges
                .push(characters.widen(characters.trim(start..end)));
        }
    }
    Ok(tokens)
}

/// The characters of a text, and which of them are one to a reader.
struct Clusters {
    white_space: Vec<bool>,
    /// First character of each character's cluster; empty where each is a cluster of its own.
    starts: Vec<usize>,
}

impl Clusters {
    fn new(text: &str) -> Self {
        let white_space: Vec<bool> = text.chars().map(char::is_whitespace).collect();
        let mut starts = Vec::new();
        // Most texts have no cluster of several characters, and ASCII has one only.
        if !text.is_ascii() || text.contains('\r') {
            for cluster in text.graphemes(true) {
                let start = starts.len();
                starts.extend(cluster.chars().map(|_| start));
            }
        }
        Self {
            white_space,
            starts,
        }
    }

    /// A range without white space at its ends, or unchanged where there is nothing else.
    fn trim(&self, range: Range<usize>) -> Range<usize> {
        let inside = |index: &usize| self.white_space.get(*index) == Some(&false);
        let first = range.clone().find(inside);
        let last = range.clone().rfind(inside);
        match (first, last) {
            (Some(first), Some(last)) => first..last + 1,
            _ => range,
        }
    }

    /// The clusters that a range touches.
    fn widen(&self, range: Range<usize>) -> Range<usize> {
        let Some(&start) = self.starts.get(range.start) else {
            return range;
        };
        let mut end = range.end;
        while self.starts.get(end).is_some_and(|&start| start < end) {
            end += 1;
        }
        start..end
    }
}

/// The id of the token that stands for what the vocabulary lacks; `None` where nothing does, as
/// with byte-level tokenizers.
pub fn unknown_id(tokenizer: &Tokenizer) -> Option<u32> {
    let token = match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => Some(&model.unk_token),
        ModelWrapper::WordLevel(model) => Some(&model.unk_token),
        ModelWrapper::BPE(model) => model.unk_token.as_ref(),
        // Its own is private, and has this name in all that are published.
        ModelWrapper::Unigram(_) => return tokenizer.token_to_id("<unk>"),
    };
    tokenizer.token_to_id(token?)
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
