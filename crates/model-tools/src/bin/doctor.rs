//! Prints what computing on this machine comes down to. `cargo xtask doctor` runs it.

fn main() {
    for (name, fact) in spanwise_ops::device::facts() {
        println!("{name:<18} {fact}");
    }
}
