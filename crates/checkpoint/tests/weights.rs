//! The same tensors from every kind of file, and nothing from a broken one.

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
fn every_kind_of_file_holds_the_same() -> Result<()> {
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
fn views_of_a_storage_are_read_as_the_tensors_they_are() -> Result<()> {
    let expected = read(&fixture("views/expected.safetensors"))?;
    for name in ["views", "views-legacy"] {
        assert!(unified(&fixture(name))? == expected, "{name}");
    }
    Ok(())
}

#[test]
fn a_truncated_file_is_refused() -> Result<()> {
    for (name, file) in [
        ("safetensors", "model.safetensors"),
        ("zip", "pytorch_model.bin"),
        ("legacy", "pytorch_model.bin"),
    ] {
        let bytes = fs_err::read(fixture(name).join(file))?;
        for length in [0, 10, bytes.len() / 2, bytes.len() - 1] {
            let directory = tempfile::tempdir()?;
            fs_err::write(directory.path().join(file), &bytes[..length])?;
            let error = unified(directory.path()).expect_err("part of a file is not a file");
            assert!(
                error.downcast_ref::<UserError>().is_some(),
                "{name}, {length} bytes: {error:#}"
            );
        }
    }
    Ok(())
}
