//! Flat arrays in a memory-mapped safetensors file, which are loaded as they are read.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use fs_err::File;
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

/// A safetensors file open for reading.
pub struct Columns {
    path: PathBuf,
    map: Mmap,
    index: HashMap<String, (Dtype, Range<usize>)>,
}

impl Columns {
    /// Opens `path` and checks its header.
    pub fn open(path: &Path) -> Result<Self> {
        let map = map(path)?;
        let (header, metadata) =
            SafeTensors::read_metadata(&map).with_context(|| format!("read {}", path.display()))?;
        let data = header + size_of::<u64>();
        let index = metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let (start, end) = info.data_offsets;
                (name, (info.dtype, data + start..data + end))
            })
            .collect();
        Ok(Self {
            path: path.to_owned(),
            map,
            index,
        })
    }

    /// The named array of unsigned 32-bit integers.
    pub fn u32s(&self, name: &str) -> Result<&[u32]> {
        self.column(name, Dtype::U32)
    }

    /// The named array of 32-bit floats.
    pub fn f32s(&self, name: &str) -> Result<&[f32]> {
        self.column(name, Dtype::F32)
    }

    fn column<T: bytemuck::AnyBitPattern>(&self, name: &str, dtype: Dtype) -> Result<&[T]> {
        let (found, range) = self
            .index
            .get(name)
            .ok_or_else(|| anyhow!("{} has no array {name}", self.path.display()))?;
        ensure!(
            *found == dtype,
            "{}: array {name} is {found:?}, not {dtype:?}",
            self.path.display()
        );
        bytemuck::try_cast_slice(&self.map[range.clone()])
            .map_err(|error| anyhow!("{}: array {name}: {error}", self.path.display()))
    }
}

/// Maps a file into memory for reading. Pages are read from disk when they are first looked at.
///
/// # Errors
/// Fails if the file cannot be opened or mapped; its content is not looked at.
pub fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path)?;
    #[expect(
        unsafe_code,
        reason = "a map is the only way to read parts of a file of weights without copying all of it"
    )]
    // SAFETY: the bytes must not change while the map lives. What is mapped here is an artifact,
    // which never changes once committed, a file that this process has just written, or a
    // checkpoint of the user, which is read once while a stage runs; whoever rewrites that in place
    // meanwhile breaks the run in any case.
    let map = unsafe { Mmap::map(file.file()) };
    map.with_context(|| format!("map {}", path.display()))
}

/// Writes one-dimensional arrays of unsigned 32-bit integers to a safetensors file.
pub fn write_u32s(path: &Path, columns: &[(&str, &[u32])]) -> Result<()> {
    let views = columns
        .iter()
        .map(|(name, values)| {
            let bytes = bytemuck::cast_slice(values);
            Ok((
                *name,
                TensorView::new(Dtype::U32, vec![values.len()], bytes)?,
            ))
        })
        .collect::<Result<Vec<_>>>()?;
    safetensors::serialize_to_file(views, None, path)
        .with_context(|| format!("write {}", path.display()))
}
