//! The two ways to an application.

use std::path::PathBuf;

use anyhow::{Context as _, anyhow, bail};
use cluster::{ApiKind, Cluster, ClusterError, Kubeconfig};
use jiff::Timestamp;
use resources::{Application, Object};
use wire::command::Action;
use wire::{Command, Envelope};
use worker::AppId;
use worker::commands::{CommandError, carry_out};
use worker::context::application_key;

use super::output::Output;

/// So many names are offered for one that does not exist.
const SUGGESTIONS: usize = 3;

/// By kubeconfig.
#[derive(clap::Args, Clone, Debug)]
pub struct Access {
    /// The cluster's kubeconfig; `in-cluster` inside a pod. Without it, ~/.kube/config.
    #[arg(long, env = "KUBECONFIG", hide_env_values = true, value_name = "FILE")]
    kubeconfig: Option<String>,
    /// The context in it; without it, the current one.
    #[arg(long)]
    context: Option<String>,
    /// Namespace of Applications that are named without one, and of the AppProjects.
    #[arg(long, short, env = "LOCKSTEP_NAMESPACE", default_value = "argocd")]
    pub namespace: String,
}

/// Over the bus.
#[derive(clap::Args, Clone, Debug)]
pub struct ByBus {
    /// Ask the cluster's worker over this bus (amqp://… or journal:…) instead of using a kubeconfig; with --cluster.
    #[arg(long, env = "LOCKSTEP_BUS", hide_env_values = true)]
    bus: Option<String>,
    /// The name of the cluster whose worker is asked; with --bus.
    #[arg(long, requires = "bus")]
    cluster: Option<String>,
}

/// Which application, by which way, and who asks.
#[derive(clap::Args, Clone, Debug)]
pub struct Target {
    /// The Application, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    pub application: String,
    #[command(flatten)]
    pub access: Access,
    #[command(flatten)]
    by_bus: ByBus,
    /// Who asks; without it, the name of the user.
    #[arg(long = "as", value_name = "NAME")]
    who: Option<String>,
}

/// What became of a request.
pub struct Asked {
    /// The id under which it can be found again.
    pub request: String,
    /// Where the application is, if it can be seen.
    pub seen: Option<(Applications, AppId)>,
}

impl Target {
    /// The bus and the cluster, if that is the way.
    pub fn bus(&self) -> anyhow::Result<Option<(&str, &str)>> {
        match (&self.by_bus.bus, &self.by_bus.cluster) {
            (Some(bus), Some(cluster)) => Ok(Some((bus, cluster))),
            // The variable may be set for other commands.
            (Some(bus), None) if std::env::var("LOCKSTEP_BUS").ok().as_ref() != Some(bus) => {
                bail!("--bus needs --cluster, the name of the cluster whose worker is asked")
            }
            _ => Ok(None),
        }
    }

    /// The command as it is sent.
    pub fn command(&self, action: Action) -> Command {
        let (namespace, name) = split(&self.application);
        Command {
            id: uuid::Uuid::now_v7().to_string(),
            cluster: self.by_bus.cluster.clone().unwrap_or_default(),
            application_namespace: namespace.unwrap_or_default().into(),
            application_name: name.into(),
            issued_by: self.who.clone().unwrap_or_else(who),
            issued_at_unix_ms: Timestamp::now().as_millisecond(),
            action: Some(action),
        }
    }

    /// Brings the request on its way, and says what that is.
    pub async fn ask(&self, action: Action) -> anyhow::Result<Asked> {
        let command = self.command(action);
        if let Some((bus, cluster)) = self.bus()? {
            let bus = bus::connect(bus).await.context("cannot use the bus")?;
            // A bus publishes only to what it has been told of.
            bus.declare(&bus::Topology::shared()).await?;
            let sent = bus.publish(bus::names::COMMANDS, cluster, Envelope::command(&command).into()).await;
            bus.close().await;
            sent.with_context(|| format!("cannot ask the worker of cluster {cluster}"))?;
            println!(
                "{}: asked the worker of cluster {cluster}; see `lockstep deliveries dead` if it refuses",
                self.application
            );
            return Ok(Asked { request: command.id, seen: None });
        }
        let applications = Applications::open(&self.access).await?;
        let id = applications.id(&self.application);
        match carry_out(&applications.cluster, &id, &command).await {
            Ok(said) => {
                println!("{}: {said}", self.application);
                Ok(Asked { request: command.id, seen: Some((applications, id)) })
            }
            Err(CommandError::Cluster(ClusterError::NotFound(_))) => Err(applications.missing(&id).await),
            Err(CommandError::Cluster(error)) => Err(explained(error)),
            Err(CommandError::Refused(refused)) => Err(refused.into()),
        }
    }
}

/// One application, and how what is found of it is printed.
#[derive(clap::Args)]
pub struct Named {
    /// The Application, as NAME or NAMESPACE/NAME.
    #[arg(value_name = "NAME")]
    pub application: String,
    #[command(flatten)]
    pub access: Access,
    /// How it is printed.
    #[arg(short, long, value_enum, default_value = "text")]
    pub output: Output,
}

/// The Applications of a cluster, by its kubeconfig.
pub struct Applications {
    /// The cluster.
    pub cluster: Cluster,
    kind: ApiKind,
    namespace: String,
}

impl Access {
    /// Where the credentials are.
    pub fn kubeconfig(&self) -> anyhow::Result<Kubeconfig> {
        let home = || std::env::home_dir().map(|home| home.join(".kube/config"));
        let path = match self.kubeconfig.as_deref().filter(|path| !path.is_empty()) {
            Some("in-cluster") => return Ok(Kubeconfig::InCluster),
            Some(path) => PathBuf::from(path),
            None => match home() {
                Some(path) if path.exists() => path,
                _ if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => return Ok(Kubeconfig::InCluster),
                _ => bail!(
                    "there is no kubeconfig: give --kubeconfig FILE, or ask the cluster's worker with --bus URL --cluster NAME"
                ),
            },
        };
        Ok(Kubeconfig::File { path, context: self.context.clone() })
    }
}

impl Applications {
    /// Connects, and finds out whether the cluster has Applications.
    pub async fn open(access: &Access) -> anyhow::Result<Self> {
        let options = cluster::Options { field_manager: "lockstep-cli".into(), ..cluster::Options::default() };
        let cluster = Cluster::connect(&access.kubeconfig()?, options).await?;
        let kind = cluster.kind(resources::GROUP, Some("v1alpha1"), Application::KIND).await.map_err(explained)?;
        let kind = kind.with_context(|| {
            format!(
                "cluster {} has no Applications; install the CRDs: `lockstep crds | kubectl apply --server-side -f -`",
                cluster.server()
            )
        })?;
        Ok(Self { cluster, kind, namespace: access.namespace.clone() })
    }

    /// Which Application NAME or NAMESPACE/NAME means.
    pub fn id(&self, name: &str) -> AppId {
        let (namespace, name) = split(name);
        AppId::new(namespace.unwrap_or(&self.namespace), name)
    }

    /// One, as the API server has it.
    pub async fn object(&self, id: &AppId) -> anyhow::Result<Object> {
        match self.cluster.get(&application_key(id)).await.map_err(explained)? {
            Some(object) => Ok(object),
            None => Err(self.missing(id).await),
        }
    }

    /// One.
    pub async fn get(&self, id: &AppId) -> anyhow::Result<Application> {
        parsed(self.object(id).await?)
    }

    /// All of a namespace, or of all namespaces.
    pub async fn list(&self, all_namespaces: bool) -> anyhow::Result<Vec<Object>> {
        let namespace = (!all_namespaces).then_some(self.namespace.as_str());
        let mut found = self.cluster.list(&self.kind, namespace, None).await.map_err(explained)?;
        found.sort_by_cached_key(Object::key);
        Ok(found)
    }

    /// The state of one and each change of it.
    pub fn watch(
        &self,
        id: &AppId,
    ) -> impl futures::Stream<Item = Result<cluster::WatchEvent, ClusterError>> + Send + 'static {
        self.cluster.watch_one(&self.kind, Some(&id.namespace), &id.name)
    }

    /// The error for one that is not there.
    pub async fn missing(&self, id: &AppId) -> anyhow::Error {
        let namespace = Some(id.namespace.as_str());
        let there = self.cluster.list_metadata(std::slice::from_ref(&self.kind), namespace).await;
        let there = there.map(|found| found.objects).unwrap_or_default();
        let names = near(&id.name, there.iter().map(Object::name));
        let offered = match (names.as_slice(), there.is_empty()) {
            ([], true) => {
                format!("; namespace {} has none, is it another one (--namespace)?", id.namespace)
            }
            ([], false) => "; `lockstep app list` shows those that exist".into(),
            (names, _) => format!("; did you mean {}?", names.join(" or ")),
        };
        anyhow!("there is no application {id}{offered}")
    }
}

/// The name of the user.
pub fn who() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "lockstep".into())
}

/// Reads an Application; what cannot be read is told with its fields.
pub fn parsed(object: Object) -> anyhow::Result<Application> {
    let id = AppId::new(object.namespace(), object.name());
    Application::parse(object.0).map_err(|invalid| anyhow!("the Application {id} is not valid: {invalid}"))
}

/// What the API server says, and what to do about it where that is not in its words.
pub fn explained(error: ClusterError) -> anyhow::Error {
    match &error {
        ClusterError::Forbidden { what, .. } => {
            let verb = what.split(' ').next().unwrap_or_default().to_owned();
            anyhow!(
                "{error}; it takes the right to {verb} applications.argoproj.io, or the way over the bus (--bus URL --cluster NAME)"
            )
        }
        _ => error.into(),
    }
}

fn split(name: &str) -> (Option<&str>, &str) {
    name.split_once('/').map_or((None, name), |(namespace, name)| (Some(namespace), name))
}

/// The names that somebody may have meant, the nearest first.
fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let most = (name.chars().count() / 3).max(2);
    let mut found: Vec<(usize, &str)> = names
        .filter_map(|other| {
            let distance = distance(name, other);
            // Part of a name is a good guess too: gateway for gateway-prod.
            let is_part = other.contains(name) || name.contains(other);
            (distance <= most || is_part).then_some((distance, other))
        })
        .collect();
    found.sort_unstable();
    found.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
}

/// How many letters have to be inserted, taken away or changed.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, other) in b.iter().enumerate() {
            let changed = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_near_a_wrong_one() {
        let names = ["gateway-prod", "gateway-dev", "ledger", "shop"];
        for (name, want) in [
            ("gatway-prod", vec!["gateway-prod"]),
            ("gateway", vec!["gateway-dev", "gateway-prod"]),
            ("ledgre", vec!["ledger"]),
            ("sohp", vec!["shop"]),
            ("payments", vec![]),
        ] {
            assert_eq!(near(name, names.iter().copied()), want, "{name}");
        }
    }

    #[test]
    fn distances() {
        for (a, b, want) in [("", "", 0), ("a", "", 1), ("", "ab", 2), ("kitten", "sitting", 3), ("ä", "a", 1)] {
            assert_eq!(distance(a, b), want, "{a} {b}");
        }
    }

    #[test]
    fn a_refused_request_names_the_verb() {
        let error = ClusterError::Forbidden {
            what: "patch argoproj.io/Application argocd/shop".into(),
            message: "ada cannot".into(),
            acting_as: None,
        };
        let said = explained(error).to_string();
        assert!(said.contains("the right to patch applications.argoproj.io"), "{said}");
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        target: Target,
    }

    #[test]
    fn which_way() {
        use clap::Parser as _;
        let parse = |arguments: &[&str]| Line::try_parse_from(std::iter::once(&"app").chain(arguments));
        for (arguments, want) in [
            (&["shop", "--kubeconfig=/k"][..], Ok(None)),
            (&["shop", "--bus=journal:/b", "--cluster=dev"], Ok(Some(("journal:/b", "dev")))),
            (&["--bus=journal:/b", "--cluster=dev", "shop"], Ok(Some(("journal:/b", "dev")))),
            (&["shop", "--bus=journal:/b"], Err("--bus needs --cluster")),
        ] {
            let target = parse(arguments).unwrap_or_else(|error| panic!("{error}")).target;
            match (target.bus(), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want, "{arguments:?}"),
                (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{arguments:?}: {error}"),
                (got, want) => panic!("{arguments:?}: {got:?}, not {want:?}"),
            }
        }
        let command = parse(&["team/shop", "--kubeconfig=/k", "--as=ada"])
            .map(|line| line.target.command(Action::Terminate(wire::Terminate {})));
        let command = command.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(
            (command.application_namespace.as_str(), command.application_name.as_str(), command.issued_by.as_str()),
            ("team", "shop", "ada")
        );
        if std::env::var_os("LOCKSTEP_BUS").is_none() {
            assert!(parse(&["shop", "--cluster=dev"]).is_err());
        }
    }
}
