//! Files that people have in the place of weights, and what to do about each.

use std::io::{self, Read};
use std::path::Path;

use fs_err::File;
use spanwise_artifact::UserError;

/// Bytes of a file's beginning that are looked at.
const LOOKED_AT: u64 = 512;

/// What a file's beginning says that it is, and the remedy.
type Kind = (&'static str, &'static str);

const FETCH_AGAIN: &str = "fetch the checkpoint again";

const FROM_TENSORFLOW: &str = "convert it: transformers' AutoModelForMaskedLM.from_pretrained(directory, \
     from_tf=True).save_pretrained(directory), with a version below 5";

const FROM_FLAX: &str = "convert it: transformers' AutoModelForMaskedLM.from_pretrained(directory, \
     from_flax=True).save_pretrained(directory), with a version below 5";

const FROM_ONNX: &str =
    "fetch the checkpoint that it was exported from, which holds model.safetensors";

/// Refuses a file that is something else than weights, by what it is.
///
/// # Errors
/// Fails with a [`UserError`] that names what it is.
pub(crate) fn refuse(path: &Path) -> anyhow::Result<()> {
    match kind(&beginning(path)?) {
        None => Ok(()),
        Some((what, hint)) => {
            let message = format!("{} holds no weights: it is {what}", path.display());
            Err(UserError::new(message).hint(hint).into())
        }
    }
}

/// Whether a file is to be read as safetensors: what it is counts, and its name where that cannot be
/// seen.
pub(crate) fn is_safetensors(path: &Path) -> io::Result<bool> {
    let beginning = beginning(path)?;
    // The length of a header of JSON, and its first byte.
    let begins_so = beginning.get(8) == Some(&b'{') && beginning[4..8] == [0; 4];
    let is_pytorch = beginning.starts_with(b"PK") || beginning.starts_with(b"\x80");
    let extension = path.extension();
    Ok(begins_so || (!is_pytorch && extension.is_some_and(|name| name == "safetensors")))
}

/// Returns what to do where a directory has weights only in a form that is not read.
pub(crate) fn remedy(directory: &Path) -> Option<(String, &'static str)> {
    let mut names: Vec<String> = fs_err::read_dir(directory)
        .ok()?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .collect();
    names.sort();
    let remedy = |name: &String| {
        let extension = name.rsplit('.').next().unwrap_or_default();
        let (what, hint) = match extension {
            "h5" => ("weights of TensorFlow", FROM_TENSORFLOW),
            "msgpack" => ("weights of Flax", FROM_FLAX),
            "onnx" => ("a model of ONNX", FROM_ONNX),
            "bin" | "pt" | "pth" => (
                "perhaps weights of PyTorch",
                "call the file pytorch_model.bin",
            ),
            "safetensors" => ("perhaps its weights", "call the file model.safetensors"),
            _ if name.contains(".ckpt") => ("a checkpoint of TensorFlow", FROM_TENSORFLOW),
            _ => return None,
        };
        Some((format!("{name:?} is {what}"), hint))
    };
    names.iter().find_map(remedy)
}

fn beginning(path: &Path) -> io::Result<Vec<u8>> {
    let mut beginning = Vec::new();
    File::open(path)?
        .take(LOOKED_AT)
        .read_to_end(&mut beginning)?;
    Ok(beginning)
}

fn kind(beginning: &[u8]) -> Option<Kind> {
    // The length of a safetensors header may be read as anything.
    if beginning.get(4..9) == Some(&[0, 0, 0, 0, b'{']) {
        return None;
    }
    let text = beginning.trim_ascii_start();
    let begins = |with: &[u8]| {
        text.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    if beginning.is_empty() {
        Some(("empty", FETCH_AGAIN))
    } else if begins(b"version https://git-lfs") {
        Some((
            "a pointer of git-lfs, whose file was never fetched",
            "run `git lfs pull` in the checkpoint's directory",
        ))
    } else if begins(b"<!doctype") || begins(b"<html") || begins(b"<?xml") {
        Some((
            "a web page",
            "a server or proxy answered with a page: fetch the file again",
        ))
    } else if beginning.starts_with(b"\x89HDF\r\n\x1a\n") {
        Some(("weights of TensorFlow (HDF5)", FROM_TENSORFLOW))
    } else if beginning.starts_with(b"\x1f\x8b") {
        Some(("compressed with gzip", "unpack it with gunzip"))
    } else if beginning.starts_with(b"GGUF") {
        Some((
            "weights of llama.cpp (GGUF)",
            "fetch the checkpoint that it was converted from",
        ))
    } else if text.starts_with(b"{") {
        Some((
            "a JSON document",
            "a server may have answered with an error: look into the file, and fetch it again",
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_weights_is_named() {
        let check = |beginning: &[u8], expected: &str| {
            let (what, _) = kind(beginning).expect(expected);
            assert!(what.contains(expected), "{what}");
        };
        check(b"", "empty");
        check(
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "git-lfs",
        );
        check(b"<!DOCTYPE html><html>", "web page");
        check(b"\n  <HTML>", "web page");
        check(b"\x89HDF\r\n\x1a\n\0\0", "TensorFlow");
        check(b"\x1f\x8b\x08", "gzip");
        check(b"GGUF\x03", "llama.cpp");
        check(b"{\"error\": \"Not Found\"}", "JSON");
        for weights in [
            &b"PK\x03\x04"[..],
            b"\x80\x02}",
            b"\x10\0\0\0\0\0\0\0{\"a\"",
        ] {
            assert_eq!(kind(weights), None, "{weights:?}");
        }
    }

    #[test]
    fn weights_of_other_frameworks_have_a_remedy() {
        let check = |name: &str, expected: &str| {
            let directory = tempfile::tempdir().unwrap();
            fs_err::write(directory.path().join("config.json"), "{}").unwrap();
            assert_eq!(remedy(directory.path()), None);
            fs_err::write(directory.path().join(name), "").unwrap();
            let (what, _) = remedy(directory.path()).expect(expected);
            assert!(what.contains(expected) && what.contains(name), "{what}");
        };
        check("tf_model.h5", "weights of TensorFlow");
        check("bert_model.ckpt.index", "a checkpoint of TensorFlow");
        check("flax_model.msgpack", "weights of Flax");
        check("model.onnx", "ONNX");
        check("model_best.pt", "PyTorch");
    }
}
