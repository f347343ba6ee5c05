//! What a worker is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use render::SandboxMode;

/// The command-line options that each worker shares, be it alone or inside `lockstep up`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Namespace of the Applications, ApplicationSets and AppProjects.
    #[arg(long, env = "LOCKSTEP_NAMESPACE", default_value = "argocd")]
    pub namespace: String,
    /// Other namespaces with Applications, as patterns (team-*). An AppProject must permit each in spec.sourceNamespaces.
    #[arg(long = "application-namespaces", env = "LOCKSTEP_APPLICATION_NAMESPACES", value_delimiter = ',')]
    pub application_namespaces: Vec<String>,
    /// Folder for Git mirrors and cached renders. Nothing in it is needed: an empty one only costs time.
    #[arg(long, env = "LOCKSTEP_DATA_DIR", default_value = "lockstep-data")]
    pub data_dir: PathBuf,
    /// A forge, as KIND=API_URL (github=https://api.github.com, gitea=https://git.example/api/v1). May be repeated.
    #[arg(long = "forge", env = "LOCKSTEP_FORGES", value_delimiter = ',')]
    pub forges: Vec<String>,
    /// File with the forge token. With several forges: one file for each, in the same order.
    #[arg(long = "forge-token-file", env = "LOCKSTEP_FORGE_TOKEN_FILES", value_delimiter = ',')]
    pub forge_token_files: Vec<PathBuf>,
    /// Id of a GitHub App to write as, instead of with a token; its private key is in --github-app-key-file.
    #[arg(long, env = "LOCKSTEP_GITHUB_APP_ID", requires = "github_app_key_file")]
    pub github_app_id: Option<u64>,
    /// The GitHub App's private key, as downloaded (PEM).
    #[arg(long, env = "LOCKSTEP_GITHUB_APP_KEY_FILE", requires = "github_app_id")]
    pub github_app_key_file: Option<PathBuf>,
    /// YAML file with Git credentials by host or URL prefix, beside those in the cluster's repository Secrets.
    #[arg(long, env = "LOCKSTEP_GIT_CREDENTIALS_FILE")]
    pub git_credentials_file: Option<PathBuf>,
    /// How often each followed revision is asked for, in case a webhook was lost; 0 is not at all.
    #[arg(long, env = "LOCKSTEP_POLL_INTERVAL", default_value = "3m", value_parser = parse_duration)]
    pub poll_interval: Duration,
    /// How often GitHub is asked for deliveries that have failed, to send them again; 0 is not at all.
    #[arg(long, env = "LOCKSTEP_REDELIVERY_INTERVAL", default_value = "10m", value_parser = parse_duration)]
    pub redelivery_interval: Duration,
    /// How long a synced application may take to become healthy before its check turns red.
    #[arg(long, env = "LOCKSTEP_HEALTH_TIMEOUT", default_value = "10m", value_parser = parse_duration)]
    pub health_timeout: Duration,
    /// Up to so many concerned applications get a check of their own on a commit; above it only the failing ones.
    #[arg(long, env = "LOCKSTEP_CHECKS_PER_COMMIT", default_value_t = 20)]
    pub checks_per_commit: usize,
    /// Renders that run at the same time; 0 is one for each processor. They are shared out by project.
    #[arg(long, env = "LOCKSTEP_RENDERS", default_value_t = 0)]
    pub renders: usize,
    /// Whether helm and kustomize are confined: required, available (as far as the kernel can) or off.
    #[arg(long, env = "LOCKSTEP_RENDER_SANDBOX", default_value_t = SandboxMode::Available)]
    pub render_sandbox: SandboxMode,
    /// Take Git repositories from file:// addresses and paths too.
    #[arg(long, env = "LOCKSTEP_ALLOW_LOCAL_GIT")]
    pub allow_local_git: bool,
    /// The helm program.
    #[arg(long, env = "LOCKSTEP_HELM", default_value = "helm")]
    pub helm: PathBuf,
    /// The kustomize program.
    #[arg(long, env = "LOCKSTEP_KUSTOMIZE", default_value = "kustomize")]
    pub kustomize: PathBuf,
    /// No limit on writes to the forge (for a forge of one's own without rate limits).
    #[arg(long, env = "LOCKSTEP_FORGE_UNLIMITED")]
    pub forge_unlimited: bool,
}

/// One worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The cluster's name: in checks, queues and `destination.name`.
    pub cluster: String,
    /// Its kubeconfig; `None` is the cluster the worker runs in.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None` is the current one.
    pub context: Option<String>,
    /// Where health, metrics and recent reports are served.
    pub admin_listen: Option<SocketAddr>,
    /// Everything else.
    pub options: Options,
}

/// `90s`, `3m`, `1h30m`, `500ms`, or a number of seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration; write 30s, 3m or 1h");
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let mut total = Duration::ZERO;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let millis = match &rest[..unit] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(wrong()),
        };
        total += Duration::from_millis(number.checked_mul(millis).ok_or_else(wrong)?);
        rest = &rest[unit..];
    }
    Ok(total)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A worker of this name and data folder, and everything else as it is by default.
    pub(crate) fn config(cluster: &str, data: &std::path::Path) -> WorkerConfig {
        #[derive(clap::Parser)]
        struct Defaults {
            #[command(flatten)]
            options: Options,
        }
        let mut options = <Defaults as clap::Parser>::parse_from(["worker"]).options;
        options.data_dir = data.to_owned();
        // A test's program cannot confine others, and renders nothing here.
        options.render_sandbox = render::SandboxMode::Off;
        WorkerConfig { cluster: cluster.into(), kubeconfig: None, context: None, admin_listen: None, options }
    }

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [("3m", 180_000), ("1h30m", 5_400_000), ("500ms", 500), ("2", 2_000), ("0.5", 500)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in ["m", "3x", "-1", "1h30"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
}
