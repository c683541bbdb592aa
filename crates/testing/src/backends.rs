//! Every backend that this build and this machine have.

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
        Some((name, device::open(device).expect("it is here").device))
    }
}

/// Returns every backend that this build and this machine have: flex, libtorch's CPU and a GPU; of
/// these, where `SPANWISE_TEST_DEVICES` is set, those that it names (`flex,cpu,cuda`). Waits for the
/// test that has them.
pub fn devices() -> Devices {
    let all = [
        ("flex", settings::Device::Flex),
        ("cpu", settings::Device::Cpu),
        ("cuda", settings::Device::Cuda(0)),
    ];
    let wanted = std::env::var("SPANWISE_TEST_DEVICES").ok();
    let is_here = |&(name, device): &(&str, settings::Device)| match &wanted {
        Some(wanted) => wanted.split(',').any(|one| one == name),
        None => device::open(device).is_ok(),
    };
    let here: Vec<_> = all.into_iter().filter(is_here).collect();
    Devices {
        left: here.into_iter(),
        _alone: device::hold_generator(),
    }
}
