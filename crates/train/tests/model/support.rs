//! What the tests of the model share.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use spanwise_model::batch::Batch;
use spanwise_ops::device;

/// A backend has one random generator for all threads, and tests run in several.
static GENERATOR: Mutex<()> = Mutex::new(());

/// Devices with their names, held by one test at a time: whatever another test draws in between,
/// be it the parameters of a model, would change what this one draws.
pub struct Devices {
    left: std::vec::IntoIter<&'static str>,
    _alone: MutexGuard<'static, ()>,
}

impl Iterator for Devices {
    type Item = (&'static str, Device);

    fn next(&mut self) -> Option<Self::Item> {
        let name = self.left.next()?;
        Some((name, device::open(name).expect("the build has it").device))
    }
}

/// Every backend that this build has: flex, and libtorch where it is set up. Waits for the test
/// that has them.
pub fn devices() -> Devices {
    let names = if device::HAS_LIBTORCH {
        vec!["flex", "cpu"]
    } else {
        vec!["flex"]
    };
    Devices {
        left: names.into_iter(),
        // A test that failed leaves the generator as usable as it was.
        _alone: GENERATOR.lock().unwrap_or_else(PoisonError::into_inner),
    }
}

/// Kinds of encoders that transformers has saved a tiny one of.
pub const KINDS: [&str; 5] = ["bert", "electra", "roberta", "xlm-roberta", "albert"];

/// The tiny encoder of a kind.
pub fn tiny(kind: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/tiny-{kind}"))
}

/// A batch of rows of `(ids, token types)`.
pub fn batch(rows: &[(Vec<u32>, Vec<u32>)], device: &Device) -> Batch {
    const PADDING: u32 = 0;
    let longest = rows.iter().map(|(ids, _)| ids.len()).max().unwrap();
    Batch::padded(rows, longest, PADDING, device)
}

/// A tensor's values.
pub fn values(tensor: Tensor<2>) -> Result<Vec<Vec<f32>>> {
    let [_, columns] = tensor.dims();
    let values = tensor
        .into_data()
        .try_into_vec::<f32>()
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    Ok(values.chunks(columns).map(<[f32]>::to_vec).collect())
}
