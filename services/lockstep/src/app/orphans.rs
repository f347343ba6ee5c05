//! `lockstep app orphans`: the objects of an application's namespace that no application owns.

use std::collections::HashSet;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use resources::{AppProject, ObjectKey};
use worker::AppId;

use super::reach::{Applications, Named};
use super::table::table;

/// Runs `orphans`. Its project says whether and of which objects one wants to know.
pub async fn run(args: Named) -> anyhow::Result<ExitCode> {
    let applications = Applications::open(&args.access).await?;
    let application = applications.get(&applications.id(&args.application)).await?;
    let control = &args.access.namespace;
    let namespace = application.spec.destination.namespace.as_str();
    if namespace.is_empty() {
        bail!("the Application has no destination namespace, so there is none to look into");
    }
    let name = application.spec.project();
    let key = ObjectKey::new(resources::GROUP, AppProject::KIND, control, name);
    let project = applications.cluster.get(&key).await?.with_context(|| format!("there is no AppProject {name}"))?;
    let project = AppProject::parse(project.0)?;
    if project.spec.orphaned_resources.is_none() {
        bail!("AppProject {name} does not ask for orphans; set spec.orphanedResources: {{}} in it");
    }
    let settings = ObjectKey::new("", "ConfigMap", control, worker::customizations::CONFIG_MAP);
    let tracking = worker::customizations::tracking(applications.cluster.get(&settings).await?.as_ref());
    let known: HashSet<AppId> =
        applications.list(true).await?.iter().map(|object| AppId::new(object.namespace(), object.name())).collect();
    let kinds = applications.cluster.namespaced_kinds().await?;
    let found = applications.cluster.list_metadata(&kinds, Some(namespace)).await?;
    let exists = |instance: &str| known.contains(&AppId::of_tracking_name(instance, control));
    let orphans = engine::orphans::orphans(&project, &found.objects, &tracking, exists);
    for (kind, error) in &found.refused {
        eprintln!("{} is left out: {error}", kind.kind);
    }
    args.output.print(&orphans, || text(&orphans))?;
    Ok(ExitCode::SUCCESS)
}

fn text(orphans: &[ObjectKey]) -> String {
    let rows: Vec<Vec<String>> = orphans
        .iter()
        .map(|key| {
            let kind = if key.group.is_empty() { key.kind.clone() } else { format!("{}/{}", key.group, key.kind) };
            vec![kind, key.namespace.clone(), key.name.clone()]
        })
        .collect();
    if rows.is_empty() {
        return "no orphans\n".into();
    }
    table(&["KIND", "NAMESPACE", "NAME"], &rows)
}
