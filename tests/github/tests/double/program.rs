//! Starting and stopping, as library and as program.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use github_double::{Double, DoubleOptions};

use crate::support::try_git;

#[tokio::test]
async fn dropping_the_double_stops_it() {
    let folder = tempfile::tempdir().unwrap();
    let double = Double::start(DoubleOptions::new(folder.path())).await.unwrap();
    double.create_repository("acme", "app", None).await.unwrap();
    let url = double.clone_url("acme", "app");
    assert!(try_git(folder.path(), &["ls-remote", &url]).await.0);
    double.stop().await;
    assert!(!try_git(folder.path(), &["ls-remote", &url]).await.0);
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let error = Double::start(DoubleOptions::new(folder.path()).port(port)).await.unwrap_err().to_string();
    assert!(error.contains(&format!("127.0.0.1:{port}")) && error.contains("choose another port"), "{error}");
}

#[tokio::test]
async fn the_program_serves_what_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    let seed = folder.path().join("seed");
    std::fs::create_dir(&seed).unwrap();
    std::fs::write(seed.join("a"), "a").unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_github-double"))
        .arg("--root")
        .arg(folder.path().join("forge"))
        .arg("--repository")
        .arg(format!("acme/app={}", seed.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    // Kept open: the program prints more than the first line.
    let mut printed = BufReader::new(program.stdout.take().unwrap());
    printed.read_line(&mut line).unwrap();
    let (found, refs) = try_git(folder.path(), &["ls-remote", line.trim()]).await;
    program.kill().unwrap();
    program.wait().unwrap();
    assert!(found && refs.contains("refs/heads/main"), "{refs}");
}
