//! XLM-RoBERTa's tokenizer from `sentencepiece.bpe.model`, a SentencePiece unigram model (Kudo &
//! Richardson, 2018, arXiv:1808.06226).
//!
//! Reference: `transformers.convert_slow_tokenizer.XLMRobertaConverter`, and
//! `sentencepiece_model.proto` for the file.

use std::fmt::Display;
use std::path::Path;

use anyhow::{Result, anyhow, ensure};
use prost::Message;
use spanwise_artifact::UserError;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::{NormalizerWrapper, Precompiled};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

#[derive(Message)]
struct ModelProto {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerSpec>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerSpec>,
}

#[derive(Message)]
struct Piece {
    #[prost(string, tag = "1")]
    piece: String,
    /// Logarithm of its probability.
    #[prost(float, tag = "2")]
    score: f32,
}

#[derive(Message)]
struct TrainerSpec {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
}

#[derive(Message)]
struct NormalizerSpec {
    /// Compiled replacement rules, read by the tokenizers crate.
    #[prost(bytes = "vec", tag = "2")]
    precompiled_charsmap: Vec<u8>,
}

/// `TrainerSpec.model_type` of a unigram model.
const UNIGRAM: i32 = 1;

/// XLM-RoBERTa's first tokens, numbered as fairseq does and not as the model file does.
const FIRST: [&str; 4] = ["<s>", "<pad>", "</s>", "<unk>"];

/// XLM-RoBERTa's last token.
const MASK: &str = "<mask>";

/// How many of the model file's first pieces [`FIRST`] replaces: `<unk>`, `<s>` and `</s>`.
const REPLACED: usize = 3;

/// Reads a model file as XLM-RoBERTa's tokenizer.
///
/// # Errors
/// Fails with a [`UserError`] if the file is not a SentencePiece unigram model.
pub fn read(path: &Path) -> Result<Tokenizer> {
    let refuse = |problem: &dyn Display| {
        UserError::new(format!("cannot read {}: {problem}", path.display()))
            .hint("fetch the checkpoint again, or save it with transformers' AutoTokenizer")
    };
    let bytes = fs_err::read(path).map_err(|error| refuse(&error))?;
    let model = ModelProto::decode(&*bytes)
        .map_err(|error| refuse(&format!("it is not a SentencePiece model: {error}")))?;
    let kind = model
        .trainer
        .and_then(|trainer| trainer.model_type)
        .unwrap_or(UNIGRAM);
    ensure!(
        kind == UNIGRAM,
        refuse(&format!(
            "its model has the type {kind}, expected {UNIGRAM} (unigram)"
        ))
    );
    let pieces = model.pieces.into_iter().skip(REPLACED);
    let charsmap = model
        .normalizer
        .map(|normalizer| normalizer.precompiled_charsmap)
        .filter(|charsmap| !charsmap.is_empty())
        .map(|charsmap| {
            Precompiled::from(&charsmap)
                .map_err(|error| refuse(&format!("its normalisation rules are damaged: {error:?}")))
        })
        .transpose()?;
    let split = true;
    let words = Sequence::new(vec![
        WhitespaceSplit.into(),
        Metaspace::new('▁', PrependScheme::Always, split).into(),
    ]);
    let pieces = pieces.map(|piece| (piece.piece, f64::from(piece.score)));
    build(pieces, charsmap.map(NormalizerWrapper::from), words)
}

/// Builds XLM-RoBERTa's tokenizer: its first tokens, then `pieces` with the logarithms of their
/// probabilities, then `<mask>`. `words` splits text into words.
pub fn build(
    pieces: impl Iterator<Item = (String, f64)>,
    normalizer: Option<NormalizerWrapper>,
    words: Sequence,
) -> Result<Tokenizer> {
    let first = FIRST.map(|token| (token.to_owned(), 0.0));
    let mut vocabulary: Vec<(String, f64)> = first.into();
    vocabulary.extend(pieces);
    vocabulary.push((MASK.to_owned(), 0.0));

    let unknown = FIRST.iter().position(|token| *token == "<unk>");
    let byte_fallback = false;
    let unigram = Unigram::from(vocabulary, unknown, byte_fallback).map_err(failed)?;
    let mut tokenizer = Tokenizer::new(unigram);
    tokenizer.with_normalizer(normalizer).map_err(failed)?;
    let id = |token: &str| {
        let index = FIRST.iter().position(|first| *first == token);
        (token.to_owned(), index.expect("one of the first") as u32)
    };
    let pair = TemplateProcessing::builder()
        .try_single("<s> $A </s>")
        .and_then(|builder| builder.try_pair("<s> $A </s> </s> $B </s>"))
        .map_err(|error| anyhow!("{error}"))?
        .special_tokens(vec![id("<s>"), id("</s>")])
        .build()?;
    tokenizer
        .with_pre_tokenizer(Some(words))
        .with_post_processor(Some(pair));
    let special = FIRST.iter().chain(&[MASK]);
    tokenizer
        .add_special_tokens(special.map(|token| AddedToken::from(*token, true)))
        .map_err(failed)?;
    Ok(tokenizer)
}

fn failed(error: impl Display) -> anyhow::Error {
    anyhow!("build the tokenizer: {error}")
}
