//! What a relist does not have is gone, whoever listens.

use serde_json::Value;

use super::*;
use crate::run::tests::idle;

/// Tells a sink of two objects, and then that only the second is there.
fn without_the_first(sink: &mut dyn Sink, objects: [Value; 2]) {
    let [first, second] = objects.map(Object);
    sink.reset(vec![first.clone(), second.clone()], "1");
    sink.complete();
    assert_eq!(sink.known().len(), 2, "{:?}", sink.known());
    sink.reset(vec![second.clone()], "9");
    sink.complete();
    assert_eq!(sink.known(), [second.key()]);
    sink.deleted(second);
    assert!(sink.known().is_empty());
}

fn control(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": kind,
        "metadata": { "name": name, "namespace": "argocd", "resourceVersion": "1" }, "spec": spec,
    })
}

fn application(name: &str) -> Value {
    let source = json!({ "repoURL": "https://git.example/acme/shop", "path": ".", "targetRevision": "main" });
    let destination = json!({ "name": "in-cluster", "namespace": "shop" });
    control("Application", name, json!({ "project": "default", "source": source, "destination": destination }))
}

#[tokio::test]
async fn applications() {
    let (ctx, _house) = idle().await;
    let mut sink = Applications { ctx: ctx.clone(), started: CancellationToken::new() };
    without_the_first(&mut sink, ["one", "two"].map(application));
    assert_eq!(ctx.registry.count(), 0);
    assert!(ctx.places().is_empty(), "nobody follows it any more");
}

#[tokio::test]
async fn app_projects() {
    let (ctx, _house) = idle().await;
    let project = |name: &str| control("AppProject", name, json!({ "sourceRepos": ["*"] }));
    let mut sink = AppProjects { ctx: ctx.clone(), started: CancellationToken::new() };
    without_the_first(&mut sink, ["one", "two"].map(project));
    assert!(ctx.projects.get("one").is_none() && ctx.projects.get("two").is_none());
}

#[tokio::test]
async fn application_sets() {
    let (ctx, _house) = idle().await;
    let set = |name: &str| {
        let list = json!({ "generators": [{ "list": { "elements": [] } }], "template": application(name) });
        control("ApplicationSet", name, list)
    };
    let mut sink = Sets { ctx: ctx.clone() };
    without_the_first(&mut sink, ["one", "two"].map(set));
    assert!(ctx.application_sets.ids().is_empty());
}

fn secret(name: &str, kind: &str, data: Value) -> Value {
    let labels = json!({ SECRET_TYPE: kind });
    let encode = |text: &Value| base64::engine::general_purpose::STANDARD.encode(text.as_str().unwrap());
    let data: serde_json::Map<String, Value> =
        data.as_object().unwrap().iter().map(|(name, value)| (name.clone(), encode(value).into())).collect();
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": { "name": name, "namespace": "argocd", "labels": labels }, "data": data,
    })
}

fn repository(name: &str) -> Value {
    let data = json!({ "url": format!("https://git.example/acme/{name}"), "username": "git", "password": "token" });
    secret(name, "repository", data)
}

#[tokio::test]
async fn secrets_of_repositories() {
    let (ctx, _house) = idle().await;
    let credentials = Arc::new(SecretCredentials::new());
    let has = |name: &str| {
        let url = git::RepositoryUrl::parse(&format!("https://git.example/acme/{name}")).unwrap();
        !git::Credentials::grant(&*credentials, &git::Remote::shared(url)).is_anonymous()
    };
    let sink = || Secrets {
        ctx: ctx.clone(),
        credentials: credentials.clone(),
        names: BTreeSet::new(),
        started: CancellationToken::new(),
    };
    let mut first = sink();
    first.reset(["one", "two"].map(repository).map(Object).into(), "1");
    assert!(has("one") && has("two"));
    first.reset(vec![Object(repository("two"))], "9");
    assert!(!has("one") && has("two"), "a Secret that was deleted while nobody listened");
    drop(first);
    sink().reset(Vec::new(), "12");
    assert!(!has("two"), "the term is over, and the next one does not find it");
    without_the_first(&mut sink(), ["one", "two"].map(repository));
    assert!(!has("one") && !has("two"));
}

#[tokio::test]
async fn secrets_of_clusters() {
    let (ctx, _house) = idle().await;
    let credentials = Arc::new(SecretCredentials::new());
    let cluster = |name: &str| secret(name, "cluster", json!({ "name": name, "server": "https://c.example" }));
    let names = || locked(&ctx.application_sets.clusters).keys().cloned().collect::<Vec<_>>();
    let mut sink = Secrets { ctx: ctx.clone(), credentials, names: BTreeSet::new(), started: CancellationToken::new() };
    sink.reset(["one", "two"].map(cluster).map(Object).into(), "1");
    assert_eq!(names(), ["one", "two"]);
    sink.applied(Object(repository("two")));
    assert_eq!(names(), ["one"], "it describes a repository now");
    sink.reset(Vec::new(), "9");
    assert!(names().is_empty());
}

#[tokio::test]
async fn settings() {
    let (ctx, _house) = idle().await;
    let started = CancellationToken::new();
    let mut sink = Settings { ctx: ctx.clone(), is_there: false, started: started.clone() };
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": CONFIG_MAP, "namespace": "argocd" },
        "data": { "resource.exclusions": "- kinds: [Widget]\n" },
    });
    sink.reset(vec![Object(object)], "1");
    sink.complete();
    assert!(started.is_cancelled() && ctx.is_excluded("example.com", "Widget"));
    sink.reset(Vec::new(), "9");
    assert!(!ctx.is_excluded("example.com", "Widget"), "the ConfigMap was deleted while nobody listened");
}
