//! Which tokens of an input attend to one another.

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

/// The rows of an input: a token attends to those of its own row.
#[derive(Debug, Clone)]
pub enum Rows {
    /// Rows of one width, padded at the end. The mask, `[batch, tokens]`, is 0 for a token and
    /// [`MASKED`](crate::MASKED) for padding.
    Padded(Tensor<2>),
    /// Rows of any length one after the other, as one row without padding.
    Packed(PackedRows),
}

/// Where the rows of a packed input begin and end.
#[derive(Debug, Clone)]
pub struct PackedRows {
    /// Index of every row's first token, and the number of tokens, `[rows + 1]`, i32.
    pub(crate) offsets: Tensor<1, Int>,
    /// Tokens of the longest row.
    pub(crate) longest: usize,
}

impl PackedRows {
    /// Rows of these lengths in tokens.
    pub fn new(lengths: impl IntoIterator<Item = usize>, device: &Device) -> Self {
        let (mut offsets, mut longest) = (vec![0i32], 0);
        for length in lengths {
            longest = longest.max(length);
            offsets.push(offsets[offsets.len() - 1] + length as i32);
        }
        let count = offsets.len();
        let offsets = TensorData::new(offsets, [count]);
        Self {
            offsets: Tensor::from_data(offsets, (device, DType::I32)),
            longest,
        }
    }

    /// The rows, and then as many of the same lengths.
    #[must_use]
    pub fn twice(&self) -> Self {
        let [count] = self.offsets.dims();
        let last = self.offsets.clone().narrow(0, count - 1, 1);
        let again = self.offsets.clone().narrow(0, 1, count - 1) + last;
        Self {
            offsets: Tensor::cat(vec![self.offsets.clone(), again], 0),
            longest: self.longest,
        }
    }
}
