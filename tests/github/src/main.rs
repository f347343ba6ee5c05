//! Runs the double as a program, for trying things out by hand.

use std::path::PathBuf;

use anyhow::Context;
use clap::Parser;
use github_double::{Double, DoubleOptions, assets};

/// A GitHub for tests: git over HTTP, REST calls and signed webhooks, on loopback.
///
/// Controls are below /_double/: violations, deliveries, calls, faults, repositories.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Folder of the bare repositories.
    #[arg(long, default_value = "github-double")]
    root: PathBuf,
    /// Port on 127.0.0.1; 0 takes a free one.
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Token that every call needs; without it none is needed.
    #[arg(long, env = "GITHUB_DOUBLE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Path of the REST calls' base; empty for the root.
    #[arg(long, default_value = "/api/v3")]
    api_prefix: String,
    /// Make this repository: OWNER/NAME, or OWNER/NAME=FOLDER with the folder's files. May be repeated.
    #[arg(long)]
    repository: Vec<String>,
    /// Check every call against GitHub's OpenAPI description, fetched from npm once.
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut options = DoubleOptions::new(arguments.root).port(arguments.port).api_prefix(arguments.api_prefix);
    if let Some(token) = arguments.token {
        options = options.token(token);
    }
    if arguments.check {
        options = options.openapi(assets::openapi().await?);
    }
    let double = Double::start(options).await?;
    for repository in &arguments.repository {
        let (name, seed) = repository.split_once('=').map_or((repository.as_str(), None), |(n, s)| (n, Some(s)));
        let (owner, name) = name.split_once('/').with_context(|| format!("{name:?} is not OWNER/NAME"))?;
        double.create_repository(owner, name, seed.map(std::path::Path::new)).await?;
        println!("{}", double.clone_url(owner, name));
    }
    println!("{} (API at {})", double.url(), double.api_url());
    tokio::signal::ctrl_c().await?;
    double.stop().await;
    Ok(())
}
