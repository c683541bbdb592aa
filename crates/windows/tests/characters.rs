//! For any text, tokens have exact character ranges, windows cover them, and answers are recovered.

use std::ops::Range;
use std::sync::LazyLock;

use anyhow::Result;
use proptest::prelude::*;
use spanwise_artifact::Characters;
use spanwise_windows::lay::{answer_tokens, evaluation_windows};
use spanwise_windows::tokenize::{self, Tokens, tokenize};
use tokenizers::Tokenizer;
use unicode_segmentation::UnicodeSegmentation;

/// The kinds of tokenizers that checkpoints come with.
static TOKENIZERS: LazyLock<[Tokenizer; 5]> = LazyLock::new(|| {
    [
        word_pieces(),
        unigram(true),
        unigram(false),
        byte_level(true),
        byte_level(false),
    ]
});

/// Like XLM-RoBERTa's: compatibility forms unified, pieces that span several Chinese characters.
/// Where text is not split at white space first, pieces begin with the space before a word.
fn unigram(splits_white_space: bool) -> Tokenizer {
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
    let split = serde_json::json!({"type": "WhitespaceSplit"});
    let metaspace = serde_json::json!(
        {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}
    );
    let mut steps = vec![split, metaspace];
    if !splits_white_space {
        steps.remove(0);
    }
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [],
        "normalizer": {"type": "NFKC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false},
    });
    parse(&json)
}

/// Like RoBERTa's: a Chinese character is several tokens. Where offsets are not trimmed, a word's
/// first token has the space before it.
fn byte_level(trim_offsets: bool) -> Tokenizer {
    let bytes = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
    let mut bytes: Vec<String> = bytes.into_iter().map(String::from).collect();
    bytes.sort();
    let merged = ["Ġb", "Ġ1", "bl", "ue", "12"].map(str::to_owned);
    let vocabulary: serde_json::Map<_, _> = bytes
        .into_iter()
        .chain(merged)
        .zip(0..)
        .map(|(token, id)| (token, id.into()))
        .collect();
    let json = serde_json::json!({
        "version": "1.0", "added_tokens": [],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": trim_offsets, "use_regex": true},
        "post_processor": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": trim_offsets, "use_regex": true},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": ["Ġ b", "Ġ 1", "b l", "u e", "1 2"]},
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
    fn ranges_ascend_within_the_text(kind in 0..TOKENIZERS.len(), text in text()) {
        let tokens = tokens_of(kind, &text);
        let length = text.chars().count();
        prop_assert_eq!(tokens.ids.len(), tokens.ranges.len());
        for pair in tokens.ranges.windows(2) {
            prop_assert!(pair[0].start <= pair[1].start && pair[0].end <= pair[1].end, "{pair:?}");
        }
        prop_assert!(tokens.ranges.iter().all(|range| range.start < range.end && range.end <= length));
    }

    #[test]
    fn visible_characters_of_the_vocabulary_are_never_lost(kind in 0..TOKENIZERS.len(), text in text()) {
        let tokens = tokens_of(kind, &text);
        for (index, c) in text.chars().enumerate() {
            if "國年月《》".contains(c) {
                let found = tokens.ranges.iter().any(|range| range.contains(&index));
                prop_assert!(found, "{c} at {index}");
            }
        }
    }

    #[test]
    fn answers_at_token_boundaries_come_back_exactly(kind in 0..TOKENIZERS.len(), text in text(), first in 0usize..100, length in 1usize..8) {
        let tokens = tokens_of(kind, &text);
        prop_assume!(first < tokens.ranges.len());
        let last = (first + length - 1).min(tokens.ranges.len() - 1);
        let answer = tokens.ranges[first].start..tokens.ranges[last].end;
        // The token of a word's beginning covers its first character, where an unknown word has
        // only one token for all of them: then its first character is no answer.
        let cut = |range: &Range<usize>| {
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
    fn ranges_are_whole_characters_without_white_space(kind in 0..TOKENIZERS.len(), text in text()) {
        let tokens = tokens_of(kind, &text);
        let characters: Vec<char> = text.chars().collect();
        let mut cluster_starts = vec![0];
        for cluster in text.graphemes(true) {
            cluster_starts.push(cluster_starts.last().unwrap() + cluster.chars().count());
        }
        for range in &tokens.ranges {
            for end in [range.start, range.end] {
                prop_assert!(cluster_starts.contains(&end), "{range:?} cuts a cluster at {end}");
            }
            let of_token = &characters[range.clone()];
            let (first, last) = (of_token[0], of_token[of_token.len() - 1]);
            // A mark may follow white space, which is then part of what it marks.
            if !text.trim().is_empty() && !text.contains('\u{301}') {
                prop_assert!(!first.is_whitespace() && !last.is_whitespace(), "{range:?}");
            }
        }
    }

    #[test]
    fn any_answer_is_covered_by_its_tokens(kind in 0..TOKENIZERS.len(), text in text(), start in 0usize..120, length in 1usize..10) {
        let tokens = tokens_of(kind, &text);
        let answer = start..start + length;
        match answer_tokens(&tokens.ranges, &answer) {
            Some(found) => {
                prop_assert!(!found.tokens.is_empty());
                let touched = |range: &Range<usize>| range.start < answer.end && answer.start < range.end;
                for (index, range) in tokens.ranges.iter().enumerate() {
                    prop_assert!(!touched(range) || found.tokens.contains(&index));
                }
            }
            None => prop_assert!(tokens.ranges.iter().all(|range| range.end <= answer.start || answer.end <= range.start)),
        }
    }

    #[test]
    fn every_tokenized_character_is_in_a_window(kind in 0..TOKENIZERS.len(), text in text(), room in 1usize..40, share in 0.0f64..1.0) {
        let tokens = tokens_of(kind, &text);
        let stride = 1 + (share * (room - 1) as f64) as usize;
        let mut seen = vec![false; tokens.ranges.len()];
        for window in evaluation_windows(tokens.ids.len(), room, stride) {
            seen[window].fill(true);
        }
        prop_assert!(seen.iter().all(|seen| *seen));
    }
}

/// The texts that tokens cover.
fn pieces(kind: usize, text: &str) -> Vec<String> {
    let tokens = tokens_of(kind, text);
    let characters = Characters::new(text);
    let piece = |range: &Range<usize>| characters.get(range.clone()).expect("within the text");
    tokens
        .ranges
        .iter()
        .map(|range| piece(range).to_owned())
        .collect()
}

#[test]
fn the_space_before_a_word_is_in_no_token() {
    let check = |kind, text, expected: &[&str]| assert_eq!(pieces(kind, text), expected);
    for kind in [1, 2] {
        // The mark of a word's beginning is a token of its own before `a` and `12`.
        check(kind, "a blue, 12", &["a", "a", "bl", "ue", ",", "1", "12"]);
    }
    for kind in [3, 4] {
        check(kind, "a blue 12", &["a", "b", "l", "ue", "1", "2"]);
    }
    check(4, "\na \n", &["a", "a", "a", "a"]);
    check(4, " ", &[" "]);
}

#[test]
fn marks_belong_to_the_character_before_them() {
    let check = |kind, text, expected: &[&str]| assert_eq!(pieces(kind, text), expected);
    // The normaliser drops the mark.
    check(0, "a\u{301} 國", &["a\u{301}", "國"]);
    check(0, "blue\u{308}, a", &["bl", "ue\u{308}", ",", "a"]);
    // Each of its tokens is the whole character.
    check(3, "e\u{301}", &["e\u{301}"; 3]);
    let marked = "Le cafe\u{301} Zoe\u{308}";
    for kind in 0..TOKENIZERS.len() {
        let ranges = tokens_of(kind, marked).ranges;
        for answer in [3..8, 9..13] {
            let covering = answer_tokens(&ranges, &answer).expect("it has tokens");
            assert!(covering.exact, "tokenizer {kind}");
        }
    }
}

#[test]
fn what_the_vocabulary_lacks_has_a_token() {
    let unknown = TOKENIZERS.each_ref().map(tokenize::unknown_id);
    assert_eq!(unknown, [Some(1), Some(0), Some(0), None, None]);
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
