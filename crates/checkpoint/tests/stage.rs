//! The stage program on checkpoints as people have them: what is refused, with exit code 2, a
//! message that has both sides of what does not fit, and a remedy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};
use spanwise_artifact::jsonl;
use spanwise_checkpoint::tensor::{self, NamedTensor};
use spanwise_config::EncoderConfig;
use tempfile::TempDir;

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n1\n山\n";

fn config() -> Value {
    json!({
        "model_type": "bert", "vocab_size": 7, "hidden_size": 4, "num_hidden_layers": 1,
        "num_attention_heads": 2, "intermediate_size": 8, "max_position_embeddings": 16,
    })
}

/// A checkpoint in a directory of its own, and the job that imports it.
struct Checkpoint {
    directory: TempDir,
    settings: Value,
}

impl Checkpoint {
    /// A whole one, whose files fit each other.
    fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        fs_err::create_dir(directory.path().join("source"))?;
        let checkpoint = Self {
            directory,
            settings: json!({"source": "mine"}),
        };
        checkpoint.write("config.json", config().to_string())?;
        checkpoint.write("vocab.txt", VOCABULARY)?;
        checkpoint.write_weights("", "model.safetensors")?;
        Ok(checkpoint)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join("source").join(file)
    }

    fn write(&self, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
        Ok(fs_err::write(self.path(file), content)?)
    }

    fn remove(&self, file: &str) -> Result<()> {
        Ok(fs_err::remove_file(self.path(file))?)
    }

    /// Writes the weights of [`config`], their names behind `prefix`.
    fn write_weights(&self, prefix: &str, file: &str) -> Result<()> {
        let config = EncoderConfig::parse(config().to_string().as_bytes())?;
        let tensors: Vec<NamedTensor> = config
            .tensors()
            .map(|tensor| NamedTensor {
                bytes: vec![0; 4 * tensor.shape.iter().product::<usize>()],
                dtype: Dtype::F32,
                name: format!("{prefix}{}", tensor.name),
                shape: tensor.shape,
            })
            .collect();
        tensor::write(&self.path(file), &tensors)
    }

    /// Runs the stage; its exit code and messages.
    fn run(&self) -> Result<(Option<i32>, String)> {
        let job = self.directory.path().join("job.json");
        let text = json!({
            "stage": "checkpoint", "settings": self.settings,
            "inputs": {"directory": {"path": self.directory.path().join("source")}},
            "output": self.output(),
        });
        fs_err::write(&job, text.to_string())?;
        let output = Command::new(env!("CARGO_BIN_EXE_spanwise-checkpoint"))
            .arg("--job")
            .arg(job)
            .output()?;
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok((output.status.code(), messages))
    }

    fn output(&self) -> PathBuf {
        self.directory.path().join("artifacts/checkpoint/one")
    }

    fn check_imported(&self) -> Result<()> {
        let (code, messages) = self.run()?;
        assert_eq!(code, Some(0), "{messages}");
        Ok(())
    }

    fn check_refused(&self, expected: &str) -> Result<()> {
        let (code, messages) = self.run()?;
        assert_eq!(code, Some(2), "{messages}");
        assert!(messages.contains(expected), "{expected}: {messages}");
        assert!(messages.contains("hint: "), "{messages}");
        assert!(messages.len() < 1500, "{messages}");
        assert!(!self.output().exists());
        Ok(())
    }
}

/// Checks what the stage says of a checkpoint with a change.
fn check(change: impl FnOnce(&mut Checkpoint) -> Result<()>, expected: &str) -> Result<()> {
    let mut checkpoint = Checkpoint::new()?;
    change(&mut checkpoint)?;
    checkpoint.check_refused(expected)
}

/// Checks what the stage says of a checkpoint whose configuration has other values.
fn check_config(changes: Value, expected: &str) -> Result<()> {
    let mut config = config();
    for (key, value) in changes.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    check(
        |checkpoint| checkpoint.write("config.json", config.to_string()),
        expected,
    )
}

#[test]
fn a_whole_checkpoint_is_imported() -> Result<()> {
    Checkpoint::new()?.check_imported()
}

/// Texts are looked at with the tokens that a model is trained with.
#[test]
fn without_weights_the_small_files_are_the_same() -> Result<()> {
    for split_characters in [false, true] {
        let mut checkpoint = Checkpoint::new()?;
        checkpoint.settings["split_characters"] = json!(split_characters);
        checkpoint.check_imported()?;
        let output = checkpoint.output();
        let read = || -> Result<BTreeMap<String, Vec<u8>>> {
            let mut files = BTreeMap::new();
            for entry in fs_err::read_dir(&output)? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                files.insert(name.into_owned(), fs_err::read(&path)?);
            }
            Ok(files)
        };
        let mut whole = read()?;
        for file in ["model.safetensors", "origin.json", "manifest.json"] {
            assert!(whole.remove(file).is_some(), "{file}");
        }
        checkpoint.remove("model.safetensors")?;
        checkpoint.settings["tokenizer_only"] = json!(true);
        checkpoint.check_imported()?;
        let mut small = read()?;
        small.remove("manifest.json");
        assert!(small.contains_key("tokenizer.json"));
        assert_eq!(small, whole);
    }
    Ok(())
}

#[test]
fn without_weights_the_small_files_are_checked() -> Result<()> {
    let check = |change: fn(&Checkpoint) -> Result<()>, expected: &str| {
        check(
            |checkpoint| {
                checkpoint.settings["tokenizer_only"] = json!(true);
                change(checkpoint)
            },
            expected,
        )
    };
    check(
        |checkpoint| checkpoint.remove("vocab.txt"),
        "has no tokenizer.json",
    )?;
    check(
        |checkpoint| checkpoint.remove("config.json"),
        "has no config.json",
    )
}

/// transformers 5 builds `BertTokenizer` anew from the vocabulary, without what splits characters.
#[test]
fn python_reads_the_tokenizer_as_it_is() -> Result<()> {
    for split_characters in [false, true] {
        let mut checkpoint = Checkpoint::new()?;
        checkpoint.settings["split_characters"] = json!(split_characters);
        let class = json!({"tokenizer_class": "BertTokenizer", "do_lower_case": true});
        checkpoint.write("tokenizer_config.json", class.to_string())?;
        checkpoint.check_imported()?;
        let path = checkpoint.output().join("tokenizer_config.json");
        let found: Value = jsonl::read_document(&path)?;
        let expected = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
            "model_max_length": 16,
            "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]",
            "cls_token": "[CLS]", "mask_token": "[MASK]",
        });
        assert_eq!(found, expected);
    }
    Ok(())
}

#[test]
fn what_the_model_would_refuse_is_refused_here() -> Result<()> {
    check_config(
        json!({"model_type": "t5"}),
        "model_type = \"t5\": must be one of bert, electra,",
    )?;
    check_config(json!({"model_type": null}), "add \"model_type\": \"bert\"")?;
    check_config(
        json!({"position_embedding_type": "relative_key"}),
        "position_embedding_type = \"relative_key\": must be absolute",
    )?;
    check_config(json!({"hidden_dropout_prob": 2}), "less than 1")?;
    check_config(
        json!({"num_hidden_layers": 1_000_000_000}),
        "num_hidden_layers = 1000000000: must be a whole number from 1 to 1024",
    )?;
    check(
        |checkpoint| {
            fs_err::rename(
                checkpoint.path("config.json"),
                checkpoint.path("bert_config.json"),
            )?;
            Ok(())
        },
        "hint: its bert_config.json is the same under an older name",
    )
}

#[test]
fn files_that_do_not_fit_each_other_are_refused_with_both_sides() -> Result<()> {
    check(
        |checkpoint| checkpoint.write("vocab.txt", VOCABULARY.to_owned() + "川\n海\n"),
        "the tokenizer of mine has 9 tokens, the model's embedding 7 rows",
    )?;
    check_config(
        json!({"vocab_size": 9}),
        "bert.embeddings.word_embeddings.weight has [7, 4], expected [9, 4]",
    )?;
    check_config(
        json!({"num_hidden_layers": 2}),
        "16 tensors are missing: bert.encoder.layer.1.attention.self.query.weight, ",
    )?;
    check_config(
        json!({"type_vocab_size": 1}),
        "uses token 5 and type 1, the model has 7 tokens and 1 types",
    )
}

#[test]
fn special_tokens_must_have_rows() -> Result<()> {
    for token in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] {
        let vocabulary = VOCABULARY.replace(&format!("{token}\n"), "");
        check(
            |checkpoint| checkpoint.write("vocab.txt", &vocabulary),
            &format!("vocab.txt has no {token:?}"),
        )?;
    }
    Ok(())
}

#[test]
fn tokenizers_that_are_not_built_are_refused_by_name() -> Result<()> {
    let class = |name: &str| json!({"tokenizer_class": name}).to_string();
    for supported in ["BertTokenizer", "BertTokenizerFast", "ElectraTokenizerFast"] {
        let checkpoint = Checkpoint::new()?;
        checkpoint.write("tokenizer_config.json", class(supported))?;
        checkpoint.check_imported()?;
    }
    let japanese = "the tokenizer of mine is \"BertJapaneseTokenizer\", which this version does not \
                    build from vocab.txt";
    for (name, expected) in [
        ("BertJapaneseTokenizer", japanese),
        (
            "BertTokenizerSlow",
            "\"BertTokenizerSlow\", which this version",
        ),
        (
            "RoFormerTokenizer",
            "\"RoFormerTokenizer\", which this version",
        ),
        ("\u{1b}[2J", "\"\\u{1b}[2J\", which this version"),
    ] {
        check(
            |checkpoint| checkpoint.write("tokenizer_config.json", class(name)),
            expected,
        )?;
    }
    check(
        |checkpoint| {
            let config = json!({"subword_tokenizer_type": "character"});
            checkpoint.write("tokenizer_config.json", config.to_string())
        },
        "has subword_tokenizer_type = \"character\"",
    )?;
    check(
        |checkpoint| {
            let config = json!({"do_basic_tokenize": false});
            checkpoint.write("tokenizer_config.json", config.to_string())
        },
        "has do_basic_tokenize = false",
    )?;
    // The way out that the hint names.
    let mut split = Checkpoint::new()?;
    split.write("tokenizer_config.json", class("BertJapaneseTokenizer"))?;
    split.settings["split_characters"] = json!(true);
    split.check_imported()
}

#[test]
fn a_tokenizer_without_what_windows_need_is_refused() -> Result<()> {
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [],
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "[PAD]": 1, "[SEP]": 2, "1": 3},
        },
        "post_processor": {
            "type": "TemplateProcessing", "single": [],
            "pair": [
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
            ],
            "special_tokens": {"[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}},
        },
    });
    let with = |path: &str, value: Value| {
        let mut changed = tokenizer.clone();
        *changed.pointer_mut(path).expect("a path in it") = value;
        changed.to_string()
    };
    let whole = Checkpoint::new()?;
    whole.write("tokenizer.json", tokenizer.to_string())?;
    whole.check_imported()?;
    for (path, value, expected) in [
        ("/post_processor", Value::Null, "has no pair template"),
        ("/model/type", json!("Unknown"), "tokenizer.json: "),
        (
            "/model/vocab",
            json!({"[UNK]": 0, "[SEP]": 2, "1": 3}),
            "has no padding token: neither [PAD] nor <pad>",
        ),
        (
            "/post_processor/special_tokens/[SEP]/ids",
            json!([700]),
            "uses token 700",
        ),
        (
            "/model/vocab/1",
            json!(4_000_000_000u32),
            "has 4000000001 tokens",
        ),
    ] {
        check(
            |checkpoint| checkpoint.write("tokenizer.json", with(path, value)),
            expected,
        )?;
    }
    Ok(())
}

#[test]
fn wrappers_around_names_are_taken_off() -> Result<()> {
    for prefix in ["module.", "model.", "_orig_mod.", "module.model."] {
        let checkpoint = Checkpoint::new()?;
        checkpoint.write_weights(prefix, "model.safetensors")?;
        checkpoint.check_imported()?;
        let bytes = fs_err::read(checkpoint.output().join("model.safetensors"))?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        assert!(
            tensors.names().iter().all(|name| name.starts_with("bert.")),
            "{prefix}"
        );
    }
    Ok(())
}

#[test]
fn files_that_are_no_weights_are_named_as_what_they_are() -> Result<()> {
    for (content, expected) in [
        (&b""[..], "it is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n",
            "it is a pointer of git-lfs",
        ),
        (b"<!DOCTYPE html>\n<html>", "it is a web page"),
        (b"{\"error\": \"not found\"}", "it is a JSON document"),
        (b"\x89HDF\r\n\x1a\n", "it is weights of TensorFlow"),
    ] {
        for file in ["model.safetensors", "pytorch_model.bin"] {
            check(
                |checkpoint| {
                    checkpoint.remove("model.safetensors")?;
                    checkpoint.write(file, content)
                },
                expected,
            )?;
        }
    }
    check(
        |checkpoint| {
            checkpoint.remove("model.safetensors")?;
            checkpoint.write("tf_model.h5", "")
        },
        "mine has no model.safetensors or pytorch_model.bin: \"tf_model.h5\" is weights of TensorFlow",
    )?;
    // What a file is counts, not what it is called.
    let renamed = Checkpoint::new()?;
    fs_err::rename(
        renamed.path("model.safetensors"),
        renamed.path("pytorch_model.bin"),
    )?;
    renamed.check_imported()
}

#[test]
fn a_missing_shard_is_named() -> Result<()> {
    check(
        |checkpoint| {
            checkpoint.remove("model.safetensors")?;
            let index = json!({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}});
            checkpoint.write("model.safetensors.index.json", index.to_string())?;
            checkpoint.write_weights("", "1.safetensors")
        },
        "2.safetensors is missing, but ",
    )
}

#[test]
fn a_header_longer_than_any_encoder_needs_is_not_parsed() -> Result<()> {
    let length: u64 = 90_000_000;
    let header = [&length.to_le_bytes()[..], b"{", &vec![b' '; 90_000_000]].concat();
    check(
        |checkpoint| checkpoint.write("model.safetensors", &header),
        "its header has 90000000 bytes, which no encoder needs",
    )
}

/// The checkpoints of public bug reports, where they are there.
#[test]
fn reported_checkpoints_are_refused() -> Result<()> {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases");
    if !cases.is_dir() {
        spanwise_program::output::message(format_args!("skipped: there is no {}", cases.display()));
        return Ok(());
    }
    for (case, expected) in [
        (
            "04-token-ids-beyond-the-embedding/ckpt",
            Some("the model's embedding 186 rows"),
        ),
        (
            "04-token-ids-beyond-the-embedding/ckpt-without-pad",
            Some("has no \"[PAD]\""),
        ),
        (
            "04-token-ids-beyond-the-embedding/ckpt-without-mask",
            Some("has no \"[MASK]\""),
        ),
        (
            "07-tokenizer-class-is-ignored/ckpt",
            Some("is \"BertJapaneseTokenizer\""),
        ),
        (
            "11-members-are-checked-after-the-first-is-trained/ckpt-relative",
            Some("position_embedding_type = \"relative_key\""),
        ),
        (
            "21-weights-files-people-have/ckpt-bert_config.json",
            Some("its bert_config.json is the same"),
        ),
        (
            "21-weights-files-people-have/ckpt-no-model-type",
            Some("add \"model_type\": \"bert\" to it"),
        ),
        (
            "21-weights-files-people-have/ckpt-shard-missing",
            Some("model-00002-of-00002.safetensors is missing"),
        ),
        ("21-weights-files-people-have/ckpt-module-prefix", None),
        (
            "24-user-mistakes-that-end-with-exit-1/ckpt",
            Some("has no \"[UNK]\""),
        ),
        (
            "24-user-mistakes-that-end-with-exit-1/ckpt-no-pair-template",
            Some("has no pair template"),
        ),
    ] {
        let checkpoint = Checkpoint::new()?;
        let source = checkpoint.directory.path().join("source");
        fs_err::remove_dir_all(&source)?;
        fs_err::create_dir(&source)?;
        for entry in fs_err::read_dir(cases.join(case))? {
            let path = entry?.path();
            fs_err::copy(&path, source.join(path.file_name().unwrap_or_default()))?;
        }
        match expected {
            Some(expected) => checkpoint.check_refused(expected)?,
            None => checkpoint.check_imported()?,
        }
    }
    Ok(())
}
