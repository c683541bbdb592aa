//! For any text, tokens have exact character ranges, windows cover them, and answers are recovered.

use std::sync::LazyLock;

use anyhow::Result;
use proptest::prelude::*;
use spanwise_artifact::Characters;
use spanwise_windows::lay::{answer_tokens, evaluation_windows};
use spanwise_windows::tokenize::{self, Tokens, tokenize};
use tokenizers::Tokenizer;

/// The kinds of tokenizers that checkpoints come with.
static TOKENIZERS: LazyLock<[Tokenizer; 3]> =
    LazyLock::new(|| [word_pieces(), unigram(), byte_level()]);

/// Like XLM-RoBERTa's: compatibility forms unified, pieces that span several Chinese characters.
fn unigram() -> Tokenizer {
    let pieces = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("國", -3.0),
        ("年", -3.0),
        ("月", -3.0),
        ("年月", -4.0),
        ("《", -3.0),
        ("》", -3.0),
        ("1", -3.0),
        ("12", -3.0),
        ("a", -4.0),
        ("▁bl", -3.0),
        ("ue", -3.0),
        ("fi", -3.0),
        (",", -3.0),
    ];
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "WhitespaceSplit"},
            {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        ]},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false},
    });
    parse(&json)
}

/// Like RoBERTa's: a Chinese character is several tokens.
fn byte_level() -> Tokenizer {
    let bytes = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut bytes: Vec<String> = bytes.into_iter().map(String::from).collect();
    bytes.sort();
    let merged = ["bl", "ue", "12"].map(str::to_owned);
    let vocabulary: serde_json::Map<_, _> = bytes
        .into_iter()
        .chain(merged)
        .zip(0..)
        .map(|(token, id)| (token, id.into()))
        .collect();
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["b l", "u e", "1 2"]},
    });
    parse(&json)
}

fn parse(json: &serde_json::Value) -> Tokenizer {
    json.to_string()
        .parse()
        .expect("the tokenizer is well-formed")
}

/// Like BERT's, with Chinese characters, Latin pieces and everything else unknown.
fn word_pieces() -> Tokenizer {
    let tokens = [
        "[PAD]", "[UNK]", "[CLS]", "[SEP]", "國", "年", "月", "1", "##1", "##2", "2", "a", "##b",
        "bl", "##ue", "《", "》", ",",
    ];
    let vocabulary: serde_json::Map<_, _> = tokens
        .iter()
        .zip(0..)
        .map(|(token, id)| ((*token).to_owned(), id.into()))
        .collect();
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": vocabulary},
    });
    parse(&json)
}

/// Text with the shapes that break offsets: astral characters, combining marks, full-width forms,
/// controls.
fn text() -> impl Strategy<Value = String> {
    let characters = prop::sample::select(
        "國年月12ab blueＡＢ１é\u{301}e\u{301}𠮷龘《》「」，,\t\u{0}\u{fffd}\u{200b}ﬁ🚲ㄅ한글"
            .chars()
            .collect::<Vec<_>>(),
    );
    prop::collection::vec(characters, 0..120)
        .prop_map(|characters| characters.into_iter().collect())
}

fn tokens_of(kind: usize, text: &str) -> Tokens {
    tokenize(&TOKENIZERS[kind], text).expect("any text can be tokenized")
}

proptest! {
    #[test]
    fn ranges_ascend_within_the_text(kind in 0..3usize, text in text()) {
        let tokens = tokens_of(kind, &text);
        let length = text.chars().count();
        prop_assert_eq!(tokens.ids.len(), tokens.ranges.len());
        for pair in tokens.ranges.windows(2) {
            prop_assert!(pair[0].start <= pair[1].start && pair[0].end <= pair[1].end, "{pair:?}");
        }
        prop_assert!(tokens.ranges.iter().all(|range| range.start < range.end && range.end <= length));
    }

    #[test]
    fn visible_characters_of_the_vocabulary_are_never_lost(kind in 0..3usize, text in text()) {
        let tokens = tokens_of(kind, &text);
        for (index, c) in text.chars().enumerate() {
            if "國年月《》".contains(c) {
                let found = tokens.ranges.iter().any(|range| range.contains(&index));
                prop_assert!(found, "{c} at {index}");
            }
        }
    }

    #[test]
    fn answers_at_token_boundaries_come_back_exactly(kind in 0..3usize, text in text(), first in 0usize..100, length in 1usize..8) {
        let tokens = tokens_of(kind, &text);
        prop_assume!(first < tokens.ranges.len());
        let last = (first + length - 1).min(tokens.ranges.len() - 1);
        let answer = tokens.ranges[first].start..tokens.ranges[last].end;
        // The token of a word's beginning covers its first character, where an unknown word has
        // only one token for all of them: then its first character is no answer.
        let cut = |range: &std::ops::Range<usize>| {
            let touches = range.start < answer.end && answer.start < range.end;
            touches && !(answer.start <= range.start && range.end <= answer.end)
        };
        prop_assume!(!tokens.ranges.iter().any(cut));
        let expected = Characters::new(&text).get(answer.clone()).map(str::to_owned);
        let found = answer_tokens(&tokens.ranges, &answer).expect("tokens touch their own characters");
        prop_assert!(found.exact);
        let range = tokens.ranges[found.tokens.start].start..tokens.ranges[found.tokens.end - 1].end;
        prop_assert_eq!(Characters::new(&text).get(range).map(str::to_owned), expected);
    }

    #[test]
    fn any_answer_is_covered_by_its_tokens(kind in 0..3usize, text in text(), start in 0usize..120, length in 1usize..10) {
        let tokens = tokens_of(kind, &text);
        let answer = start..start + length;
        match answer_tokens(&tokens.ranges, &answer) {
            Some(found) => {
                prop_assert!(!found.tokens.is_empty());
                let touched = |range: &std::ops::Range<usize>| range.start < answer.end && answer.start < range.end;
                for (index, range) in tokens.ranges.iter().enumerate() {
                    prop_assert!(!touched(range) || found.tokens.contains(&index));
                }
            }
            None => prop_assert!(tokens.ranges.iter().all(|range| range.end <= answer.start || answer.end <= range.start)),
        }
    }

    #[test]
    fn every_tokenized_character_is_in_a_window(kind in 0..3usize, text in text(), room in 1usize..40, share in 0.0f64..1.0) {
        let tokens = tokens_of(kind, &text);
        let stride = 1 + (share * (room - 1) as f64) as usize;
        let mut seen = vec![false; tokens.ranges.len()];
        for window in evaluation_windows(tokens.ids.len(), room, stride) {
            seen[window].fill(true);
        }
        prop_assert!(seen.iter().all(|seen| *seen));
    }
}

#[test]
fn the_pair_template_comes_from_the_tokenizer() -> Result<()> {
    let template = tokenize::template(&TOKENIZERS[0])?;
    let ids = |specials: &[spanwise_artifact::windows::Special]| -> Vec<(u32, u32)> {
        specials
            .iter()
            .map(|special| (special.id, special.token_type))
            .collect()
    };
    assert_eq!(ids(&template.before), [(2, 0)]);
    assert_eq!(ids(&template.between), [(3, 0)]);
    assert_eq!(ids(&template.after), [(3, 1)]);
    assert_eq!(
        (
            template.question_type,
            template.paragraph_type,
            template.padding_id
        ),
        (0, 1, 0)
    );
    Ok(())
}
