//! What GitHub publishes and nobody should commit: its OpenAPI description and its examples of webhooks, from npm.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde::Deserialize;
use serde_json::Value;
use tokio::process::Command;

/// Package of the OpenAPI description, and the file in it.
const OPENAPI: Package =
    Package { name: "@octokit/openapi", version: "23.0.2", file: "generated/api.github.com.json", as_name: "openapi" };
/// Package of real webhook payloads.
const EXAMPLES: Package = Package {
    name: "@octokit/webhooks-examples",
    version: "7.6.1",
    file: "api.github.com/index.json",
    as_name: "webhooks-examples",
};

struct Package {
    name: &'static str,
    /// Pinned, so that a test is red because of us and not because of a release.
    version: &'static str,
    file: &'static str,
    as_name: &'static str,
}

/// Why an asset is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum AssetError {
    /// Neither `LOCKSTEP_CACHE` nor `HOME` is set.
    #[error("there is no folder for the cache; set LOCKSTEP_CACHE to one")]
    NoCache,
    /// A program is missing or failed.
    #[error("{program} failed: {message}; install Node.js with npm and tar, or put the file at {wanted} yourself")]
    Program {
        /// `npm` or `tar`.
        program: &'static str,
        /// What it says.
        message: String,
        /// Where the file is looked for.
        wanted: PathBuf,
    },
    /// The cache cannot be written.
    #[error("the cache cannot be used: {0}; set LOCKSTEP_CACHE to a folder that can be written")]
    Io(#[from] std::io::Error),
    /// The file is broken.
    #[error("{path} cannot be read ({source}); delete it, it is fetched again")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where it went wrong.
        source: serde_json::Error,
    },
}

/// Payloads of one event as GitHub has really sent them.
#[derive(Clone, Debug, Deserialize)]
pub struct Example {
    /// `push`, `pull_request`, ...
    pub name: String,
    /// Payloads of all actions.
    pub examples: Vec<Value>,
}

/// GitHub's OpenAPI description, fetched once into the cache (29 MB).
pub async fn openapi() -> Result<PathBuf, AssetError> {
    OPENAPI.ensure(&cache()?).await
}

/// Real webhook payloads, fetched once into the cache.
pub async fn examples() -> Result<Vec<Example>, AssetError> {
    let path = EXAMPLES.ensure(&cache()?).await?;
    let text = tokio::fs::read(&path).await?;
    serde_json::from_slice(&text).map_err(|source| AssetError::Parse { path, source })
}

fn cache() -> Result<PathBuf, AssetError> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("LOCKSTEP_CACHE").or_else(|| Some(set("HOME")?.join(".cache/lockstep"))).ok_or(AssetError::NoCache)
}

impl Package {
    async fn ensure(&self, cache: &Path) -> Result<PathBuf, AssetError> {
        let folder = cache.join("github");
        let wanted = folder.join(format!("{}-{}.json", self.as_name, self.version));
        if wanted.exists() {
            return Ok(wanted);
        }
        tracing::info!(package = self.name, version = self.version, "fetching from npm");
        // Apart until complete: several tests may fetch at once, and one may be interrupted.
        let work = folder.join(format!("fetch-{}", uuid::Uuid::new_v4()));
        tokio::fs::create_dir_all(&work).await?;
        let fetched = self.fetch(&work, &wanted).await;
        tokio::fs::remove_dir_all(&work).await?;
        fetched.map(|()| wanted)
    }

    async fn fetch(&self, work: &Path, wanted: &Path) -> Result<(), AssetError> {
        let failed = |program, message: String| AssetError::Program { program, message, wanted: wanted.to_owned() };
        let run = |program: &'static str, command: &mut Command| {
            let output = command.current_dir(work).output();
            async move {
                match output.await {
                    Ok(output) if output.status.success() => Ok(output),
                    Ok(Output { stderr, .. }) => {
                        Err(failed(program, String::from_utf8_lossy(&stderr).trim().to_owned()))
                    }
                    Err(error) => Err(failed(program, error.to_string())),
                }
            }
        };
        let package = format!("{}@{}", self.name, self.version);
        let packed = run("npm", Command::new("npm").args(["pack", "--silent", &package])).await?;
        let archive = String::from_utf8_lossy(&packed.stdout).trim().lines().last().unwrap_or_default().to_owned();
        let inside = format!("package/{}", self.file);
        run("tar", Command::new("tar").args(["-xzf", &archive, &inside])).await?;
        Ok(tokio::fs::rename(work.join(&inside), wanted).await?)
    }
}
