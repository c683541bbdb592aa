//! Runs the Python tests of `scripts/`.

use std::env;
use std::path::Path;
use std::process::Command;

/// Set to 1 where a test that cannot run is to fail instead of being skipped.
const REQUIRE_ALL: &str = "SPANWISE_REQUIRE_ALL";

#[test]
fn python_tests_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let output = Command::new("python3")
        .args(["-B", "-m", "unittest", "discover", "scripts"])
        .current_dir(root)
        .output();
    match output {
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) if env::var(REQUIRE_ALL).is_ok_and(|value| value == "1") => {
            panic!("python3 does not start: {error}")
        }
        Err(error) => {
            spanwise_program::output::message(format_args!(
                "skipped: python3 does not start: {error}"
            ));
        }
    }
}
