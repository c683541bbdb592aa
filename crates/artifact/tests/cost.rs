//! What it costs that artifacts are durable and verified:
//! `cargo test -p spanwise-artifact --test cost -- --ignored --nocapture`.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use spanwise_artifact::{Draft, Found, Manifest, Stage};

/// Bytes of the artifact's one file.
const BYTES: usize = 1 << 30;

#[test]
#[ignore = "writes a gigabyte"]
fn an_artifact_of_a_gigabyte() -> Result<()> {
    let parent = tempfile::tempdir()?;
    let artifact = parent.path().join("artifact");
    let draft = Draft::create(Stage::Train, &artifact)?;
    let mut seconds = BTreeMap::new();
    let mut began = Instant::now();
    let mut lap = |what: &'static str| {
        seconds.insert(what, began.elapsed().as_secs_f64());
        began = Instant::now();
    };
    fs_err::write(draft.file("model.safetensors"), vec![7; BYTES])?;
    lap("1 written");
    let files = draft.files()?;
    lap("2 hashed for the manifest");
    let manifest = Manifest {
        name: "artifact".to_owned(),
        stage: Stage::Train,
        format: Stage::Train.format_version(),
        settings: json!({}),
        seed: None,
        inputs: BTreeMap::new(),
        code: BTreeMap::new(),
        files,
        device: None,
        precision: None,
        created: String::new(),
        wall_seconds: 0.0,
        tool_version: String::new(),
    };
    draft.commit(&manifest)?;
    lap("3 synced and renamed");
    let Found::Whole(manifest) = Manifest::find(&artifact) else {
        anyhow::bail!("it is whole");
    };
    lap("4 sizes compared");
    let damage = manifest.wrong_bytes(&artifact, None);
    lap("5 bytes compared");
    assert_eq!(damage, None);
    for (what, seconds) in &seconds {
        println!("{what}: {seconds:.3} s");
    }
    Ok(())
}
