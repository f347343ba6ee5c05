//! Fields that templates leave behind with nothing in them.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use e2e::{Kind, NAMESPACE, Stage, application, config_map, until};
use resources::{Object, ObjectKey};
use serde_json::{Value, json};

use crate::cli::Cli;

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: gateway, creationTimestamp: null, annotations: null}
spec:
  replicas:
  strategy: {rollingUpdate: null}
  selector: {matchLabels: {app: gateway}}
  template:
    metadata: {labels: {app: gateway, version: null}, creationTimestamp: null}
    spec:
      nodeSelector:
      containers:
      - {name: main, image: 'registry.example/main:1', args: null, resources: {limits: {cpu: null, memory: 64Mi}}}
      volumes: [{name: scratch, emptyDir: null}]
";
const SERVICE: &str = "
apiVersion: v1
kind: Service
metadata: {name: gateway}
spec: {selector: {app: gateway}, ports: [{name: web, port: 80, protocol: null}, {name: admin, port: 81}]}
";
const CONFIG: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: features}
data:
  FEATURE:
  other: 'on'
";
/// The kind of a backup tool: `credential` is no place for a null, `retention` is.
const DEFINITION: &str = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: locations.backup.example.com}
spec:
  group: backup.example.com
  scope: Namespaced
  names: {kind: Location, plural: locations, singular: location}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties:
              credential: {type: object, properties: {name: {type: string}}}
              mode: {type: string, default: ReadWrite}
              retention: {type: string, default: 720h, nullable: true}
              values: {type: object, x-kubernetes-preserve-unknown-fields: true}
";
const LOCATION: &str = "
apiVersion: backup.example.com/v1
kind: Location
metadata: {name: default}
spec: {credential: null, mode: null, retention: null, values: {chart: {default: null}}}
";

const KINDS: [(&str, &str, &str); 4] = [
    ("apps", "Deployment", "gateway"),
    ("", "Service", "gateway"),
    ("", "ConfigMap", "features"),
    ("backup.example.com", "Location", "default"),
];

async fn live(stage: &Stage, group: &str, kind: &str, name: &str) -> Result<Object> {
    stage.site().live(group, kind, NAMESPACE, name).await.map_err(anyhow::Error::msg)
}

/// What a write of ours would change; what controllers write into the status does not.
async fn written(stage: &Stage) -> Result<BTreeMap<&'static str, Value>> {
    let mut all = BTreeMap::new();
    for (group, kind, name) in KINDS {
        let object = live(stage, group, kind, name).await?;
        let fields = object.at("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
        let ours: Vec<Value> = fields.into_iter().filter(|entry| entry["manager"] == "lockstep").collect();
        let spec = [object.at("/spec"), object.at("/data")].map(|value| value.cloned().unwrap_or_default());
        all.insert(kind, json!([ours, spec]));
    }
    Ok(all)
}

#[tokio::test]
async fn null_is_no_field_from_the_first_sync_on() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let cli = Cli::new(&stage).await?;
    let shop = stage
        .repository("acme/shop", |copy| {
            for (file, content) in [
                ("deployment", DEPLOYMENT),
                ("service", SERVICE),
                ("config", CONFIG),
                ("definition", DEFINITION),
                ("location", LOCATION),
            ] {
                copy.write(&format!("app/{file}.yaml"), content)?;
            }
            copy.write("app/beside.yaml", config_map("beside", "1"))
        })
        .await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    let config = live(&stage, "", "ConfigMap", "features").await?;
    ensure!(config.at("/data") == Some(&json!({ "other": "on" })), "{:?}", config.at("/data"));
    let location = live(&stage, "backup.example.com", "Location", "default").await?;
    let want = json!({ "mode": "ReadWrite", "retention": null, "values": { "chart": { "default": null } } });
    ensure!(location.at("/spec") == Some(&want), "{:?}", location.at("/spec"));

    // Later syncs of something else do not touch it, and whoever looks sees the same as the worker.
    let before = written(&stage).await?;
    for round in 2..4 {
        shop.git.write("app/beside.yaml", config_map("beside", &round.to_string()))?;
        let commit = shop.push("Something else").await?;
        stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    }
    ensure!(written(&stage).await? == before, "{:?}\n{before:?}", written(&stage).await?);
    cli.app("diff shop").await?.expect(0, &[])?;
    cli.app("plan shop --exit-code").await?.expect(0, &["nothing to do"])?;

    // A field that Git does not have is everybody's.
    let key = ObjectKey::new("apps", "Deployment", NAMESPACE, "gateway");
    stage.site().cluster.merge_patch(&key, &json!({ "spec": { "replicas": 3 } })).await?;
    shop.git.write("app/deployment.yaml", DEPLOYMENT.replace("main:1", "main:2"))?;
    let commit = shop.push("A new image").await?;
    stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await?;
    let deployment = live(&stage, "apps", "Deployment", "gateway").await?;
    ensure!(deployment.at("/spec/replicas") == Some(&json!(3)), "{:?}", deployment.at("/spec"));

    // One that the schema lets be null is not.
    let key = ObjectKey::new("backup.example.com", "Location", NAMESPACE, "default");
    stage.site().cluster.merge_patch(&key, &json!({ "spec": { "retention": "1h" } })).await?;
    until("the retention is null again", async || {
        let location = stage.site().live("backup.example.com", "Location", NAMESPACE, "default").await?;
        let retention = location.at("/spec/retention");
        if retention == Some(&Value::Null) { Ok(()) } else { Err(format!("{retention:?}")) }
    })
    .await?;
    let warnings = stage.site().application("shop").await.map_err(anyhow::Error::msg)?;
    let warned =
        warnings.at("/status/conditions").is_some_and(|conditions| conditions.to_string().contains("SelfHeal"));
    ensure!(!warned, "{:?}", warnings.at("/status/conditions"));
    stage.strike().await
}

/// What the API server filled in, and nobody owns, forbids another strategy: `rollingUpdate: null` says that it has to go.
#[tokio::test]
async fn a_strategy_is_changed_with_what_was_filled_in() -> Result<()> {
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let plain = DEPLOYMENT.replace("  strategy: {rollingUpdate: null}\n", "");
    let shop = stage.repository("acme/shop", |copy| copy.write("app/deployment.yaml", &plain)).await?;
    stage.site().apply(application("shop", &shop.url, "app", true)).await?;
    stage.site().stands("shop", "Synced/Healthy").await?;
    for (strategy, want) in [
        ("{type: Recreate, rollingUpdate: null}", json!({ "type": "Recreate" })),
        (
            "{type: RollingUpdate}",
            json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": "25%" } }),
        ),
        ("{type: Recreate}", json!({ "type": "Recreate" })),
    ] {
        shop.git.write("app/deployment.yaml", DEPLOYMENT.replace("{rollingUpdate: null}", strategy))?;
        let commit = shop.push(strategy).await?;
        stage.expect(&shop, &commit, "lockstep/dev/shop", "success", "healthy").await.context(strategy)?;
        let deployment = live(&stage, "apps", "Deployment", "gateway").await?;
        ensure!(deployment.at("/spec/strategy") == Some(&want), "{strategy}: {:?}", deployment.at("/spec/strategy"));
        // What was patched is owned as what was applied: it goes with Git.
        let fields = deployment.at("/metadata/managedFields").and_then(Value::as_array).cloned().unwrap_or_default();
        let ours: Vec<&Value> = fields.iter().filter(|entry| entry["manager"] == "lockstep").collect();
        ensure!(ours.len() == 1 && ours[0]["operation"] == "Apply", "{strategy}: {ours:?}");
    }
    stage.strike().await
}
