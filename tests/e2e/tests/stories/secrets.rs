//! A marker in each place where something secret can be, and at the end a look everywhere: nobody's value, token or password is in a
//! log, a status, a check, a metric, a report, or what a command prints.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use e2e::{Kind, NAMESPACE, Stage, application, until};
use harness::Lockstep;
use resources::ObjectKey;
use serde_json::{Value, json};

use crate::cli::Cli;

/// In no place that anybody may see.
const MARKER: &str = "m4rk3r-n0b0dy";
/// Told by a condition, so that looking is seen to find what there is.
const CONTROL: &str = "c0ntr0l-of-the-search";

fn marker(place: &str) -> String {
    format!("{MARKER}-{place}")
}

fn secret(name: &str, fields: Value) -> String {
    let mut secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name } });
    secret.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    secret.to_string()
}

/// Its name, its files with their content, and what the check of an application of it has to say.
type Folder = (&'static str, Vec<(&'static str, String)>, &'static str);

fn folders() -> Vec<Folder> {
    let encoded = |place: &str| STANDARD.encode(marker(place));
    let applied = json!({ "apiVersion": "v1", "kind": "Secret", "stringData": { "old": marker("last-applied") } });
    let annotation = "kubectl.kubernetes.io/last-applied-configuration";
    let annotations = json!({ "name": "good", "annotations": { annotation: applied.to_string() } });
    let good = json!({ "metadata": annotations, "stringData": { "text": marker("string-data") },
                       "data": { "data": encoded("data"), "file": encoded("file-line-one\nsecond-line") } });
    let copy = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "copy", "labels": { "refuse": "it" } },
                       "data": { "copy": marker("copied") } });
    let nested = json!({ "stringData": { "a": { "b": marker("in-a-map"), "c": "x" } } });
    let policy = json!({ "metadata": { "name": "denied", "labels": { "refuse": "it" } }, "stringData": { "copy": marker("denied") } });
    let fails = "{{ fail (printf \"a bad password: %s\" .Values.password) }}".to_owned();
    let broken = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: broken}}\nstringData: {{a: \"{}\n",
        marker("broken-yaml")
    );
    let chart = "apiVersion: v2\nname: chart\nversion: 1.0.0\n".to_owned();
    vec![
        ("good", vec![("s.yaml", secret("good", good))], "healthy"),
        ("text", vec![("s.yaml", secret("text", json!({ "stringData": marker("text") })))], "stringData: expected map"),
        (
            "list",
            vec![("s.yaml", secret("list", json!({ "stringData": { "a": [marker("in-a-list")] } })))],
            "stringData.a: expected string",
        ),
        ("nested", vec![("s.yaml", secret("nested", nested))], "stringData.a: expected string"),
        (
            "number",
            vec![("s.yaml", secret("number", json!({ "stringData": { "a": 20260105 } })))],
            "stringData.a: expected string",
        ),
        (
            "base64",
            vec![("s.yaml", secret("base64", json!({ "data": { "a": format!("{} !", marker("no-base64")) } })))],
            "data[a] is not base64",
        ),
        ("denied", vec![("s.yaml", secret("denied", policy))], "denied the request"),
        (
            "copied",
            vec![
                ("s.yaml", secret("copied", json!({ "stringData": { "a": marker("copied") } }))),
                ("c.yaml", copy.to_string()),
            ],
            "nothing was changed",
        ),
        (
            "chart",
            vec![
                ("Chart.yaml", chart),
                ("values.yaml", format!("other: {}\n", marker("values"))),
                ("templates/a.yaml", fails),
            ],
            "a bad password: ***",
        ),
        ("broken", vec![("s.yaml", broken)], ""),
    ]
}

/// Refuses what has the label, and quotes it.
fn policies() -> [Value; 2] {
    let name = json!({ "name": "talks.example.com" });
    let rules = json!([{ "apiGroups": [""], "apiVersions": ["v1"], "resources": ["secrets", "configmaps"],
                         "operations": ["CREATE", "UPDATE"] }]);
    let policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": name,
        "spec": { "failurePolicy": "Fail", "matchConstraints": { "resourceRules": rules },
                  "validations": [{ "expression": "!has(object.metadata.labels) || !('refuse' in object.metadata.labels)",
                                    "messageExpression": "'refused because of ' + string(object.data.copy)" }] },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": name,
        "spec": { "policyName": "talks.example.com", "validationActions": ["Deny"] },
    });
    [policy, binding]
}

/// Whatever leaves the programs, by where it was found.
#[derive(Default)]
struct Seen(BTreeMap<String, String>);

impl Seen {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.insert(place.into(), text.into());
    }

    /// The marker in every form that a text could have.
    fn check(&self, others: &[&str]) -> Result<()> {
        let mut needles: Vec<String> = others.iter().map(|&other| other.to_owned()).collect();
        needles.push(MARKER.to_owned());
        // What base64 makes of it, wherever in a value it stands.
        for shift in 0..3 {
            let encoded = STANDARD.encode(format!("{}{MARKER}", "-".repeat(shift)));
            let (from, to) = (shift.div_ceil(3) * 4, encoded.len() - encoded.len() % 4 - 4);
            needles.push(encoded[from.min(to)..to].to_owned());
        }
        let found: Vec<String> = self
            .0
            .iter()
            .flat_map(|(place, text)| {
                let around = |needle: &String| {
                    let at = text.find(needle.as_str())?;
                    let start = text[..at].char_indices().rev().nth(80).map_or(0, |(start, _)| start);
                    Some(format!("{place}: …{}", &text[start..at + needle.len()]))
                };
                needles.iter().filter_map(around).collect::<Vec<_>>()
            })
            .collect();
        ensure!(found.is_empty(), "{} places tell a secret:\n{}", found.len(), found.join("\n"));
        Ok(())
    }

    fn has(&self, place: &str, words: &str) -> Result<()> {
        let any = self.0.iter().any(|(seen, text)| seen.starts_with(place) && text.contains(words));
        ensure!(any, "{words:?} is nowhere in {place}, so nobody looked there: {:?}", self.0.keys());
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_told_anywhere() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let stage = Stage::set(Kind::Github, &["dev"]).await?;
    let site = stage.site();
    for policy in policies() {
        site.apply(policy).await?;
    }
    let folders = folders();
    let vault = stage
        .repository("acme/vault", |copy| {
            for (folder, _, _) in &folders {
                copy.write(&format!("{folder}/first.yaml"), e2e::config_map(folder, "1"))?;
            }
            copy.write("vault/s.yaml", secret("vault", json!({ "stringData": { "a": marker("vault-before") } })))?;
            Ok(())
        })
        .await?;
    for (folder, _, _) in &folders {
        let mut app = application(folder, &vault.url, folder, true);
        if *folder == "chart" {
            app["spec"]["source"]["helm"] =
                json!({ "parameters": [{ "name": "password", "value": marker("parameter") }] });
        }
        site.apply(app).await?;
        if *folder != "chart" {
            site.stands(folder, "Synced/Healthy").await?;
        }
    }
    others(&stage, &vault.url).await?;

    for (folder, files, _) in &folders {
        for (file, content) in files {
            vault.git.write(&format!("{folder}/{file}"), content)?;
        }
        if *folder == "chart" {
            std::fs::remove_file(vault.git.path().join("chart/first.yaml"))?;
        }
    }
    vault.git.write("vault/s.yaml", secret("vault", json!({ "stringData": { "a": marker("vault") } })))?;
    let commit = vault.push("Secrets everywhere").await?;
    for (folder, _, words) in &folders {
        let (context, words) = (format!("lockstep/dev/{folder}"), *words);
        until(&format!("{context} ends with {words:?}"), async || {
            let mut checks = stage.forge.checks(&vault.name, &commit).await.map_err(|error| format!("{error:#}"))?;
            let check = checks.remove(&context).ok_or("there is none")?;
            let good = (check.state == "success") == (*folder == "good");
            if check.is_final() && good && check.description.contains(words) {
                Ok(())
            } else {
                Err(format!("{check:?}"))
            }
        })
        .await?;
    }
    drifts(&stage).await?;

    let mut seen = Seen::default();
    everything(&stage, &vault, &mut seen).await?;
    seen.check(&[stage.secret(), stage.forge.token()])?;
    for (place, words) in [
        ("log of the worker", "reconcile.failed"),
        ("status of denied", "talks.example.com"),
        ("status of text", "stringData: expected map"),
        ("status of copied", "***"),
        ("status of control", CONTROL),
        ("reports", "is not base64"),
        ("metrics", "lockstep_"),
        ("checks", "expected string"),
        ("app diff vault", "********"),
        ("app list", "good"),
    ] {
        seen.has(place, words)?;
    }
    stage.strike().await
}

/// Credentials that nobody takes, an address with a password in it, and a set; and a plain value that is told.
async fn others(stage: &Stage, url: &str) -> Result<()> {
    let site = stage.site();
    let nowhere = "http://127.0.0.1:9/acme/private.git";
    site.apply(json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": "repository", "namespace": "argocd", "labels": { "argocd.argoproj.io/secret-type": "repository" } },
        "stringData": { "type": "git", "url": nowhere, "username": "somebody", "password": marker("repository-secret") },
    }))
    .await?;
    site.apply(application("private", nowhere, "a", true)).await?;
    let with_password = format!("http://somebody:{}@127.0.0.1:9/acme/other.git", marker("address"));
    site.apply(application("address", &with_password, "a", true)).await?;
    site.apply(application("control", url, CONTROL, true)).await?;
    crate::objects::condition(stage, "control", "ComparisonError", CONTROL).await?;
    site.apply(application("vault", url, "vault", false)).await?;
    let template = |path: &str| {
        let spec = application("x", url, path, true)["spec"].clone();
        json!({ "metadata": { "name": "of-set-{{name}}" }, "spec": spec })
    };
    site.apply(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "metadata": { "name": "set", "namespace": "argocd" },
        "spec": { "generators": [{ "git": { "repoURL": with_password, "revision": "main", "directories": [{ "path": "*" }] } }],
                  "template": template("good") },
    }))
    .await?;
    Ok(())
}

/// Somebody changes a Secret by hand.
async fn drifts(stage: &Stage) -> Result<()> {
    let key = ObjectKey::new("", "Secret", NAMESPACE, "good");
    let changed = json!({ "stringData": { "text": marker("by-hand"), "more": marker("by-hand-too") } });
    stage.site().cluster.merge_patch(&key, &changed).await?;
    until("the Secret is healed", async || {
        let live = stage.site().live("", "Secret", NAMESPACE, "good").await?;
        let text = live.at("/data/text").and_then(Value::as_str).unwrap_or_default();
        if text == STANDARD.encode(marker("string-data")) { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    crate::objects::condition(stage, "private", "ComparisonError", "127.0.0.1:9").await
}

async fn everything(stage: &Stage, vault: &e2e::WorkingCopy, seen: &mut Seen) -> Result<()> {
    let site = stage.site();
    for kind in ["Application", "ApplicationSet", "AppProject"] {
        let kind = site.cluster.kind("argoproj.io", Some("v1alpha1"), kind).await?.context("it is served")?;
        for object in site.cluster.list(&kind, None, None).await? {
            let mut status = object.at("/status").cloned().unwrap_or_default();
            // The spec's own words, which whoever may read the status reads in the spec as well.
            for copy in [
                "/sync/comparedTo",
                "/operationState/syncResult/source",
                "/operationState/syncResult/sources",
                "/history",
            ] {
                if let Some(copy) = status.pointer_mut(copy) {
                    copy.take();
                }
            }
            seen.add(format!("status of {}", object.name()), status.to_string());
            let mut annotations = object.at("/metadata/annotations").cloned().unwrap_or_default();
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            }
            seen.add(format!("annotations of {}", object.name()), annotations.to_string());
        }
    }
    let events = site.cluster.kind("", Some("v1"), "Event").await?.context("it is served")?;
    let events = site.cluster.list(&events, None, None).await?;
    seen.add("events", events.iter().map(|event| event.0.to_string()).collect::<Vec<_>>().join("\n"));
    let double = stage.forge.github()?;
    seen.add("checks", format!("{:?}", double.all_statuses("acme", "vault")));
    seen.add("comments", format!("{:?}", double.comments("acme", "vault")));
    seen.add("deployments", format!("{:?}", double.deployments("acme", "vault")));
    let http = reqwest::Client::builder().no_proxy().build()?;
    for path in ["reports", "metrics"] {
        let answer = http.get(format!("{}/{path}", site.admin)).send().await?.error_for_status()?;
        seen.add(path, answer.text().await?);
    }
    let dead = ["deliveries".to_owned(), "dead".into(), format!("--bus={}", stage.broker.url)];
    seen.add("dead letters", stage.lockstep(&dead).await?);
    commands(stage, vault, seen).await?;
    // At last, when everything has been said.
    seen.add("log of the worker", site.worker.log());
    seen.add("log of the receiver", stage.receiver.log());
    Ok(())
}

async fn commands(stage: &Stage, vault: &e2e::WorkingCopy, seen: &mut Seen) -> Result<()> {
    let cli = Cli::new(stage).await?;
    let mut run = async |arguments: String| -> Result<()> {
        let said = cli.app(&arguments).await?;
        seen.add(format!("app {arguments}"), format!("{}\n{}", said.out, said.err));
        Ok(())
    };
    run("list".to_owned()).await?;
    run("list -o json".to_owned()).await?;
    for name in ["good", "vault", "text", "base64", "denied", "copied", "chart", "broken", "private", "address"] {
        for command in ["get", "plan", "diff", "tree"] {
            run(format!("{command} {name}")).await?;
        }
        run(format!("plan {name} -o json")).await?;
    }
    run("sync vault --dry-run".to_owned()).await?;
    let binary = Lockstep::binary().await?;
    for arguments in [["good", "text"], ["chart", "broken"], ["nested", "copied"]] {
        let mut command = tokio::process::Command::new(&binary);
        command.args(["diff", "--revision", "HEAD~1"]).args(arguments).current_dir(vault.git.path());
        let output = command.kill_on_drop(true).output().await?;
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).join("\n");
        seen.add(format!("diff {arguments:?}"), said);
    }
    Ok(())
}
