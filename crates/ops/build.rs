//! Compiles the kernels where libtorch is set up.

mod link;

/// The C++ files; cargo looks through the folder for changes.
const SOURCES: &str = "src/libtorch/cpp";

fn main() {
    link::main();
    let Some(directory) = link::libtorch() else {
        return;
    };
    println!("cargo::rerun-if-changed={SOURCES}");
    let include = directory.with_file_name("include");
    let mut build = cplusplus();
    if compile_tiled_attention() {
        build.define("HAS_TILED_ATTENTION", "1");
    }
    build
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .flag_if_supported("-fno-math-errno")
        .flag_if_supported("-fno-trapping-math")
        // Sums may be reordered, so that they vectorise.
        .flag_if_supported("-fno-signed-zeros")
        .flag_if_supported("-fassociative-math")
        // Short copying loops stay loops.
        .flag_if_supported("-fno-tree-loop-distribute-patterns")
        // The processors measured gain from the full width of their vectors.
        .flag_if_supported("-mprefer-vector-width=512")
        .file(format!("{SOURCES}/kernels.cpp"))
        .file(format!("{SOURCES}/operators.cpp"));
    // libtorch's own OpenMP: a second one in the process would have threads of its own.
    let openmp = "libgomp.so.1";
    if directory.join(openmp).exists() {
        build.flag("-fopenmp");
    }
    build.compile("spanwise_kernels");
    if directory.join(openmp).exists() {
        println!("cargo::rustc-link-search=native={}", directory.display());
        println!("cargo::rustc-link-lib=dylib:+verbatim={openmp}");
    }
    println!("cargo::rustc-link-lib=dylib=c10");
    println!("cargo::rustc-link-lib=dylib=torch_cpu");
}

fn cplusplus() -> cc::Build {
    let mut build = cc::Build::new();
    // Without warnings: libtorch's headers are full of them, and so are GCC's headers of vector
    // instructions.
    build.cpp(true).std("c++17").opt_level(3).warnings(false);
    build
}

/// Compiles attention once per instruction set that it is written for, if the target may have those
/// and the compiler knows them; returns whether it did.
fn compile_tiled_attention() -> bool {
    const SETS: [(&str, &[&str]); 2] = [
        ("avx2", &["avx2"]),
        (
            "avx512",
            &["avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512bf16"],
        ),
    ];
    if std::env::var("CARGO_CFG_TARGET_ARCH").as_deref() != Ok("x86_64") {
        return false;
    }
    let supports = |instruction: &&str| {
        cplusplus()
            .is_flag_supported(format!("-m{instruction}"))
            .unwrap_or(false)
    };
    if !SETS
        .iter()
        .all(|(_, instructions)| instructions.iter().all(supports))
    {
        return false;
    }
    for (name, instructions) in SETS {
        let mut build = cplusplus();
        for instruction in instructions {
            build.flag(format!("-m{instruction}"));
        }
        build
            .flag("-mfma")
            .flag_if_supported("-mprefer-vector-width=512")
            // Neighbouring elements are read as one pack.
            .flag("-fno-strict-aliasing")
            .file(format!("{SOURCES}/tiled_attention.cpp"))
            .compile(&format!("spanwise_attention_{name}"));
    }
    true
}
