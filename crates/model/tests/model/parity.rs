//! The same logits as transformers, and the same weights written.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use spanwise_artifact::jsonl;
use spanwise_model::families::FAMILIES;
use spanwise_model::{EncoderConfig, MaskedModel, SpanModel, weights};
use spanwise_ops::Precision;
use spanwise_testing::backends::devices;
use spanwise_testing::tiny::{batch, rows, saved};

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    rows: Vec<Row>,
    start: Vec<Vec<f32>>,
    end: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Row {
    ids: Vec<u32>,
    token_types: Vec<u32>,
}

/// The `model_type` of every family. transformers has saved a tiny encoder of each.
fn kinds() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.model_type)
}

fn pairs(rows: &[Row]) -> Vec<(Vec<u32>, Vec<u32>)> {
    rows.iter()
        .map(|row| (row.ids.clone(), row.token_types.clone()))
        .collect()
}

impl Case {
    /// Returns the largest difference of a logit of a real token.
    fn difference(&self, model: &SpanModel, device: &Device) -> Result<f32> {
        let logits = model.forward(&batch(&pairs(&self.rows), device), Precision::Fp32);
        let mut largest = 0f32;
        for (found, expected) in [
            (rows(logits.start)?, &self.start),
            (rows(logits.end)?, &self.end),
        ] {
            for (found, expected) in found.iter().zip(expected) {
                let differences = found
                    .iter()
                    .zip(expected)
                    .map(|(found, expected)| (found - expected).abs());
                largest = differences.fold(largest, f32::max);
            }
        }
        Ok(largest)
    }
}

fn expected(kind: &str) -> Result<Expected> {
    jsonl::read_document(&saved(kind).join("expected.json"))
}

/// Compares the logits of the checkpoint in `directory` with those of the tiny encoder of `kind`.
fn check_logits(directory: &Path, kind: &str, what: &str) -> Result<()> {
    for (name, device) in devices() {
        let (model, missing) = weights::load::<SpanModel>(directory, &device)?;
        assert!(missing.is_empty(), "{what}: {missing:?}");
        for (index, case) in expected(kind)?.cases.iter().enumerate() {
            let difference = case.difference(&model, &device)?;
            assert!(
                difference < 1e-5,
                "{what}, case {index} on {name}: logits differ by {difference}"
            );
        }
    }
    Ok(())
}

#[test]
fn logits_equal_transformers() -> Result<()> {
    for kind in kinds() {
        check_logits(&saved(kind), kind, kind)?;
    }
    Ok(())
}

#[derive(Deserialize)]
struct MaskedLogits {
    rows: Vec<Row>,
    /// The logits of every row's tokens, one after the other.
    logits: Vec<Vec<f32>>,
}

#[test]
fn logits_of_masked_tokens_equal_transformers() -> Result<()> {
    for kind in kinds() {
        let directory = saved(&format!("{kind}-masked"));
        let expected: MaskedLogits = jsonl::read_document(&directory.join("expected.json"))?;
        let inputs = pairs(&expected.rows);
        for (name, device) in devices() {
            let (model, missing) = weights::load::<MaskedModel>(&directory, &device)?;
            assert!(missing.is_empty(), "{kind}: {missing:?}");
            let hidden = model
                .encoder
                .forward(&batch(&inputs, &device), Precision::Fp32);
            let real = inputs.iter().enumerate().map(|(row, (ids, _))| {
                let hidden = hidden.clone().narrow(0, row, 1).narrow(1, 0, ids.len());
                hidden.squeeze_dim::<2>(0)
            });
            let found = rows(model.logits(Tensor::cat(real.collect(), 0)))?;
            let pairs = found.iter().flatten().zip(expected.logits.iter().flatten());
            let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert_eq!(found.len(), expected.logits.len());
            assert!(
                difference < 1e-5,
                "{kind} on {name}: logits differ by {difference}"
            );
        }
    }
    Ok(())
}

/// A copy of the tiny encoder of `kind` with tensors renamed and others added.
fn renamed(
    kind: &str,
    rename: impl Fn(&str) -> String,
    added: &[(&str, Vec<usize>)],
) -> Result<tempfile::TempDir> {
    let directory = tempfile::tempdir()?;
    let config = "config.json";
    fs_err::copy(saved(kind).join(config), directory.path().join(config))?;
    let bytes = fs_err::read(saved(kind).join("model.safetensors"))?;
    let tensors = SafeTensors::deserialize(&bytes)?.tensors();
    let zeros = vec![0; 4 * 100_000];
    let mut views: Vec<(String, TensorView)> = tensors
        .into_iter()
        .map(|(name, view)| (rename(&name), view))
        .collect();
    for (name, shape) in added {
        let count: usize = shape.iter().product();
        let view = TensorView::new(Dtype::F32, shape.clone(), &zeros[..4 * count])?;
        views.push(((*name).to_owned(), view));
    }
    safetensors::serialize_to_file(views, None, &directory.path().join("model.safetensors"))?;
    Ok(directory)
}

#[test]
fn other_heads_and_missing_prefixes_change_nothing() -> Result<()> {
    let same = |name: &str| name.to_owned();
    for kind in kinds() {
        let bare = |name: &str| match name.split_once('.') {
            Some((prefix, rest)) if prefix != "qa_outputs" => rest.to_owned(),
            _ => name.to_owned(),
        };
        check_logits(renamed(kind, bare, &[])?.path(), kind, "without prefix")?;
    }
    let heads = [
        ("bert.pooler.dense.weight", vec![48, 48]),
        ("bert.embeddings.position_ids", vec![1, 64]),
        ("cls.predictions.transform.dense.weight", vec![48, 48]),
        ("cls.seq_relationship.bias", vec![2]),
    ];
    check_logits(renamed("bert", same, &heads)?.path(), "bert", "other heads")
}

#[test]
fn a_missing_span_head_is_initialised_and_reported() -> Result<()> {
    let headless = |name: &str| name.replace("qa_outputs", "classifier");
    let directory = renamed("electra", headless, &[])?;
    for (_, device) in devices() {
        let (_, initialised) = weights::load::<SpanModel>(directory.path(), &device)?;
        assert_eq!(initialised, ["qa_outputs.weight", "qa_outputs.bias"]);
    }
    Ok(())
}

#[test]
fn saves_what_transformers_saved() -> Result<()> {
    let mut devices = devices();
    let (_, device) = devices.next().expect("flex is always there");
    let read = |path: &Path| -> Result<BTreeMap<_, _>> {
        let bytes = fs_err::read(path)?;
        let tensors = SafeTensors::deserialize(&bytes)?.tensors();
        let content = |view: TensorView| (view.shape().to_vec(), view.data().to_vec());
        Ok(tensors
            .into_iter()
            .map(|(name, view)| (name, content(view)))
            .collect())
    };
    for kind in kinds() {
        let (model, _) = weights::load::<SpanModel>(&saved(kind), &device)?;
        let config = EncoderConfig::read(&saved(kind).join("config.json"))?;
        let directory = tempfile::tempdir()?;
        let written = directory.path().join("model.safetensors");
        weights::save(&model, &config, &written)?;
        assert!(
            read(&written)? == read(&saved(kind).join("model.safetensors"))?,
            "{kind}: names, shapes or values differ"
        );
    }
    Ok(())
}

#[test]
fn a_checkpoint_that_does_not_fit_is_refused_by_name() -> Result<()> {
    let mut devices = devices();
    let (_, device) = devices.next().expect("flex is always there");
    let directory = renamed("bert", str::to_owned, &[])?;
    let mut config: serde_json::Value =
        jsonl::read_document(&directory.path().join("config.json"))?;
    config["num_hidden_layers"] = 4.into();
    config["intermediate_size"] = 97.into();
    jsonl::write_document(&directory.path().join("config.json"), &config)?;
    let error = weights::load::<SpanModel>(directory.path(), &device)
        .expect_err("must be refused")
        .to_string();
    for part in [
        "bert.encoder.layer.0.intermediate.dense.weight has [96, 48], expected [97, 48]",
        "16 tensors are missing: bert.encoder.layer.3.attention.self.query.weight, ",
    ] {
        assert!(error.contains(part), "{error}");
    }
    config["model_type"] = "t5".into();
    jsonl::write_document(&directory.path().join("config.json"), &config)?;
    let error = weights::load::<SpanModel>(directory.path(), &device)
        .expect_err("must be refused")
        .to_string();
    assert!(
        error.contains("model_type = \"t5\": must be one of bert, electra, "),
        "{error}"
    );
    Ok(())
}

/// Compares with another implementation's logits of a real checkpoint, where `SPANWISE_PEER_LOGITS`
/// names a directory with the checkpoint and those logits, `logits.json`.
#[test]
fn logits_of_a_real_checkpoint_equal_the_peer() -> Result<()> {
    #[derive(Deserialize)]
    struct Peer {
        cases: Vec<PeerCase>,
    }
    #[derive(Deserialize)]
    struct PeerCase {
        input_ids: Vec<Vec<u32>>,
        attention_mask: Vec<Vec<usize>>,
        token_type_ids: Vec<Vec<u32>>,
        start_logits: Vec<Vec<f32>>,
        end_logits: Vec<Vec<f32>>,
    }
    let Some(directory) = std::env::var_os("SPANWISE_PEER_LOGITS") else {
        eprintln!("skipped: SPANWISE_PEER_LOGITS names no directory");
        return Ok(());
    };
    let directory = std::path::Path::new(&directory);
    let peer: Peer = jsonl::read_document(&directory.join("logits.json"))
        .context("SPANWISE_PEER_LOGITS names a directory without logits")?;
    for (name, device) in devices() {
        let (model, missing) = weights::load::<SpanModel>(directory, &device)?;
        assert!(missing.is_empty(), "{missing:?}");
        for case in &peer.cases {
            let rows = case
                .input_ids
                .iter()
                .zip(&case.token_type_ids)
                .zip(&case.attention_mask);
            let rows = rows.map(|((ids, token_types), mask)| {
                let length = mask.iter().sum();
                Row {
                    ids: ids[..length].to_vec(),
                    token_types: token_types[..length].to_vec(),
                }
            });
            let case = Case {
                rows: rows.collect(),
                start: case.start_logits.clone(),
                end: case.end_logits.clone(),
            };
            // Zipping stops at the shorter row in `difference`, so logits of padding are cut here.
            let cut = |logits: &[Vec<f32>]| {
                logits
                    .iter()
                    .zip(&case.rows)
                    .map(|(row, real)| row[..real.ids.len()].to_vec())
                    .collect()
            };
            let (start, end) = (cut(&case.start), cut(&case.end));
            let difference = Case {
                start,
                end,
                rows: case.rows,
            }
            .difference(&model, &device)?;
            eprintln!("{name}: logits differ by at most {difference:e}");
            assert!(difference < 1e-4, "{name}: logits differ by {difference}");
        }
    }
    Ok(())
}
