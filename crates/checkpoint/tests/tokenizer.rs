//! Tokenizers built from vocabularies, character splitting, and errors of damaged files.

use std::path::Path;

use anyhow::{Result, anyhow};
use serde_json::{Value, json};
use spanwise_artifact::{UserError, jsonl};
use spanwise_checkpoint::{sentencepiece, tokenizer, tokenizer_config};
use tokenizers::Tokenizer;

/// Returns the text that each token of `text` stands for.
fn pieces(directory: &Path, text: &str) -> Result<Vec<String>> {
    let tokenizer = Tokenizer::from_file(directory.join("tokenizer.json"))
        .map_err(|error| anyhow!("{error}"))?;
    let encoding = tokenizer
        .encode(text, false)
        .map_err(|error| anyhow!("{error}"))?;
    let piece = |&(start, end): &(usize, usize)| text[start..end].to_owned();
    Ok(encoding
        .get_offsets()
        .iter()
        .map(piece)
        .filter(|piece| !piece.is_empty())
        .collect())
}

#[test]
fn splits_characters() -> Result<()> {
    let vocabulary = [
        ("<unk>", 0.0),
        ("▁", -2.0),
        ("▁在", -2.0),
        ("東", -9.0),
        ("東京", -3.0),
        ("京", -9.0),
        ("18", -3.0),
        ("1", -9.0),
        ("8", -9.0),
        ("》，", -3.0),
        ("》", -9.0),
        ("，", -9.0),
        ("▁Tokyo", -3.0),
        ("Tokyo", -4.0),
    ];
    let json = json!({
        "version": "1.0", "added_tokens": [],
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
        "model": {"type": "Unigram", "unk_id": 0, "vocab": vocabulary, "byte_fallback": false},
    });
    let directory = tempfile::tempdir()?;
    fs_err::write(directory.path().join("tokenizer.json"), json.to_string())?;
    let text = "在東京18》， Tokyo";
    assert_eq!(
        pieces(directory.path(), text)?,
        ["在", "東京", "18", "》，", " Tokyo"]
    );
    tokenizer::split_characters(directory.path())?;
    // The token `▁` that begins the word stands for the first character too.
    assert_eq!(
        pieces(directory.path(), text)?,
        ["在", "在", "東", "京", "1", "8", "》", "，", " Tokyo"]
    );
    Ok(())
}

#[test]
fn follows_tokenizer_config() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nÉta\neta\néta\n國\n國國\n年\n";
    fs_err::write(directory.path().join("vocab.txt"), vocabulary)?;
    let ids = |config: serde_json::Value, text: &str| -> Result<Vec<u32>> {
        fs_err::write(
            directory.path().join("tokenizer_config.json"),
            config.to_string(),
        )?;
        let tokenizer = tokenizer::from_vocabulary(directory.path())?;
        let encoding = tokenizer
            .encode(text, true)
            .map_err(|error| anyhow!("{error}"))?;
        Ok(encoding.get_ids().to_vec())
    };
    assert_eq!(
        ids(json!({}), "Éta 國國")?,
        [2, 6, 8, 8, 3],
        "BERT's defaults"
    );
    assert_eq!(
        ids(json!({"do_lower_case": false}), "Éta 國國")?,
        [2, 5, 8, 8, 3]
    );
    assert_eq!(ids(json!({"strip_accents": false}), "Éta")?, [2, 7, 3]);
    assert_eq!(
        ids(json!({"tokenize_chinese_chars": false}), "國國")?,
        [2, 9, 3]
    );
    assert_eq!(
        ids(
            json!({"cls_token": "年", "sep_token": {"content": "國"}}),
            "Éta"
        )?,
        [10, 6, 8]
    );
    Ok(())
}

/// A tokenizer of two words, whose special tokens are those of `vocabulary` that `added` names.
fn words(vocabulary: &Value, added: &[(&str, u32)], pre_tokenizer: &Value) -> Value {
    let added = added.iter().map(|(token, id)| {
        json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        })
    });
    json!({
        "version": "1.0", "added_tokens": added.collect::<Vec<_>>(),
        "pre_tokenizer": pre_tokenizer,
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocabulary,
        },
    })
}

#[test]
fn tokenizer_config_names_a_class_that_changes_nothing_and_the_special_tokens() -> Result<()> {
    let bert = json!({"[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "<h>": 5});
    let added = [("[UNK]", 0), ("[CLS]", 2), ("[SEP]", 3)];
    let plain = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
        "model_max_length": 16, "unk_token": "[UNK]",
        "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
    });
    let with = |changes: Value| {
        let mut document = plain.clone();
        for (key, value) in changes.as_object().into_iter().flatten() {
            document[key] = value.clone();
        }
        document
    };
    let spaces = |trims| json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": trims, "use_regex": true});
    let check = |pre_tokenizer: &Value, files: &[(&str, Value)], expected: &Value| -> Result<()> {
        let directory = tempfile::tempdir()?;
        let directory = directory.path();
        let write =
            |file: &str, content: &Value| fs_err::write(directory.join(file), content.to_string());
        let config = json!({
            "model_type": "bert", "vocab_size": 6, "hidden_size": 4, "num_hidden_layers": 1,
            "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16,
        });
        write("config.json", &config)?;
        write("tokenizer.json", &words(&bert, &added, pre_tokenizer))?;
        for (file, content) in files {
            write(file, content)?;
        }
        tokenizer_config::write("it", directory)?;
        let found: Value = jsonl::read_document(&directory.join(tokenizer_config::FILE))?;
        assert_eq!(&found, expected);
        assert!(!directory.join("special_tokens_map.json").exists());
        // Each is one token wherever it is in a text, as transformers has it.
        let tokenizer = Tokenizer::from_file(directory.join("tokenizer.json"))
            .map_err(|error| anyhow!("{error}"))?;
        for (_, token) in found.as_object().into_iter().flatten() {
            let special = token.as_str().filter(|token| token.starts_with(['[', '<']));
            let added = tokenizer.get_added_tokens_decoder();
            let is_added = |token: &str| added.values().any(|added| added.content == token);
            assert!(special.is_none_or(is_added), "{token}");
        }
        assert_eq!(tokenizer.get_vocab_size(true), 6);
        Ok(())
    };
    check(&Value::Null, &[], &plain)?;
    // What would change the tokens is left out.
    let named = json!({
        "tokenizer_class": "BertTokenizer", "do_lower_case": true, "auto_map": {"AutoTokenizer": ["a", "b"]},
        "added_tokens_decoder": {"9": {"content": "<new>"}}, "split_special_tokens": true,
        "model_max_length": 1e30, "cls_token": "<h>", "sep_token": {"content": "[SEP]"},
        "mask_token": "<none>", "pad_token": null, "unk_token": 7,
    });
    let expected = with(json!({"cls_token": "<h>"}));
    check(
        &Value::Null,
        &[(tokenizer_config::FILE, named.clone())],
        &expected,
    )?;
    let map =
        json!({"cls_token": "[CLS]", "bos_token": "<h>", "additional_special_tokens": ["<new>"]});
    let expected = with(json!({"cls_token": "<h>", "bos_token": "<h>"}));
    let files = [
        (tokenizer_config::FILE, named),
        ("special_tokens_map.json", map),
    ];
    check(&Value::Null, &files, &expected)?;
    // Release 4 sets it to false unless it is said.
    let expected = with(json!({"add_prefix_space": true}));
    check(&spaces(true), &[], &expected)?;
    let sequence = json!({"type": "Sequence", "pretokenizers": [spaces(false)]});
    check(&sequence, &[], &plain)
}

#[test]
fn encodes_sentencepiece_like_transformers() -> Result<()> {
    #[derive(serde::Deserialize)]
    struct Case {
        text: String,
        pair: Option<String>,
        ids: Vec<u32>,
    }
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/sentencepiece");
    let tokenizer = sentencepiece::read(&fixture.join("sentencepiece.bpe.model"))?;
    let cases: Vec<Case> = jsonl::read_document(&fixture.join("expected.json"))?;
    for case in cases {
        let encoding = match &case.pair {
            Some(pair) => tokenizer.encode((case.text.as_str(), pair.as_str()), true),
            None => tokenizer.encode(case.text.as_str(), true),
        };
        let encoding = encoding.map_err(|error| anyhow!("{error}"))?;
        assert_eq!(encoding.get_ids(), case.ids, "{:?}", case.text);
    }
    Ok(())
}

#[test]
fn reports_unreadable_files() -> Result<()> {
    let check = |files: &[(&str, &[u8])], expected: &str| -> Result<()> {
        let directory = tempfile::tempdir()?;
        for (file, bytes) in files {
            fs_err::write(directory.path().join(file), bytes)?;
        }
        let error = tokenizer::complete("someone/tiny", directory.path()).expect_err(expected);
        let error = error.downcast_ref::<UserError>().expect(expected);
        assert!(error.message.contains(expected), "{error}");
        assert!(error.hint.is_some(), "{error}");
        Ok(())
    };
    let vocabulary = &b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n"[..];
    check(&[], "someone/tiny has no tokenizer.json, vocab.txt")?;
    check(&[("tokenizer.json", b"{")], "tokenizer.json: EOF")?;
    check(&[("vocab.txt", b"\xff\xfe")], "vocab.txt: ")?;
    check(
        &[("vocab.txt", b"[PAD]\n[UNK]\n[SEP]\n[MASK]\n")],
        "vocab.txt has no \"[CLS]\"",
    )?;
    check(
        &[("vocab.txt", b"[PAD]\n[CLS]\n[SEP]\n[MASK]\n")],
        "vocab.txt has no \"[UNK]\"",
    )?;
    check(
        &[("vocab.txt", b"[UNK]\n[CLS]\n[SEP]\n[MASK]\n")],
        "vocab.txt has no \"[PAD]\"",
    )?;
    check(
        &[("vocab.txt", b"[PAD]\n[UNK]\n[CLS]\n[SEP]\n")],
        "vocab.txt has no \"[MASK]\"",
    )?;
    check(
        &[("vocab.txt", vocabulary), ("tokenizer_config.json", b"[")],
        "tokenizer_config.json",
    )?;
    check(
        &[("sentencepiece.bpe.model", b"<html>")],
        "sentencepiece.bpe.model: it is not a SentencePiece model",
    )
}
