//! Memory is a few model sizes and a fixed budget, however many updates come.

use std::process::Command;

/// Parameters of the model: 1 MB of weights.
const PARAMETERS: usize = 250_000;
/// Updates of the round: 120 MB in all.
const UPDATES: usize = 120;

#[test]
fn invariant_6_a_round_of_many_updates_takes_the_memory_of_a_few() {
    let program = env!("CARGO_BIN_EXE_upload-memory");
    let (updates, parameters) = (UPDATES.to_string(), PARAMETERS.to_string());
    let measured = Command::new(program)
        .args([&updates, &parameters])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&measured.stderr);
    assert!(measured.status.success(), "{errors}");
    let figures: serde_json::Value = serde_json::from_slice(&measured.stdout).unwrap();
    assert_eq!(figures["updates"], UPDATES, "{figures}");
    let sent = figures["update_bytes"].as_u64().unwrap() * UPDATES as u64;
    let above = figures["above_base_bytes"].as_u64().unwrap();
    // four uploads at a time, the sums, the new model, and what the allocator keeps
    assert!(above < sent / 3, "{above} bytes for {sent}: {figures}");
}
