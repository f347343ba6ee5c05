//! Manifests that the stories use.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// Where [`application`] puts its objects.
pub const NAMESPACE: &str = "demo";

/// An Application of a folder in the branch `main`, in the cluster where it is.
pub fn application(name: &str, url: &str, path: &str, automated: bool) -> Value {
    let mut policy = json!({ "syncOptions": ["CreateNamespace=true"] });
    if automated {
        policy["automated"] = json!({ "prune": true, "selfHeal": true });
    }
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": { "name": name, "namespace": "argocd" },
        "spec": {
            "project": "default",
            "source": { "repoURL": url, "targetRevision": "main", "path": path },
            "destination": { "server": "https://kubernetes.default.svc", "namespace": NAMESPACE },
            "syncPolicy": policy,
        },
    })
}

/// A ConfigMap with one value, `content`.
pub fn config_map(name: &str, content: &str) -> String {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name },
        "data": { "content": content },
    })
    .to_string()
}

/// A Deployment with one replica. `behaviour` is what the local control plane's stand-in for the kubelet does with its pods
/// (`never-ready`, `after=2s`, …); empty: they become ready at once.
pub fn deployment(name: &str, wave: i32, behaviour: &str) -> String {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name, "annotations": { "argocd.argoproj.io/sync-wave": wave.to_string() } },
        "spec": {
            "replicas": 1,
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels, "annotations": { "local.lockstep.dev/pod": behaviour } },
                "spec": { "containers": [{ "name": "main", "image": "registry.example/main:1" }] },
            },
        },
    })
    .to_string()
}

/// A file of `examples/`, as the forge at `url` would have it.
pub fn example(file: &str, url: &str) -> Result<String> {
    let path = harness::repository_root().join("examples").join(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.replace("https://github.com/acme", &format!("{}/acme", url.trim_end_matches('/')));
    Ok(harness::without_freeze(&text))
}

/// YAML as JSON.
pub fn from_yaml(text: &str) -> Result<Value> {
    Ok(serde_saphyr::from_str(text)?)
}
