//! The same tensors from every kind of file, and errors that name a damaged or missing one.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use safetensors::{Dtype, SafeTensors};
use spanwise_artifact::UserError;
use spanwise_checkpoint::weights;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/weights")
        .join(name)
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

fn read(path: &Path) -> Result<Tensors> {
    let bytes = fs_err::read(path)?;
    let tensors = SafeTensors::deserialize(&bytes)?.tensors().into_iter();
    Ok(tensors
        .map(|(name, view)| {
            let content = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            (name, content)
        })
        .collect())
}

fn unified(directory: &Path) -> Result<Tensors> {
    let output = tempfile::tempdir()?;
    let path = output.path().join(weights::FILE);
    weights::unify(&weights::files(directory)?, &path)?;
    read(&path)
}

#[test]
fn reads_same_tensors_from_every_format() -> Result<()> {
    let expected = read(&fixture("safetensors/model.safetensors"))?;
    assert_eq!(expected.len(), 5);
    for name in [
        "safetensors",
        "zip",
        "legacy",
        "old-names",
        "safetensors-shards",
        "zip-shards",
    ] {
        assert!(unified(&fixture(name))? == expected, "{name}");
    }
    Ok(())
}

#[test]
fn reads_views_that_share_a_storage() -> Result<()> {
    let expected = read(&fixture("views/expected.safetensors"))?;
    for name in ["views", "views-legacy"] {
        assert!(unified(&fixture(name))? == expected, "{name}");
    }
    Ok(())
}

#[test]
fn refuses_truncated_files() -> Result<()> {
    for (name, file) in [
        ("safetensors", "model.safetensors"),
        ("zip", "pytorch_model.bin"),
        ("legacy", "pytorch_model.bin"),
    ] {
        let bytes = fs_err::read(fixture(name).join(file))?;
        for length in [0, 10, bytes.len() / 2, bytes.len() - 1] {
            let directory = tempfile::tempdir()?;
            fs_err::write(directory.path().join(file), &bytes[..length])?;
            let error = unified(directory.path()).expect_err("part of a file is no file");
            let error = error.downcast_ref::<UserError>();
            let error = error.unwrap_or_else(|| panic!("{name}, {length} bytes: no user error"));
            assert!(
                error.message.contains(file),
                "{name}, {length} bytes: {error}"
            );
            assert!(error.hint.is_some(), "{name}, {length} bytes: {error}");
        }
    }
    Ok(())
}

#[test]
fn reports_what_is_wrong_with_shards() -> Result<()> {
    let check = |index: &str, expected: &str| -> Result<()> {
        let directory = tempfile::tempdir()?;
        fs_err::write(directory.path().join("model.safetensors.index.json"), index)?;
        let error = weights::files(directory.path()).expect_err(expected);
        let message = &error.downcast_ref::<UserError>().expect(expected).message;
        assert!(message.contains(expected), "{message}");
        Ok(())
    };
    check(
        r#"{"weight_map": {"a": "a.safetensors"}}"#,
        "a.safetensors is missing",
    )?;
    check(
        r#"{"weight_map": {"a": "../a.safetensors"}}"#,
        "outside the checkpoint",
    )?;
    check(
        r#"{"weight_map": {"a": "/a.safetensors"}}"#,
        "outside the checkpoint",
    )?;
    check("{}", "weight_map")?;
    check("{", "model.safetensors.index.json")
}

#[test]
fn refuses_a_tensor_in_two_shards() -> Result<()> {
    let shard = fixture("safetensors/model.safetensors");
    let output = tempfile::tempdir()?;
    let error = weights::unify(&[shard.clone(), shard], &output.path().join(weights::FILE))
        .expect_err("two tensors of one name");
    assert!(
        error.to_string().contains("two tensors named \"bert."),
        "{error}"
    );
    Ok(())
}
