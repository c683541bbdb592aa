//! Tells the linker where libtorch is, so that programs and tests start without environment
//! variables.
//! Link arguments do not pass from a library's build script to another package's programs, so every
//! package with programs or tests on libtorch names this file as its own build script.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(crate) fn main() {
    tell_cargo("rerun-if-changed=../ops/link.rs");
    let Some(directory) = libtorch() else { return };
    let shown = directory.display();
    // `cargo xtask setup` may put another build of libtorch in the same place.
    tell_cargo(&format!("rerun-if-changed={shown}"));
    tell_cargo(&format!("rustc-link-arg=-Wl,-rpath,{shown}"));
    if Path::new(&directory).join("libtorch_cuda.so").exists() {
        // Nothing refers to this library by name; without the flag the linker drops it, and CUDA
        // with it.
        tell_cargo("rustc-link-arg=-Wl,--push-state,--no-as-needed,-ltorch_cuda,--pop-state");
    }
}

/// libtorch's `lib` folder, as torch-sys found it; `None` without the feature `tch`.
pub(crate) fn libtorch() -> Option<PathBuf> {
    // Set by torch-sys, a direct dependency under the feature.
    Some(std::env::var_os("DEP_TCH_LIBTORCH_LIB")?.into())
}

fn tell_cargo(instruction: &str) {
    writeln!(io::stdout(), "cargo::{instruction}").expect("cargo reads what build scripts print");
}
