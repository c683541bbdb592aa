//! Tells the linker where libtorch lies, so that programs and tests start without environment variables.
//! Link arguments do not travel from a library's build script to another package's programs, so every
//! package with programs or tests on libtorch names this file as its own.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=../ops/build.rs");
    // Set by torch-sys, a direct dependency under the feature `tch`.
    let Ok(directory) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    // `cargo xtask setup` may put another build of libtorch in the same place.
    println!("cargo::rerun-if-changed={directory}");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{directory}");
    if Path::new(&directory).join("libtorch_cuda.so").exists() {
        // Nothing refers to this library by name; without the flag the linker drops it, and CUDA with it.
        println!("cargo::rustc-link-arg=-Wl,--push-state,--no-as-needed,-ltorch_cuda,--pop-state");
    }
}
