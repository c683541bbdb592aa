//! What a pipeline file may add to the plain loss. All of it is off by default.
//!
//! The rest of what `[train]` may add is no matter of the loss: `layer_decay` is in the optimizer,
//! `ema` in the averaged weights, both in `spanwise-training`.

pub mod adversary;
pub mod distillation;
pub mod head_dropout;
pub mod joint_loss;
pub mod masked_inputs;
pub mod r_drop;
pub mod soft_labels;
