//! The programs that tests need, found or built once.

use std::path::PathBuf;

use anyhow::Result;

pub use programs::{on_path, repository_root};

/// Finds or builds programs.
pub struct Tools;

impl Tools {
    /// The path of `controlplane`, `gitea`, `helm`, `kustomize` or `rabbitmq`, see [`programs::ensure`], or of `sandbox-exec`, which
    /// confines programs that render.
    pub async fn ensure(name: &str) -> Result<PathBuf> {
        let name = name.to_owned();
        tokio::task::spawn_blocking(move || {
            if name == "sandbox-exec" { crate::lockstep::sandbox_exec() } else { programs::ensure(&name) }
        })
        .await?
    }
}
