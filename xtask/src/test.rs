//! `cargo xtask test`.

use anyhow::Result;

use spanwise_runner::workspace;

/// Runs every test, on libtorch too where it is set up.
pub fn run(arguments: &[String]) -> Result<()> {
    if !workspace::has_libtorch() {
        eprintln!(
            "libtorch is not set up: the model is tested on flex only (`cargo xtask setup` changes that)"
        );
    }
    let mut test = workspace::cargo();
    test.args(["test", "--workspace"])
        .args(workspace::features())
        .args(arguments);
    workspace::check(&mut test)
}
