//! `lockstep webhook install`: one webhook, and a team is on board.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use forge::hooks::{EVENTS, Ensured};
use forge::{Credential, ForgeAccount, ForgeKind, Forges};
use rand::Rng as _;

/// The subcommands.
#[derive(clap::Subcommand)]
pub enum Command {
    /// Create the webhook of a repository, or correct it. Makes a secret if the file has none yet.
    Install(Install),
}

/// The options of `webhook install`.
#[derive(clap::Args)]
pub struct Install {
    /// The repository's address, for example https://github.com/acme/gateway. May be repeated.
    #[arg(long = "repository", required = true)]
    repositories: Vec<String>,
    /// Where the receiver is reached from the forge, for example https://lockstep.example/webhooks/github.
    #[arg(long)]
    url: String,
    /// The forge, as KIND=API_URL (github=https://api.github.com).
    #[arg(long, default_value = "github=https://api.github.com")]
    forge: String,
    /// File with a token that may write webhooks.
    #[arg(long)]
    token_file: PathBuf,
    /// File with the webhook's secret, as given to the receiver; written with a new one if it does not exist.
    #[arg(long)]
    secret_file: PathBuf,
}

/// Runs a subcommand.
pub async fn run(command: Command) -> anyhow::Result<()> {
    let Command::Install(install) = command;
    let (kind, api_url) =
        install.forge.split_once('=').context("--forge is KIND=API_URL; write github=https://api.github.com")?;
    let kind: ForgeKind = kind.parse().map_err(|error| anyhow::anyhow!("--forge: {error}"))?;
    let token = std::fs::read_to_string(&install.token_file)
        .with_context(|| format!("cannot read the token {}", install.token_file.display()))?;
    let secret = secret(&install.secret_file)?;
    let forges = Forges::new(vec![ForgeAccount::new(kind, api_url, Credential::Token(token.trim().to_owned()))])?;
    for address in &install.repositories {
        let (account, repository) = forges
            .for_url(address, Some(kind))
            .with_context(|| format!("{address} is not a repository of {api_url}; check --forge"))?;
        let ensured = account.client().ensure_webhook(&repository, &install.url, &secret, &EVENTS).await;
        let ensured = ensured.with_context(|| format!("cannot install the webhook in {repository}"))?;
        let done = match ensured {
            Ensured::Created => "created",
            Ensured::Updated => "updated",
        };
        println!("{repository}: webhook {done} ({}, to {})", EVENTS.join(", "), install.url);
    }
    Ok(())
}

/// The secret in the file, or a new one of 256 random bits that is then in the file.
fn secret(file: &Path) -> anyhow::Result<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => {
            let secret = text.trim();
            anyhow::ensure!(!secret.is_empty(), "{} is empty; delete it to have a secret made", file.display());
            Ok(secret.to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let bytes: [u8; 32] = rand::rng().random();
            let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            write_private(file, &secret).with_context(|| format!("cannot write the secret {}", file.display()))?;
            Ok(secret)
        }
        Err(error) => Err(error).with_context(|| format!("cannot read the secret {}", file.display())),
    }
}

fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let made = secret(&file).unwrap();
        assert_eq!(made.len(), 64);
        assert_eq!(secret(&file).unwrap(), made);
        std::fs::write(&file, "\n").unwrap();
        assert!(secret(&file).is_err());
    }
}
