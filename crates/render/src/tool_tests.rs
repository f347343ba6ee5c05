use std::time::Instant;

use super::*;
use crate::{RenderConfig, SandboxMode};

const LIMITS: Limits =
    Limits { timeout: Duration::from_secs(20), memory_bytes: 512 << 20, output_bytes: 1 << 20, objects: 100 };

/// Scripts need a shell, which no sandbox has.
async fn unconfined(processor_time: Duration) -> Confinement {
    let config = RenderConfig { sandbox: SandboxMode::Off, processor_time, ..RenderConfig::default() };
    Confinement::new(&config).await.unwrap()
}

fn script(folder: &Path, body: &str) -> Tool {
    let path = folder.join("tool");
    crate::testing::write_program(&path, &format!("#!/bin/sh\n{body}\n"));
    Tool { name: "helm", path, version: "v0".into(), identity: "fake".into() }
}

async fn play(body: &str, limits: Limits) -> Result<Output, RenderError> {
    play_in(body, limits, &unconfined(Duration::from_secs(20)).await).await
}

async fn play_in(body: &str, limits: Limits, confinement: &Confinement) -> Result<Output, RenderError> {
    let folder = tempfile::tempdir().unwrap();
    let tool = script(folder.path(), body);
    let arguments = vec!["one".into(), "two words".into()];
    let request = Run { tool: &tool, arguments, folder: folder.path(), home: folder.path(), network: false };
    run(request, &limits, &Starts::default(), confinement).await
}

fn is_gone(pid: &str) -> bool {
    // A killed process may stay as a zombie until its parent has looked.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

#[tokio::test]
async fn output_messages_and_status_are_kept_apart() {
    let output = play("echo \"$1|$2\"; echo wrong >&2; exit 3", LIMITS).await.unwrap();
    assert_eq!((output.success, output.stdout.as_slice()), (false, b"one|two words\n".as_slice()));
    assert_eq!(output.stderr, "wrong\n");
}

#[tokio::test]
async fn nothing_of_our_environment_reaches_a_program() {
    let output = play("env | cut -d= -f1 | sort | tr '\\n' ' '", LIMITS).await.unwrap();
    let names = String::from_utf8(output.stdout).unwrap();
    let allowed = [
        "ALL_PROXY",
        "GIT_ALLOW_PROTOCOL",
        "GOGC",
        "GOMAXPROCS",
        "GOMEMLIMIT",
        "HELM_NO_PLUGINS",
        "HOME",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LANG",
        "PATH",
        "PWD",
        "TMPDIR",
        "_",
        "OLDPWD",
        "SHLVL",
    ];
    for name in names.split_whitespace() {
        assert!(allowed.contains(&name), "{name} leaked");
    }
}

#[tokio::test]
async fn a_sleeping_program_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("child");
    let begun = Instant::now();
    let limits = Limits { timeout: Duration::from_millis(400), ..LIMITS };
    let body = format!("sleep 600 & echo $! > {}; wait", note.display());
    let Err(error) = play(&body, limits).await else { panic!("it must not end by itself") };
    assert!(error.is_transient() && error.to_string().contains("`timeout`"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let child = std::fs::read_to_string(&note).unwrap();
    while !is_gone(child.trim()) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the child lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_cancelled_render_kills_its_program() {
    let folder = tempfile::tempdir().unwrap();
    let note = folder.path().join("pid");
    let body = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 600", note.display());
    let running = tokio::spawn(async move { play(&body, LIMITS).await.map(|_| ()) });
    while !note.exists() {
        tokio::task::yield_now().await;
    }
    running.abort();
    let pid = std::fs::read_to_string(&note).unwrap();
    let begun = Instant::now();
    while !is_gone(pid.trim()) {
        assert!(begun.elapsed() < Duration::from_secs(10), "the program lives on");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn endless_output_is_cut_off() {
    let error = play("while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done", LIMITS).await.err().unwrap();
    assert!(error.to_string().contains("1 MiB") && !error.is_transient(), "{error}");
}

#[tokio::test]
async fn endless_messages_do_not_block_or_fill_memory() {
    let output = play("i=0; while [ $i -lt 4000 ]; do echo 'a message of some fifty characters, again and again' >&2; i=$((i+1)); done; echo ok", LIMITS)
        .await
        .unwrap();
    assert_eq!(output.stdout, b"ok\n");
    assert_eq!(output.stderr.len(), MAX_MESSAGE_BYTES);
}

#[tokio::test]
async fn too_much_memory_is_noticed() {
    let limits = Limits { memory_bytes: 32 << 20, ..LIMITS };
    // The shell doubles a string until it is stopped.
    let error = play("a=xxxxxxxxxxxxxxxx; while :; do a=$a$a; done", limits).await.err().unwrap();
    assert!(error.to_string().contains("memory of helm exceeded the limit of 32 MiB"), "{error}");
}

#[tokio::test]
async fn a_missing_program_says_so() {
    let confinement = unconfined(Duration::from_secs(20)).await;
    let error = Tool::probe("kustomize", Path::new("/nowhere/kustomize"), &confinement).await.unwrap_err();
    assert!(error.to_string().contains("kustomize cannot be started from /nowhere/kustomize"), "{error}");
}

#[tokio::test]
async fn burnt_processor_time_is_the_programs_own_fault() {
    let confinement = unconfined(Duration::from_secs(1)).await;
    let error = play_in("while :; do :; done", LIMITS, &confinement).await.err().unwrap();
    assert!(error.to_string().contains("processor time of helm exceeded the limit of 1 s"), "{error}");
    assert!(!error.is_transient(), "it is not tried again: {error}");
}
