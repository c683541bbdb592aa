//! What the tests of the model share.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::{Device, Tensor};
use spanwise_model::batch::Batch;
use spanwise_ops::device;

/// Every backend that this build has: flex, and libtorch where it is set up.
pub fn devices() -> Vec<(&'static str, Device)> {
    let names: &[&str] = if device::HAS_LIBTORCH {
        &["flex", "cpu"]
    } else {
        &["flex"]
    };
    let open = |name: &&'static str| (*name, device::open(name).expect("the build has it").device);
    names.iter().map(open).collect()
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
    Batch::from_rows(rows, PADDING, device)
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
