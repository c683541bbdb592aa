//! Hostile and damaged `pytorch_model.bin` files: nothing in them is executed, absurd sizes are
//! refused before anything of that size is allocated, and the message names what is wrong.

use std::io::Write;

use anyhow::Result;
use spanwise_checkpoint::pytorch_file::{self, PytorchFileError};
use spanwise_checkpoint::tensor::NamedTensor;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// The pickles before the state dictionary in the older form: magic number, protocol, byte order.
const LEGACY_HEADER: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\
    \x80\x02M\xe9\x03.\
    \x80\x02}X\x0d\0\0\0little_endian\x88s.";

/// A file of the older form: a state dictionary as a pickle without its end, the keys of the
/// storages, and the storages.
fn legacy(dictionary: &[u8], keys: &[&str], storages: &[u8]) -> Vec<u8> {
    let keys = keys.iter().flat_map(|key| [text(key), b"a".to_vec()]);
    [
        LEGACY_HEADER,
        b"\x80\x02",
        dictionary,
        b".\x80\x02]",
        &keys.flatten().collect::<Vec<u8>>(),
        b".",
        storages,
    ]
    .concat()
}

/// A storage of the older form that holds the float 1.
const ONE: &[u8] = b"\x01\0\0\0\0\0\0\0\0\0\x80\x3f";

/// A file of the zip form with a state dictionary as a pickle without its end, and one storage `0`.
fn zipped(dictionary: &[u8], storage: &[u8], compression: CompressionMethod) -> Result<Vec<u8>> {
    let mut archive = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(compression);
    archive.start_file("archive/data.pkl", options)?;
    archive.write_all(&[b"\x80\x02", dictionary, b"."].concat())?;
    archive.start_file("archive/data/0", options)?;
    archive.write_all(storage)?;
    Ok(archive.finish()?.into_inner())
}

fn text(text: &str) -> Vec<u8> {
    let length = u32::try_from(text.len()).expect("a short text");
    [b"X", &length.to_le_bytes()[..], text.as_bytes()].concat()
}

fn integer(value: i64) -> Vec<u8> {
    [b"\x8a\x08", &value.to_le_bytes()[..]].concat()
}

fn tuple(values: &[i64]) -> Vec<u8> {
    let values: Vec<u8> = values.iter().copied().flat_map(integer).collect();
    [b"(", &values[..], b"t"].concat()
}

/// A dictionary with one entry.
fn dictionary(name: &str, value: &[u8]) -> Vec<u8> {
    [b"}", &text(name)[..], value, b"s"].concat()
}

/// A view of the storage `0`, which is declared to hold `elements` elements.
struct Tensor<'a> {
    kind: &'a str,
    elements: i64,
    offset: i64,
    shape: &'a [i64],
    strides: &'a [i64],
}

/// The only element of a storage of one.
const SCALAR: Tensor = Tensor {
    kind: "FloatStorage",
    elements: 1,
    offset: 0,
    shape: &[],
    strides: &[],
};

impl Tensor<'_> {
    fn pickle(&self) -> Vec<u8> {
        [
            b"ctorch._utils\n_rebuild_tensor_v2\n((",
            &text("storage")[..],
            b"ctorch\n",
            self.kind.as_bytes(),
            b"\n",
            &text("0"),
            &text("cpu"),
            &integer(self.elements),
            b"tQ",
            &integer(self.offset),
            &tuple(self.shape),
            &tuple(self.strides),
            b"\x89ccollections\nOrderedDict\n)RtR",
        ]
        .concat()
    }
}

fn read(bytes: &[u8]) -> Result<Vec<NamedTensor>, PytorchFileError> {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("pytorch_model.bin");
    fs_err::write(&path, bytes).expect("a file");
    pytorch_file::read(&path)
}

fn check_refused(bytes: &[u8], expected: &str) {
    let error = read(bytes).expect_err(expected);
    assert!(error.to_string().contains(expected), "{error}");
    assert!(!error.hint().is_empty());
}

#[test]
fn reads_what_these_tests_are_built_from() -> Result<()> {
    let dictionary = dictionary("a", &SCALAR.pickle());
    let storage = &ONE[8..];
    for file in [
        legacy(&dictionary, &["0"], ONE),
        zipped(&dictionary, storage, CompressionMethod::Stored)?,
        zipped(&dictionary, storage, CompressionMethod::Deflated)?,
    ] {
        let tensors = read(&file)?;
        assert_eq!(tensors.len(), 1);
        assert_eq!(
            (tensors[0].name.as_str(), &*tensors[0].bytes),
            ("a", storage)
        );
    }
    Ok(())
}

#[test]
fn takes_the_state_dictionary_out_of_a_training_state() -> Result<()> {
    let state = dictionary("bert.a", &SCALAR.pickle());
    // Beside it the tensors of an optimizer, which are not read.
    let optimizer = dictionary("exp_avg", &SCALAR.pickle());
    for key in ["state_dict", "model_state_dict", "model"] {
        let training = [
            b"}",
            &text("optimizer")[..],
            &optimizer,
            b"s",
            &text(key),
            &state,
            b"s",
            &text("epoch"),
            b"K\x03s",
        ]
        .concat();
        let tensors = read(&legacy(&training, &["0"], ONE))?;
        let names: Vec<&str> = tensors.iter().map(|tensor| &*tensor.name).collect();
        assert_eq!(names, ["bert.a"], "{key}");
    }
    let twice = dictionary("model", &dictionary("inner", &state));
    check_refused(&legacy(&twice, &["0"], ONE), "its tensors are in \"inner\"");
    Ok(())
}

#[test]
fn every_checksum_of_an_archive_is_compared() -> Result<()> {
    // A view of the first element alone: its reader stops before the end of the storage.
    let storage: Vec<u8> = [&ONE[8..]; 64].concat();
    let view = Tensor {
        elements: 64,
        ..SCALAR
    };
    for compression in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let file = zipped(&dictionary("weight", &view.pickle()), &storage, compression)?;
        assert_eq!(read(&file)?.len(), 1);
        // The checksum of each entry, in the list at the end of the archive.
        let entries: Vec<usize> = file
            .windows(4)
            .enumerate()
            .filter(|(_, bytes)| *bytes == b"PK\x01\x02")
            .map(|(start, _)| start + 16)
            .collect();
        assert_eq!(entries.len(), 2);
        for checksum in entries {
            let mut flipped = file.clone();
            flipped[checksum] ^= 1;
            let error = read(&flipped).expect_err("a wrong checksum");
            assert!(error.to_string().contains("checksum"), "{error}");
        }
    }
    Ok(())
}

#[test]
fn refuses_pickles_longer_than_any_state_dictionary() -> Result<()> {
    // Every byte a value of its own, which takes a hundred times as much memory.
    let long = [&b"]("[..], &vec![b'N'; 3 << 20], b"e"].concat();
    check_refused(&legacy(&dictionary("a", &long), &[], &[]), "its pickle has");
    for compression in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        check_refused(
            &zipped(&dictionary("a", &long), &[], compression)?,
            "its pickle has",
        );
    }
    Ok(())
}

#[test]
fn executes_nothing() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let trace = directory.path().join("trace");
    let command = text(&format!("touch {}", trace.display()));
    let calls: [&[u8]; 5] = [
        &[b"cos\nsystem\n", &command[..], b"\x85R"].concat(),
        &[b"cposix\nsystem\n", &command[..], b"\x85R"].concat(),
        &[b"csubprocess\ngetoutput\n", &command[..], b"\x85R"].concat(),
        &[b"(", &command[..], b"ios\nsystem\n"].concat(), // INST
        &[b"cos\nsystem\n", &command[..], b"\x85\x81"].concat(), // NEWOBJ
    ];
    for call in calls {
        let alone = dictionary("a", call);
        assert!(read(&legacy(&alone, &[], &[])).is_err());
        assert!(read(&zipped(&alone, &[], CompressionMethod::Stored)?).is_err());
        // Beside a tensor the call may be read as a value without meaning.
        let beside = [
            &dictionary("b", &SCALAR.pickle())[..],
            &text("a"),
            call,
            b"s",
        ]
        .concat();
        if let Ok(tensors) = read(&legacy(&beside, &["0"], ONE)) {
            assert_eq!(tensors.len(), 1);
        }
        assert!(!trace.exists(), "{}", String::from_utf8_lossy(call));
    }
    Ok(())
}

#[test]
fn refuses_absurd_sizes() -> Result<()> {
    let view = |tensor: Tensor| legacy(&dictionary("a", &tensor.pickle()), &["0"], ONE);
    // Lengths of texts and bytes that the file does not have.
    for value in [
        &b"X\xff\xff\xff\xffab"[..],
        b"B\xff\xff\xff\xffab",
        b"\x8b\xff\xff\xff\x7fab",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fab",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\xffab",
    ] {
        check_refused(&legacy(&dictionary("a", value), &[], &[]), "expected");
    }
    // A storage that the file does not have, and one whose size overflows.
    check_refused(
        &view(Tensor {
            elements: 1 << 40,
            shape: &[1 << 30],
            strides: &[1],
            ..SCALAR
        }),
        "extends beyond the end of the file",
    );
    check_refused(
        &view(Tensor {
            elements: i64::MAX,
            shape: &[i64::MAX],
            strides: &[1],
            ..SCALAR
        }),
        "overflow",
    );
    // One element repeated: within the storage, but not within reason.
    for (shape, strides, expected) in [
        (&[1 << 40][..], &[0][..], "above the"),
        (&[1 << 30], &[0], "4294967296 bytes"),
        (&[1 << 40, 1 << 40], &[0, 0], "overflow"),
        (&[2], &[i64::MAX], "declares 1"),
    ] {
        check_refused(
            &view(Tensor {
                shape,
                strides,
                ..SCALAR
            }),
            expected,
        );
    }
    // Many tensors that are each small enough.
    let repeated = Tensor {
        shape: &[1 << 20],
        strides: &[0],
        ..SCALAR
    };
    let mut many = b"}".to_vec();
    for index in 0..100 {
        many.extend([&text(&index.to_string())[..], &repeated.pickle(), b"s"].concat());
    }
    check_refused(&legacy(&many, &["0"], ONE), "its tensors would take");
    // A storage that is compressed a thousandfold.
    let zeros = Tensor {
        elements: 1 << 20,
        shape: &[1 << 20],
        strides: &[1],
        ..SCALAR
    };
    let bomb = zipped(
        &dictionary("a", &zeros.pickle()),
        &vec![0; 4 << 20],
        CompressionMethod::Deflated,
    )?;
    check_refused(&bomb, "its tensors would take 4194304 bytes");
    Ok(())
}

#[test]
fn refuses_pickles_that_grow_or_nest_without_end() {
    // Every tuple holds the one before it twice.
    let mut doubling = b"K\x01q\0".to_vec();
    for _ in 0..40 {
        doubling.extend(b"h\0h\0\x86q\0");
    }
    check_refused(&legacy(&dictionary("a", &doubling), &[], &[]), "memo bomb");
    let nested = [vec![b']'; 100_000], vec![b'a'; 99_999]].concat();
    check_refused(&legacy(&dictionary("a", &nested), &[], &[]), "nesting");
}

#[test]
fn refuses_tensors_outside_their_storage() -> Result<()> {
    let view = |tensor: Tensor| legacy(&dictionary("a", &tensor.pickle()), &["0"], ONE);
    for (offset, shape, strides) in [
        (1, &[1][..], &[1][..]),
        (0, &[2], &[1]),
        (-1, &[1], &[1]),
        (0, &[-1], &[1]),
        (0, &[1, 1], &[1]),
    ] {
        let tensor = Tensor {
            offset,
            shape,
            strides,
            ..SCALAR
        };
        assert!(
            read(&view(tensor)).is_err(),
            "{offset} {shape:?} {strides:?}"
        );
    }
    // More elements declared than stored, a missing storage, and a type without counterpart.
    let two = Tensor {
        elements: 2,
        shape: &[2],
        strides: &[1],
        ..SCALAR
    };
    let short = zipped(
        &dictionary("a", &two.pickle()),
        &ONE[8..],
        CompressionMethod::Stored,
    )?;
    check_refused(&short, "requires 2 elements");
    check_refused(
        &legacy(&dictionary("a", &SCALAR.pickle()), &[], ONE),
        "storage '0' not found",
    );
    check_refused(
        &view(Tensor {
            kind: "ComplexFloatStorage",
            ..SCALAR
        }),
        "torch.ComplexFloatStorage",
    );
    Ok(())
}

#[test]
fn refuses_what_is_no_state_dictionary() {
    check_refused(&legacy(b"]", &[], &[]), "no tensors");
    check_refused(&legacy(b"}", &[], &[]), "no tensors");
    check_refused(&legacy(&dictionary("a", b"K\x01"), &[], &[]), "no tensors");
    let training = dictionary("best", &dictionary("a", &SCALAR.pickle()));
    check_refused(
        &legacy(&training, &["0"], ONE),
        "its tensors are in \"best\"",
    );
    let both = [
        &dictionary("a.b", &SCALAR.pickle())[..],
        &text("a"),
        &dictionary("b", &SCALAR.pickle()),
        b"s",
    ]
    .concat();
    check_refused(&legacy(&both, &["0"], ONE), "its tensors are in \"a\"");
    for (bytes, expected) in [
        (&b""[..], "not a PyTorch checkpoint"),
        (b"<html>404</html>", "not a PyTorch checkpoint"),
        (b"\x80\x02", "IO error"),
        (b"\x80\x02h\x05.", "memo reference 5"),
        (b"\x80\x02K\x01K\x02s.", "stack underflow"),
    ] {
        check_refused(bytes, expected);
    }
    let big_endian = [
        &LEGACY_HEADER[..LEGACY_HEADER.len() - 3],
        b"\x89s.\x80\x02}.\x80\x02].",
    ]
    .concat();
    check_refused(&big_endian, "ig-endian");
    let mut tar = vec![0; 1024];
    tar[257..262].copy_from_slice(b"ustar");
    check_refused(&tar, "TAR archive");
}

#[test]
fn names_the_damage() -> Result<()> {
    let storage: Vec<u8> = [&ONE[8..]; 64].concat();
    let whole = Tensor {
        elements: 64,
        shape: &[64],
        strides: &[1],
        ..SCALAR
    };
    let file = zipped(
        &dictionary("weight", &whole.pickle()),
        &storage,
        CompressionMethod::Stored,
    )?;
    let start = file
        .windows(storage.len())
        .position(|bytes| bytes == storage);
    let mut flipped = file.clone();
    flipped[start.expect("the storage is stored as it is")] ^= 1;
    check_refused(&flipped, "tensor 'weight'");
    check_refused(&flipped, "checksum");
    Ok(())
}

#[test]
fn names_a_file_that_cannot_be_opened() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = pytorch_file::read(&directory.path().join("absent.bin")).expect_err("no file");
    assert!(matches!(error, PytorchFileError::Io(_)), "{error}");
    assert!(error.to_string().contains("absent.bin"), "{error}");
}
