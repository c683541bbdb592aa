//! From text to tokens and the characters each of them covers.

use std::iter;
use std::ops::Range;
use std::path::Path;

use anyhow::{Result, anyhow, bail};
use spanwise_artifact::UserError;
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
///
/// # Errors
/// Fails if the file is not there, or is no tokenizer that the tokenizers library knows.
pub fn open(path: &Path) -> Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_file(path)
        .map_err(|error| unusable(format!("{} cannot be used: {error}", path.display())))?;
    tokenizer
        .with_truncation(None)
        .map_err(|error| anyhow!("{error}"))?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

/// Tokenizes `text` without special tokens.
///
/// No answer begins or ends with white space: byte-level tokenizers have the space before a word in
/// the word's token, which covers the word alone; a token of nothing else stands for the character
/// behind it, as does a mark of a word's beginning. A token that touches a grapheme cluster, which
/// readers see as one character, covers all of it: normalisers drop some of its code points, and
/// answers are never cut inside it.
///
/// # Errors
/// Fails if the tokenizer names a token that its vocabulary lacks.
pub fn tokenize(tokenizer: &Tokenizer, text: &str) -> Result<Tokens> {
    let encoding = tokenizer
        .encode_char_offsets(text, false)
        .map_err(|error| unusable(format!("the checkpoint's tokenizer fails: {error}")))?;
    let visible = Visible::new(text);
    let clusters = Clusters::new(text);
    let mut tokens = Tokens::default();
    for (&id, &(start, end)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
        // A token that covers no character of the text can neither start nor end an answer.
        if start < end {
            tokens.ids.push(id);
            let range = clusters.around(visible.part(start..end));
            tokens.ranges.push(range);
        }
    }
    Ok(tokens)
}

/// Which characters of a text are not white space.
struct Visible {
    is_visible: Vec<bool>,
    /// For each character the first visible one from it on, or else the last of the text.
    next: Vec<usize>,
}

impl Visible {
    fn new(text: &str) -> Self {
        let is_visible: Vec<bool> = text.chars().map(|c| !c.is_whitespace()).collect();
        let mut following = is_visible.iter().rposition(|&visible| visible);
        let mut next = vec![0; is_visible.len()];
        for index in (0..next.len()).rev() {
            if is_visible[index] {
                following = Some(index);
            }
            next[index] = following.unwrap_or(index);
        }
        Self { is_visible, next }
    }

    /// The range without white space at its ends.
    fn part(&self, range: Range<usize>) -> Range<usize> {
        let Some(&start) = self.next.get(range.start) else {
            return range;
        };
        let last = range
            .clone()
            .rfind(|&index| self.is_visible.get(index) == Some(&true));
        start..last.unwrap_or(start) + 1
    }
}

/// Which characters of a text are one to its readers.
struct Clusters {
    /// For each character the first of its cluster, and one past the last; empty where every
    /// character is a cluster.
    bounds: Vec<Range<usize>>,
}

impl Clusters {
    fn new(text: &str) -> Self {
        let mut bounds = Vec::new();
        // In ASCII only a line's end is a cluster of two, and that is white space.
        if !text.is_ascii() {
            for cluster in text.graphemes(true) {
                let start = bounds.len();
                let length = cluster.chars().count();
                bounds.extend(iter::repeat_n(start..start + length, length));
            }
        }
        Self { bounds }
    }

    /// The clusters that a range touches.
    fn around(&self, range: Range<usize>) -> Range<usize> {
        match (self.bounds.get(range.start), self.bounds.get(range.end - 1)) {
            (Some(first), Some(last)) => first.start..last.end,
            _ => range,
        }
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
        .map_err(|error| unusable(format!("the checkpoint's tokenizer fails: {error}")))?;
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
        bail!(unusable(
            "the checkpoint's tokenizer has no pair template: it puts no special token between \
             question and paragraph"
        ));
    }
    Ok(template)
}

/// The id of the padding token: that of the tokenizer's padding, or of the token that is usually
/// named so.
fn padding_id(tokenizer: &Tokenizer) -> Result<u32> {
    if let Some(padding) = tokenizer.get_padding() {
        return Ok(padding.pad_id);
    }
    let mut names = ["[PAD]", "<pad>"].iter();
    let found = names.find_map(|token| tokenizer.token_to_id(token));
    Ok(found.ok_or_else(|| {
        unusable(
            "the checkpoint's tokenizer has no padding token: neither [PAD] nor <pad> is in its \
             vocabulary",
        )
    })?)
}

/// A checkpoint whose tokenizer cannot be used.
fn unusable(message: impl Into<String>) -> UserError {
    UserError::new(message).hint(
        "use a checkpoint whose tokenizer is complete, or save this one again with transformers' \
         AutoTokenizer",
    )
}
