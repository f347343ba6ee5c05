//! `lockstep up` with a configuration that no waiting mends.

#![allow(clippy::unwrap_used)]
#![allow(missing_docs)]

use std::process::Command;

#[test]
fn a_kubeconfig_that_is_not_there_ends_it_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no-such-kubeconfig");
    let output = Command::new(env!("CARGO_BIN_EXE_lockstep"))
        .args(["up", "--insecure-no-secret", "--listen=127.0.0.1:0"])
        .arg(format!("--cluster=dev={}", missing.display()))
        .arg(format!("--data-dir={}", folder.path().join("data").display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("cannot reach cluster dev"), "{said}");
    assert!(said.contains(&*missing.to_string_lossy()), "{said}");
}
