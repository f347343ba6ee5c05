//! `lockstep app tree`: the objects of an application and what they have brought about, with the health of each.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use engine::health::health;
use engine::tree::Node;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use resources::{Application, HealthStatus, Object, ObjectKey};

use super::reach::{Applications, Named, parsed};
use super::table::one_line;

const PARALLEL: usize = 16;

/// Runs `tree`.
pub async fn run(args: Named) -> anyhow::Result<ExitCode> {
    let applications = Applications::open(&args.access).await?;
    let application = parsed(applications.object(&applications.id(&args.application)).await?)?;
    let keys = keys(&application);
    let cluster = &applications.cluster;
    let reads: Vec<_> = keys.into_iter().map(|key| async move { cluster.get(&key).await }).collect();
    let roots: Vec<Arc<Object>> = stream::iter(reads)
        .buffered(PARALLEL)
        .try_filter_map(async |found| Ok(found.map(Arc::new)))
        .try_collect()
        .await?;
    let trees = worker::tree::trees(cluster, &roots, |object| health(object, Timestamp::now())).await?;
    args.output.print(&trees, || shown(&trees))?;
    Ok(ExitCode::SUCCESS)
}

/// The objects that the application has, as its status lists them.
fn keys(application: &Application) -> Vec<ObjectKey> {
    let resources = application.status.iter().flat_map(|status| &status.resources);
    let key = |resource: &resources::ResourceStatus| {
        ObjectKey::new(&resource.group, &resource.kind, &resource.namespace, &resource.name)
    };
    resources.filter(|resource| !resource.name.is_empty()).map(key).collect()
}

fn shown(trees: &[Node]) -> String {
    let mut text = String::new();
    for tree in trees {
        show(&mut text, tree, "", "");
    }
    if text.is_empty() { "the application has no objects in the cluster\n".into() } else { text }
}

fn show(text: &mut String, node: &Node, first: &str, rest: &str) {
    let _ = write!(text, "{first}{}", node.key);
    if let Some(health) = &node.health {
        let message =
            if health.message.is_empty() { String::new() } else { format!(": {}", one_line(&health.message)) };
        let _ = write!(text, "  {}{message}", health.status);
        if health.status > HealthStatus::Healthy
            && let Some((key, cause)) = node.cause()
            && !cause.message.is_empty()
        {
            let _ = write!(text, " because {key}: {}", one_line(&cause.message));
        }
    }
    text.push('\n');
    let last = node.children.len().saturating_sub(1);
    for (number, child) in node.children.iter().enumerate() {
        let (branch, below) = if number == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        show(text, child, &format!("{rest}{branch}"), &format!("{rest}{below}"));
    }
}

#[cfg(test)]
mod tests {
    use engine::health::Health;

    use super::*;

    #[test]
    fn a_tree_in_text() {
        let node = |kind: &str, name: &str, status: HealthStatus, message: &str, children: Vec<Node>| Node {
            key: ObjectKey::new("", kind, "dev", name),
            health: Some(Health::new(status, message)),
            children,
        };
        let pods = vec![
            node("Pod", "a", HealthStatus::Degraded, "cannot pull image y", vec![]),
            node("Pod", "b", HealthStatus::Healthy, "", vec![]),
        ];
        let set = node("ReplicaSet", "web-1", HealthStatus::Healthy, "", pods);
        let web = node("Deployment", "web", HealthStatus::Degraded, "1 of 2 available", vec![set]);
        let expected = "\
Deployment dev/web  Degraded: 1 of 2 available because Pod dev/a: cannot pull image y
└─ ReplicaSet dev/web-1  Healthy
   ├─ Pod dev/a  Degraded: cannot pull image y
   └─ Pod dev/b  Healthy
";
        assert_eq!(shown(&[web]), expected);
        assert_eq!(shown(&[]), "the application has no objects in the cluster\n");
    }
}
