//! What is compiled once is not compiled again for tests or for libtorch.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use spanwise_runner::workspace;

/// The packages that differ when libtorch is set up: this workspace's own and the part of Burn that
/// chooses a backend.
const DIFFER: [&str; 5] = [
    "burn ",
    "burn-core ",
    "burn-dispatch ",
    "burn-tensor ",
    "spanwise-",
];

/// Returns every package that is compiled, with its features.
fn packages(edges: &str, features: &[&str]) -> Result<BTreeSet<String>> {
    let mut tree = workspace::cargo();
    tree.args(["tree", "--workspace", "--prefix", "none", "--edges", edges])
        .args(["--format", "{p} [{f}]"])
        .args(features);
    let output = tree.output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo tree failed: {errors}");
    let lines = String::from_utf8(output.stdout)?;
    let lines = lines
        .lines()
        .map(|line| line.replace(" (*)", "").replace(" (proc-macro)", ""));
    Ok(lines.filter(|line| !line.is_empty()).collect())
}

#[test]
fn tests_and_libtorch_add_packages_and_change_few() -> Result<()> {
    let plain = packages("normal,build", &[])?;
    let check = |edges: &str, features: &[&str], may_differ: &[&str]| -> Result<()> {
        let other = packages(edges, features)?;
        let changed = plain.difference(&other).filter(|package| {
            let mut may_differ = may_differ.iter();
            !may_differ.any(|name| package.starts_with(name))
        });
        let changed: Vec<_> = changed.collect();
        assert!(
            changed.is_empty(),
            "compiled again with {edges} and {features:?}, since their features differ: {changed:#?}\n\
             crates/ops/Cargo.toml names what is to be the same everywhere"
        );
        Ok(())
    };
    let tests = "normal,build,dev";
    check(tests, &[], &[])?;
    check("normal,build", workspace::LIBTORCH_FEATURES, &DIFFER)?;
    check(tests, workspace::LIBTORCH_FEATURES, &DIFFER)
}
