//! Compiles the kernels where libtorch is set up.

mod link;

fn main() {
    link::main();
    let Some(directory) = link::libtorch() else {
        return;
    };
    let source = "src/kernels/kernels.cpp";
    println!("cargo::rerun-if-changed={source}");
    let include = directory.with_file_name("include");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .warnings(false) // libtorch's headers are full of them
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .flag_if_supported("-fno-math-errno")
        .flag_if_supported("-fno-trapping-math")
        // Sums may be taken in any order, so that they can be taken side by side.
        .flag_if_supported("-fno-signed-zeros")
        .flag_if_supported("-fassociative-math")
        // Short copying loops stay loops.
        .flag_if_supported("-fno-tree-loop-distribute-patterns")
        // Where a processor has wide vectors at all, the ones measured gain from their full width.
        .flag_if_supported("-mprefer-vector-width=512")
        .file(source);
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
