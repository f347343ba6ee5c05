//! How a cluster is reached: a kubeconfig file with its contexts, or the service account of the pod we run in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{Config, KubeConfigOptions, KubeconfigError};

use crate::ClusterError;

/// Where the address and the credentials of a cluster come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kubeconfig {
    /// A kubeconfig file.
    File {
        /// The file; several with `:` between them count together, as for kubectl.
        path: PathBuf,
        /// One of its contexts; none means its current context.
        context: Option<String>,
    },
    /// The service account that Kubernetes gives to a pod.
    InCluster,
}

impl Kubeconfig {
    /// A file's current context.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self::File { path: path.into(), context: None }
    }

    /// `in-cluster`, `PATH`, or `PATH,CONTEXT`: the form that command lines use.
    pub fn parse(text: &str) -> Self {
        if text == "in-cluster" {
            return Self::InCluster;
        }
        match text.rsplit_once(',') {
            Some((path, context)) if !context.is_empty() => {
                Self::File { path: path.into(), context: Some(context.to_owned()) }
            }
            _ => Self::file(text),
        }
    }

    pub(crate) async fn load(&self) -> Result<Config, ClusterError> {
        match self {
            Self::InCluster => Config::incluster().map_err(|error| {
                ClusterError::Config(format!(
                    "{}; inside a pod, give it a service account, elsewhere name a kubeconfig",
                    crate::error::chain(&error)
                ))
            }),
            Self::File { path, context } => {
                let say = |error: KubeconfigError| {
                    ClusterError::Config(format!("{}: {}", path.display(), crate::error::chain(&error)))
                };
                let file = read(path).map_err(say)?;
                if let Some(wanted) = context
                    && !file.contexts.iter().any(|c| &c.name == wanted)
                {
                    let have: Vec<_> = file.contexts.iter().map(|c| c.name.as_str()).collect();
                    return Err(ClusterError::Config(format!(
                        "{}: no context {wanted:?}; it has {}",
                        path.display(),
                        have.join(", ")
                    )));
                }
                let options = KubeConfigOptions { context: context.clone(), cluster: None, user: None };
                Config::from_custom_kubeconfig(file, &options).await.map_err(say)
            }
        }
    }
}

/// Of several files those that do not exist are left out; that is the variable `KUBECONFIG` as it is used.
fn read(path: &Path) -> Result<kube::config::Kubeconfig, KubeconfigError> {
    let files: Vec<PathBuf> = std::env::split_paths(path).collect();
    let mut there = files.iter().filter(|file| file.exists());
    match there.next() {
        Some(first) if files.len() > 1 && !path.exists() => {
            let first = kube::config::Kubeconfig::read_from(first)?;
            there.try_fold(first, |all, file| all.merge(kube::config::Kubeconfig::read_from(file)?))
        }
        _ => kube::config::Kubeconfig::read_from(path),
    }
}

/// How we behave towards an API server.
#[derive(Clone, Debug)]
pub struct Options {
    /// The name under which fields are owned.
    pub field_manager: String,
    /// Limit for one attempt of one request, without watches.
    pub request_timeout: Duration,
    /// How long a request is tried again after transient failures, all attempts together.
    pub retry_for: Duration,
    /// Requests in flight at once; more wait. There is no limit of requests per second: the API server's own fairness
    /// decides, and a token bucket in the client is what makes first syncs slow.
    pub in_flight: usize,
    /// Objects in one page of a list.
    pub page: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            field_manager: "lockstep".to_owned(),
            request_timeout: Duration::from_secs(30),
            retry_for: Duration::from_secs(15),
            in_flight: 32,
            page: 500,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_form() {
        let file = |path: &str, context: Option<&str>| Kubeconfig::File {
            path: path.into(),
            context: context.map(str::to_owned),
        };
        assert_eq!(Kubeconfig::parse("in-cluster"), Kubeconfig::InCluster);
        assert_eq!(Kubeconfig::parse("/k/config"), file("/k/config", None));
        assert_eq!(Kubeconfig::parse("/k/config,prod"), file("/k/config", Some("prod")));
        assert_eq!(Kubeconfig::parse("/k/config,"), file("/k/config,", None));
    }

    #[test]
    fn several_files_count_together() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name).display().to_string();
        for name in ["a", "b"] {
            let text = format!("current-context: {name}\ncontexts: [{{name: {name}, context: {{cluster: {name}}}}}]\n");
            std::fs::write(file(name), text).unwrap();
        }
        let found = |list: &str| {
            let config = read(Path::new(list)).map_err(|error| error.to_string())?;
            let contexts: Vec<String> = config.contexts.into_iter().map(|context| context.name).collect();
            Ok((config.current_context.unwrap_or_default(), contexts.join(",")))
        };
        let is = |current: &str, contexts: &str| Ok::<_, String>((current.to_owned(), contexts.to_owned()));
        assert_eq!(found(&file("a")), is("a", "a"));
        assert_eq!(found(&format!("{}:{}:{}", file("gone"), file("b"), file("a"))), is("b", "b,a"));
        assert!(found(&file("gone")).is_err());
    }
}
