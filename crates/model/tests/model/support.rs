//! What the tests of the model share.

use std::path::PathBuf;
use std::sync::MutexGuard;

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use spanwise_artifact::settings;
use spanwise_model::batch::Batch;
use spanwise_ops::device;

/// Devices with their names, held by one test at a time: whatever another test samples in between,
/// be it the parameters of a model, would change what this one samples.
pub struct Devices {
    left: std::vec::IntoIter<(&'static str, settings::Device)>,
    _alone: MutexGuard<'static, ()>,
}

impl Iterator for Devices {
    type Item = (&'static str, Device);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, device) = self.left.next()?;
        Some((name, device::open(device).expect("the build has it").device))
    }
}

/// Every backend that this build has: flex, and libtorch where it is set up. Waits for the test
/// that has them.
pub fn devices() -> Devices {
    let mut devices = vec![("flex", settings::Device::Flex)];
    if device::HAS_LIBTORCH {
        devices.push(("cpu", settings::Device::Cpu));
    }
    Devices {
        left: devices.into_iter(),
        _alone: device::hold_generator(),
    }
}

/// The tiny encoder of a kind that transformers has saved.
pub fn tiny(kind: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");
    PathBuf::from(format!("{fixtures}/tiny-{kind}"))
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
