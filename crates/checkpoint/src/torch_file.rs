//! `pytorch_model.bin`: what `torch.save` writes, read without Python and without executing anything.
//!
//! Two forms: a zip archive with `data.pkl` and one entry per storage (PyTorch 1.6 and later), and the
//! older one of several pickles followed by the storages. Reference: `torch/serialization.py`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use fs_err::File;
use safetensors::tensor::Dtype;
use zip::ZipArchive;

use crate::pickle::{self, Value};
use crate::weights::NamedTensor;

/// First value of a file in the older form.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Reads every tensor of a state dictionary.
pub fn read(path: &Path) -> Result<Vec<NamedTensor>> {
    let mut file = BufReader::new(File::open(path)?);
    let zipped = file.fill_buf()?.starts_with(b"PK");
    let tensors = if zipped {
        read_zip(file)
    } else {
        read_legacy(file)
    };
    tensors.with_context(|| format!("read {}", path.display()))
}

fn read_zip(file: impl Read + Seek) -> Result<Vec<NamedTensor>> {
    let mut archive = ZipArchive::new(file)?;
    let pickle = archive
        .file_names()
        .find(|name| name.ends_with("/data.pkl"))
        .context("the archive holds no data.pkl: it was not written by torch.save")?
        .to_owned();
    let folder = pickle.trim_end_matches("data.pkl").to_owned();
    if let Ok(mut order) = archive.by_name(&format!("{folder}byteorder")) {
        let mut name = String::new();
        order.read_to_string(&mut name)?;
        ensure!(name.trim() == "little", "its numbers are {name}-endian");
    }
    let root = pickle::read(&mut BufReader::new(archive.by_name(&pickle)?))?;
    let described = describe(&root)?;
    let mut storages = HashMap::new();
    for (_, tensor) in &described {
        let key = &tensor.storage;
        if !storages.contains_key(key) {
            let mut bytes = Vec::new();
            let name = format!("{folder}data/{key}");
            let mut entry = archive
                .by_name(&name)
                .with_context(|| format!("{name} is missing"))?;
            entry
                .read_to_end(&mut bytes)
                .with_context(|| format!("{name} is damaged"))?;
            storages.insert(key.clone(), bytes);
        }
    }
    gather(described, &storages)
}

fn read_legacy(mut file: impl BufRead) -> Result<Vec<NamedTensor>> {
    let magic = pickle::read(&mut file).context("it is neither a zip archive nor a pickle")?;
    ensure!(
        magic == Value::Long(MAGIC.to_vec()),
        "it was not written by torch.save"
    );
    let protocol = pickle::read(&mut file)?;
    ensure!(
        protocol == Value::Int(1001),
        "its protocol is {protocol:?}, not 1001"
    );
    let system = pickle::read(&mut file)?;
    let little = (Value::Text("little_endian".to_owned()), Value::Bool(true));
    ensure!(
        system.as_items()?.contains(&little),
        "its numbers are big-endian"
    );
    let described = describe(&pickle::read(&mut file)?)?;
    let item_sizes: HashMap<&str, usize> = described
        .iter()
        .map(|(_, tensor)| (tensor.storage.as_str(), tensor.dtype.bitsize() / 8))
        .collect();
    let mut storages = HashMap::new();
    for key in pickle::read(&mut file)?.as_sequence()? {
        let Value::Text(key) = key else {
            bail!("a storage is named {key:?}")
        };
        let mut count = [0; 8];
        file.read_exact(&mut count)
            .context("the file is truncated")?;
        let size = item_sizes
            .get(key.as_str())
            .with_context(|| format!("storage {key} belongs to no tensor"))?;
        let length = u64::from_le_bytes(count) * *size as u64;
        let mut bytes = Vec::new();
        file.by_ref().take(length).read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 == length, "the file is truncated");
        storages.insert(key.clone(), bytes);
    }
    gather(described, &storages)
}

/// A tensor as the pickle describes it: a view of a storage.
struct Described {
    storage: String,
    dtype: Dtype,
    /// In elements, as are the strides.
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

/// The tensors of a state dictionary by name. Entries that are not tensors are left out.
fn describe(root: &Value) -> Result<Vec<(String, Described)>> {
    let mut described = Vec::new();
    for (key, value) in root.as_items().context("it holds no state dictionary")? {
        let Value::Text(name) = key else { continue };
        if let Some(tensor) = tensor(value).with_context(|| format!("understand {name}"))? {
            described.push((name.clone(), tensor));
        }
    }
    ensure!(!described.is_empty(), "it holds no tensors");
    Ok(described)
}

fn tensor(value: &Value) -> Result<Option<Described>> {
    let Value::Call {
        callable,
        arguments,
        ..
    } = value
    else {
        return Ok(None);
    };
    match (callable.as_str(), arguments.as_slice()) {
        ("torch._utils._rebuild_parameter", [data, ..]) => tensor(data),
        (
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
            [Value::Persistent(id), offset, shape, strides, ..],
        ) => {
            let sizes = |value: &Value| -> Result<Vec<usize>> {
                value.as_sequence()?.iter().map(Value::as_usize).collect()
            };
            let [_, Value::Global(kind), Value::Text(storage), ..] = id.as_sequence()? else {
                bail!("a storage is described as {id:?}")
            };
            Ok(Some(Described {
                storage: storage.clone(),
                dtype: dtype(kind)?,
                offset: offset.as_usize()?,
                shape: sizes(shape)?,
                strides: sizes(strides)?,
            }))
        }
        _ => Ok(None),
    }
}

fn dtype(storage: &str) -> Result<Dtype> {
    Ok(match storage.trim_start_matches("torch.") {
        "FloatStorage" => Dtype::F32,
        "HalfStorage" => Dtype::F16,
        "BFloat16Storage" => Dtype::BF16,
        "DoubleStorage" => Dtype::F64,
        "LongStorage" => Dtype::I64,
        "IntStorage" => Dtype::I32,
        "ShortStorage" => Dtype::I16,
        "CharStorage" => Dtype::I8,
        "ByteStorage" => Dtype::U8,
        "BoolStorage" => Dtype::BOOL,
        other => bail!("it holds {other}, which is not supported"),
    })
}

fn gather(
    described: Vec<(String, Described)>,
    storages: &HashMap<String, Vec<u8>>,
) -> Result<Vec<NamedTensor>> {
    let view = |(name, tensor): (String, Described)| {
        let storage = storages
            .get(&tensor.storage)
            .with_context(|| format!("the storage of {name} is missing"))?;
        let bytes = tensor
            .elements(storage)
            .with_context(|| format!("{name} lies outside its storage"))?;
        Ok(NamedTensor {
            name,
            dtype: tensor.dtype,
            shape: tensor.shape,
            bytes,
        })
    };
    described.into_iter().map(view).collect()
}

impl Described {
    /// The tensor's elements in row-major order; `None` where the storage is too short.
    fn elements(&self, storage: &[u8]) -> Option<Vec<u8>> {
        let size = self.dtype.bitsize() / 8;
        let count: usize = self.shape.iter().product();
        let mut contiguous = 1;
        let mut row_major = true;
        for (&length, &stride) in self.shape.iter().zip(&self.strides).rev() {
            row_major &= length == 1 || stride == contiguous;
            contiguous *= length;
        }
        if row_major {
            let first = self.offset * size;
            return Some(storage.get(first..first + count * size)?.to_vec());
        }
        let mut bytes = Vec::with_capacity(count * size);
        for mut index in 0..count {
            let mut place = self.offset;
            for (&length, &stride) in self.shape.iter().zip(&self.strides).rev() {
                place += index % length * stride;
                index /= length;
            }
            bytes.extend(storage.get(place * size..(place + 1) * size)?);
        }
        Some(bytes)
    }
}
