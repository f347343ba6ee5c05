use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use forge::webhook::SecretBook;

const MIB: usize = 1024 * 1024;

/// The receiver's settings, as a command line has them.
#[derive(Debug, Clone, clap::Args)]
pub struct ReceiverArgs {
    /// Where webhooks come in.
    #[arg(long, env = "LOCKSTEP_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    pub listen: SocketAddr,

    /// Where /healthz, /readyz and /metrics are served; without it, where webhooks come in.
    #[arg(long, env = "LOCKSTEP_ADMIN_LISTEN", value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<SocketAddr>,

    /// File with the webhook secrets: one secret, or YAML with `default`, `owners` and `repositories`.
    #[arg(long, env = "LOCKSTEP_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    pub webhook_secret_file: Option<PathBuf>,

    /// Memory for bodies that are being read and for what is made of them, in MiB.
    #[arg(long, env = "LOCKSTEP_BODY_MEMORY", default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(40..=65_536))]
    pub body_memory: u32,

    /// The most connections at a time; at most half as many as the process may have files.
    #[arg(long, env = "LOCKSTEP_MAX_CONNECTIONS", default_value_t = 1024, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_connections: u32,

    /// Believe everybody who reaches the port. For trying things out on one machine.
    #[arg(long, conflicts_with = "webhook_secret_file")]
    pub insecure_no_secret: bool,
}

impl ReceiverArgs {
    /// Reads the secrets. Fails if there is none, unless that is asked for by name.
    pub fn config(&self) -> anyhow::Result<ReceiverConfig> {
        let trust = match &self.webhook_secret_file {
            Some(file) => Trust::signed(SecretBook::load(file)?).with_context(|| file.display().to_string())?,
            None if self.insecure_no_secret => Trust::everybody(),
            None => bail!(
                "no webhook secret is configured, so anybody could send webhooks; \
                 give --webhook-secret-file, or --insecure-no-secret to try things out"
            ),
        };
        Ok(ReceiverConfig {
            admin_listen: self.admin_listen,
            body_memory: self.body_memory as usize * MIB,
            max_connections: self.max_connections as usize,
            ..ReceiverConfig::new(self.listen, trust)
        })
    }
}

/// Whose webhooks are believed.
#[derive(Debug, Clone)]
pub struct Trust(pub(crate) Option<SecretBook>);

impl Trust {
    /// Those that are signed with one of these secrets. A book without any secret is an error.
    pub fn signed(secrets: SecretBook) -> anyhow::Result<Self> {
        if secrets.is_empty() {
            bail!("there is no webhook secret in it; add one, and the same in the forge's webhook settings");
        }
        Ok(Self(Some(secrets)))
    }

    /// Everybody's.
    pub fn everybody() -> Self {
        Self(None)
    }
}

/// The receiver's settings.
#[derive(Debug, Clone)]
pub struct ReceiverConfig {
    /// Where webhooks come in; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where operators look, if not there.
    pub admin_listen: Option<SocketAddr>,
    /// Whose webhooks are believed.
    pub trust: Trust,
    /// The largest body, in bytes.
    pub body_limit: usize,
    /// All bodies at one time and what is made of them, in bytes.
    pub body_memory: usize,
    /// The most connections at a time.
    pub max_connections: usize,
    /// How long a connection may be idle, and how long a client may take for the headers.
    pub idle_limit: Duration,
    /// How long a client may take for the body.
    pub read_limit: Duration,
    /// How long the broker may take to confirm. GitHub hangs up after ten seconds.
    pub publish_limit: Duration,
    /// How long requests that are being answered may take after the signal to stop.
    pub stop_limit: Duration,
    /// Threads that serve requests; 0: one for each core.
    pub threads: usize,
}

impl ReceiverConfig {
    /// With everything else as it should be.
    pub fn new(listen: SocketAddr, trust: Trust) -> Self {
        Self {
            listen,
            admin_listen: None,
            trust,
            // GitHub's cap; it does not send what is larger.
            body_limit: 25 * MIB,
            body_memory: 64 * MIB,
            max_connections: 1024,
            idle_limit: Duration::from_secs(5),
            read_limit: Duration::from_secs(10),
            publish_limit: bus::PUBLISH_LIMIT,
            stop_limit: Duration::from_secs(30),
            threads: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: ReceiverArgs,
    }

    fn config(arguments: &[&str]) -> anyhow::Result<ReceiverConfig> {
        Cli::try_parse_from([&["receiver"], arguments].concat())?.args.config()
    }

    #[test]
    fn without_a_secret_it_does_not_start() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, content: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            path.display().to_string()
        };
        let (one, none, empty) = (file("one", "s3cret\n"), file("none", "default: []\n"), file("empty", "\n"));
        for (arguments, problem) in [
            (vec![], Some("--insecure-no-secret")),
            (vec!["--insecure-no-secret"], None),
            (vec!["--webhook-secret-file", &one], None),
            (vec!["--webhook-secret-file", &none], Some(none.as_str())),
            (vec!["--webhook-secret-file", &empty], Some("empty")),
            (vec!["--webhook-secret-file", "/missing"], Some("/missing")),
            (vec!["--webhook-secret-file", &one, "--insecure-no-secret"], Some("cannot be used with")),
        ] {
            let result = config(&arguments).map(|_| ()).map_err(|error| format!("{error:#}"));
            match problem {
                None => assert_eq!(result, Ok(()), "{arguments:?}"),
                Some(text) => assert!(result.as_ref().unwrap_err().contains(text), "{arguments:?}: {result:?}"),
            }
        }
    }
}
