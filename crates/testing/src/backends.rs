//! Every backend that this build has.

use std::sync::MutexGuard;

use burn::tensor::Device;
use spanwise_artifact::settings;
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

/// Returns every backend that this build has: flex, and libtorch where it is set up. Waits for the
/// test that has them.
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
