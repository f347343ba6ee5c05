//! From ApplicationSets as people write them to their Applications.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use generators::*;
use resources::{Application, ApplicationSet};
use serde_json::{Value, json};

/// A small world.
#[derive(Default)]
struct World {
    directories: Vec<&'static str>,
    files: Vec<(&'static str, &'static str)>,
    clusters: Vec<ClusterEntry>,
    pulls: Vec<PullRequestEntry>,
    broken: bool,
    missing: bool,
    asked: Mutex<Vec<String>>,
}

impl World {
    fn answer<T>(&self, question: String, answer: T) -> Result<T, LookupError> {
        self.asked.lock().unwrap().push(question);
        match (self.broken, self.missing) {
            (true, _) => Err(LookupError::Unavailable("the forge does not answer".into())),
            (_, true) => Err(LookupError::NotFound("acme/gateway".into())),
            _ => Ok(answer),
        }
    }
}

#[async_trait]
impl Lookup for World {
    async fn git_directories(&self, repository: &str, revision: &str) -> Result<Vec<String>, LookupError> {
        let found = self.directories.iter().map(|it| it.to_string()).collect();
        self.answer(format!("directories {repository} {revision}"), found)
    }

    async fn git_files(
        &self,
        repository: &str,
        _: &str,
        globs: &[String],
    ) -> Result<Vec<(String, Bytes)>, LookupError> {
        let found = self.files.iter().map(|(path, text)| (path.to_string(), Bytes::from(*text))).collect();
        self.answer(format!("files {repository} {}", globs.join(",")), found)
    }

    async fn clusters(&self) -> Result<Vec<ClusterEntry>, LookupError> {
        self.answer("clusters".into(), self.clusters.clone())
    }

    async fn pull_requests(&self, query: &PullRequestQuery) -> Result<Vec<PullRequestEntry>, LookupError> {
        self.answer(format!("pulls {}/{}", query.owner, query.repository), self.pulls.clone())
    }
}

fn set(spec: Value) -> ApplicationSet {
    ApplicationSet::parse(json!({ "metadata": { "name": "set", "namespace": "argocd" }, "spec": spec })).unwrap()
}

/// All Applications, or why one of them cannot be made.
async fn run(world: &World, spec: Value) -> Result<Vec<Application>, ExpandError> {
    let mut expansion = expand(&set(spec), world).await?;
    if expansion.refused.is_empty() { Ok(expansion.applications) } else { Err(expansion.refused.remove(0).error) }
}

/// A set whose Applications are named by `name`, with Go templates.
async fn named(world: &World, name: &str, generator: Value) -> Result<Vec<String>, String> {
    let template = json!({ "metadata": { "name": name }, "spec": { "destination": {} } });
    let spec = json!({ "goTemplate": true, "goTemplateOptions": ["missingkey=error"], "generators": [generator], "template": template });
    names(world, spec).await
}

/// What a template makes of each set of parameters.
async fn filled(world: &World, template: &str, generator: Value) -> Vec<String> {
    let template = json!({ "metadata": { "name": "a{{ .number }}", "annotations": { "filled": template } }, "spec": { "destination": {} } });
    let spec = json!({ "goTemplate": true, "goTemplateOptions": ["missingkey=error"], "generators": [generator], "template": template });
    let applications = run(world, spec).await.unwrap();
    applications.iter().map(|it| it.annotation("filled").unwrap_or_default().to_owned()).collect()
}

/// The same with `{{name}}`.
async fn legacy(world: &World, name: &str, generator: Value) -> Result<Vec<String>, String> {
    let template = json!({ "metadata": { "name": name }, "spec": { "destination": {} } });
    names(world, json!({ "generators": [generator], "template": template })).await
}

/// All names, also those that Kubernetes does not take; in order if it takes all.
async fn names(world: &World, spec: Value) -> Result<Vec<String>, String> {
    let expansion = expand(&set(spec), world).await.map_err(|error| error.to_string())?;
    let mut names: Vec<String> = expansion.applications.iter().map(|it| it.name().to_owned()).collect();
    for refused in expansion.refused {
        match refused.error {
            ExpandError::InvalidApplication { name, .. } if refused.impossible_name && !name.is_empty() => {
                names.push(name)
            }
            error => return Err(error.to_string()),
        }
        names.sort();
    }
    Ok(names)
}

fn ok<const N: usize>(names: [&str; N]) -> Result<Vec<String>, String> {
    Ok(names.map(str::to_owned).to_vec())
}

fn list(elements: Value) -> Value {
    json!({ "list": { "elements": elements } })
}

fn git(directories: &[&str]) -> Value {
    let directories: Vec<Value> = directories
        .iter()
        .map(|path| match path.strip_prefix('!') {
            Some(path) => json!({ "path": path, "exclude": true }),
            None => json!({ "path": path }),
        })
        .collect();
    json!({ "repoURL": "https://example.com/a.git", "revision": "main", "directories": directories })
}

fn folders() -> World {
    World {
        directories: vec![
            "envs",
            "envs/dev",
            "envs/dev/gateway",
            "envs/dev/Pay_ments",
            "envs/prod",
            "envs/prod/gateway",
            "platform",
            "platform/velero",
            ".github",
            ".github/workflows",
            "platform/.hidden",
        ],
        ..World::default()
    }
}

fn pull(number: u64, branch: &str, target: &str, labels: &[&str]) -> PullRequestEntry {
    PullRequestEntry {
        number,
        title: format!("Change {number}"),
        branch: branch.into(),
        target_branch: target.into(),
        head_sha: "0123456789abcdef0123456789abcdef01234567".into(),
        author: "ada".into(),
        labels: labels.iter().map(|it| it.to_string()).collect(),
        ..PullRequestEntry::default()
    }
}

#[tokio::test]
async fn list_elements() {
    let world = World::default();
    let elements = json!([{ "env": "dev", "n": 1, "on": true, "deep": { "x": "y" } }, { "env": "prod", "n": 2, "on": false, "deep": { "x": "z" } }]);
    let go = named(&world, "a-{{ .env }}-{{ .n }}-{{ .deep.x }}{{ if .on }}-on{{ end }}", list(elements.clone())).await;
    assert_eq!(go, ok(["a-dev-1-y-on", "a-prod-2-z"]));
    let old = legacy(&world, "a-{{env}}-{{ n }}-{{deep.x}}-{{on}}", list(elements)).await;
    assert_eq!(old, ok(["a-dev-1-y-true", "a-prod-2-z-false"]));
    let yaml = json!({ "list": { "elements": [{ "a": "x" }], "elementsYaml": "- a: p\n- a: q\n" } });
    assert_eq!(named(&world, "{{ .a }}", yaml).await, ok(["x", "p", "q"]));
    let wrong = named(&world, "a", list(json!(["text"]))).await.unwrap_err();
    assert_eq!(wrong, "spec.generators[0].list.elements[0]: is not a set of parameters; write name: value");
    assert_eq!(named(&world, "a", list(json!([]))).await, ok([]));
}

#[tokio::test]
async fn git_directories() {
    let world = folders();
    let by = async |name: &str, git: Value| named(&world, name, json!({ "git": git })).await;
    assert_eq!(by("{{ .path.basename }}", git(&["platform/*"])).await, ok(["velero"]));
    assert_eq!(
        by("{{ .path.basenameNormalized }}-{{ index .path.segments 1 }}", git(&["envs/*/*"])).await,
        ok(["pay-ments-dev", "gateway-dev", "gateway-prod"])
    );
    assert_eq!(
        by("{{ .path.path | replace \"/\" \"-\" }}", git(&["envs/*/gateway", "!envs/prod/*"])).await,
        ok(["envs-dev-gateway"])
    );
    assert_eq!(by("{{ .path.path }}", git(&["*"])).await, ok(["envs", "platform"]));
    let mut prefixed = git(&["platform/*"]);
    prefixed["pathParamPrefix"] = json!("mine");
    prefixed["values"] = json!({ "long": "{{ .mine.path.path }}!" });
    assert_eq!(
        by("{{ .mine.path.basename }}{{ .values.long }}", prefixed.clone()).await,
        ok(["veleroplatform/velero!"])
    );
    let old = legacy(&world, "{{path.basename}}-{{path[0]}}-{{path}}", json!({ "git": git(&["platform/*"]) })).await;
    assert_eq!(old, ok(["velero-platform-platform/velero"]));
    prefixed["values"] = json!({ "v": "{{mine.path[1]}}" });
    let old = legacy(&world, "{{mine.path.basenameNormalized}}-{{values.v}}", json!({ "git": prefixed })).await;
    assert_eq!(old, ok(["velero-velero"]));
    assert!(
        by("a", git(&["[a"])).await.unwrap_err().contains("git.directories[0].path: \"[a\" is not a valid pattern")
    );
}

#[tokio::test]
async fn git_files() {
    let world = World {
        files: vec![
            ("apps/a/config.json", r#"{"cluster": {"name": "one", "port": 8443}, "tags": ["x", "y"]}"#),
            ("apps/b/config.yaml", "- cluster: {name: two}\n- cluster: {name: three}\n"),
            ("apps/c/old/config.json", r#"{"cluster": {"name": "old"}}"#),
            ("apps/d/other.json", r#"{"cluster": {"name": "other"}}"#),
        ],
        ..World::default()
    };
    let git = json!({ "git": {
        "repoURL": "https://example.com/a.git", "revision": "",
        "files": [{ "path": "apps/*/config.*" }, { "path": "**/old/*", "exclude": true }],
    } });
    let go = named(&world, "{{ .cluster.name }}-{{ .path.basename }}-{{ .path.filename }}", git.clone()).await;
    assert_eq!(go, ok(["one-a-config.json", "two-b-config.yaml", "three-b-config.yaml"]));
    let old = legacy(&world, "{{cluster.name}}-{{path}}-{{path.filenameNormalized}}-{{tags.0}}", git).await;
    assert_eq!(old.unwrap()[0], "one-apps/a-config.json-x");

    for (content, expected) in [
        ("a: [", "the file x.yaml is neither YAML nor JSON"),
        ("- a\n", "the file x.yaml has neither an object nor a list of objects"),
    ] {
        let world = World { files: vec![("x.yaml", content)], ..World::default() };
        let git = json!({ "git": { "repoURL": "a", "revision": "", "files": [{ "path": "x.yaml" }] } });
        let said = named(&world, "a", git).await.unwrap_err();
        assert!(said.contains(expected), "{said}");
    }
}

fn cluster(name: &str, env: &str) -> ClusterEntry {
    ClusterEntry {
        name: name.into(),
        server: format!("https://{name}"),
        project: "p".into(),
        labels: BTreeMap::from([("env".to_owned(), env.to_owned())]),
        annotations: BTreeMap::from([("region".to_owned(), "eu".to_owned())]),
    }
}

#[tokio::test]
async fn clusters() {
    let world = World { clusters: vec![cluster("Prod_1", "prod"), cluster("dev", "dev")], ..World::default() };
    let all = json!({ "clusters": {} });
    assert_eq!(named(&world, "{{ .name }}", all.clone()).await, ok(["Prod_1", "dev", "in-cluster"]));
    let prod = json!({ "clusters": { "selector": { "matchLabels": { "env": "prod" } }, "values": { "v": "{{ .name }}-{{ .metadata.labels.env }}" } } });
    assert_eq!(
        named(&world, "{{ .nameNormalized }} {{ .values.v }} {{ .project }} {{ .metadata.annotations.region }}", prod)
            .await,
        ok(["prod-1 Prod_1-prod p eu"])
    );
    let not = json!({ "clusters": { "selector": { "matchExpressions": [{ "key": "env", "operator": "NotIn", "values": ["prod"] }] } } });
    assert_eq!(legacy(&world, "{{name}}-{{metadata.labels.env}}-{{server}}", not).await, ok(["dev-dev-https://dev"]));
    let flat = json!({ "clusters": { "flatList": true } });
    assert_eq!(named(&world, "{{ range .clusters }}{{ .name }};{{ end }}", flat).await, ok(["Prod_1;dev;in-cluster;"]));
}

#[tokio::test]
async fn matrix_uses_the_parameters_of_the_first() {
    let world = folders();
    let matrix = json!({ "matrix": { "generators": [
        list(json!([{ "env": "dev" }, { "env": "prod" }])),
        { "git": git(&["envs/{{ .env }}/*"]) },
    ] } });
    assert_eq!(
        named(&world, "{{ .path.basename }}-{{ .env }}", matrix).await,
        ok(["Pay_ments-dev", "gateway-dev", "gateway-prod"])
    );
    assert_eq!(world.asked.lock().unwrap().len(), 1, "the same question is asked once");

    let values = json!({ "matrix": { "generators": [
        list(json!([{ "env": "dev", "same": "first" }])),
        { "list": { "elements": [{ "a": "{{ .env }}", "same": "second" }] } },
    ] } });
    assert_eq!(named(&world, "{{ .a }}-{{ .same }}", values.clone()).await, ok(["dev-first"]));
    let said = legacy(&world, "{{a}}", values).await.unwrap_err();
    assert!(said.contains("both generators give the parameter \"same\""), "{said}");

    let mut inner = git(&["envs/{{ .env }}/*"]);
    inner["values"] = json!({ "full": "{{ .env }}.{{ .path.basename }}" });
    let nested = json!({ "matrix": { "generators": [
        list(json!([{ "team": "a" }])),
        { "matrix": { "generators": [list(json!([{ "env": "prod" }])), { "git": inner }] } },
    ] } });
    assert_eq!(named(&world, "{{ .team }}-{{ .values.full }}", nested).await, ok(["a-prod.gateway"]));
}

#[tokio::test]
async fn merge_completes_and_overrides() {
    let world = World { clusters: vec![cluster("dev", "dev"), cluster("prod", "prod")], ..World::default() };
    let merge = |overrides: Value| {
        json!({ "merge": { "mergeKeys": ["name"], "generators": [
            { "clusters": { "selector": { "matchExpressions": [{ "key": "env", "operator": "Exists" }] }, "values": { "size": "1" } } },
            list(overrides),
        ] } })
    };
    let overrides =
        json!([{ "name": "prod", "values": { "size": "3" } }, { "name": "unknown", "values": { "size": "9" } }]);
    assert_eq!(named(&world, "{{ .name }}-{{ .values.size }}", merge(overrides)).await, ok(["dev-1", "prod-3"]));
    let twice = json!([{ "name": "prod" }, { "name": "prod" }]);
    let said = named(&world, "{{ .name }}", merge(twice)).await.unwrap_err();
    assert!(
        said.starts_with(
            "spec.generators[0].merge.generators[1]: gives two sets of parameters with the same key (name)"
        ),
        "{said}"
    );
    let old = json!([{ "name": "prod", "values.size": "3" }]);
    let merge = json!({ "merge": { "mergeKeys": ["name"], "generators": [list(json!([{ "name": "prod", "values": { "size": "1" } }])), list(old)] } });
    assert_eq!(legacy(&world, "{{name}}-{{values.size}}", merge).await, ok(["prod-3"]));
}

#[tokio::test]
async fn selectors_choose_among_the_results() {
    let world = World::default();
    let mut generator = list(
        json!([{ "env": "dev", "n": 1 }, { "env": "prod", "n": 2 }, { "env": "test", "n": 3, "values": { "a": "b" } }]),
    );
    for (selector, expected) in [
        (json!({ "matchLabels": { "env": "dev" } }), vec!["dev"]),
        (json!({ "matchLabels": { "n": "2" } }), vec!["prod"]),
        (json!({ "matchLabels": { "values.a": "b" } }), vec!["test"]),
        (
            json!({ "matchExpressions": [{ "key": "env", "operator": "NotIn", "values": ["dev"] }] }),
            vec!["prod", "test"],
        ),
        (json!({}), vec!["dev", "prod", "test"]),
    ] {
        generator["selector"] = selector.clone();
        assert_eq!(named(&world, "{{ .env }}", generator.clone()).await.unwrap(), expected, "{selector}");
    }
    generator["selector"] = json!({ "matchLabels": { "env": "dev" } });
    let matrix = json!({ "matrix": { "generators": [generator, list(json!([{ "x": "y" }]))] } });
    assert_eq!(named(&world, "{{ .env }}{{ .x }}", matrix).await, ok(["devy"]));
}

#[tokio::test]
async fn pull_requests() {
    let world = World {
        pulls: vec![
            pull(12, "feature/A_very long Branch name that goes on and on until it is cut", "main", &["preview"]),
            pull(7, "fix/x", "release-1", &[]),
            pull(9, "renovate/all", "main", &["preview", "bot"]),
        ],
        ..World::default()
    };
    let pulls = |more: Value| {
        let mut generator = json!({ "github": { "owner": "acme", "repo": "gateway" } });
        generator.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "pullRequest": generator })
    };
    assert_eq!(named(&world, "pr-{{ .number }}", pulls(json!({}))).await, ok(["pr-7", "pr-9", "pr-12"]));
    assert_eq!(legacy(&world, "pr-{{number}}-{{head_short_sha}}", pulls(json!({}))).await.unwrap()[0], "pr-7-01234567");
    let params = "{{ .branch_slug }}|{{ .target_branch_slug }}|{{ .head_short_sha_7 }}|{{ .author }}|{{ join \",\" .labels }}|{{ .title }}";
    let one = pulls(json!({ "filters": [{ "branchMatch": "^feature/" }], "values": { "all": params } }));
    assert_eq!(
        filled(&world, "{{ .values.all }}", one).await,
        ["feature-a-very-long-branch-name-that-goes-on-and|main|0123456|ada|preview|Change 12"]
    );
    for (filters, expected) in [
        (json!([{ "branchMatch": "^fix/" }, { "branchMatch": "^renovate" }]), vec!["7", "9"]),
        (json!([{ "branchMatch": ".", "targetBranchMatch": "^main$" }]), vec!["9", "12"]),
        (json!([{ "titleMatch": "Change 1" }]), vec!["12"]),
        (json!([{ "titleMatch": "nothing" }]), vec![]),
    ] {
        let found = named(&world, "{{ .number }}", pulls(json!({ "filters": filters }))).await.unwrap();
        assert_eq!(found, expected, "{filters}");
    }
    let labelled = pulls(json!({ "github": { "owner": "acme", "repo": "gateway", "labels": ["preview", "bot"] } }));
    assert_eq!(named(&world, "{{ .number }}", labelled).await, ok(["9"]));
    let gitea = json!({ "pullRequest": { "gitea": { "owner": "a", "repo": "b", "api": "https://gitea" }, "values": { "v": "v{{ .number }}" } } });
    assert_eq!(named(&world, "{{ .values.v }}", gitea).await, ok(["v7", "v9", "v12"]));
    let gitlab = json!({ "pullRequest": { "gitlab": { "project": "1" } } });
    let said = named(&world, "a", gitlab).await.unwrap_err();
    assert!(
        said.starts_with(
            "spec.generators[0].pullRequest.gitlab: a pullRequest generator for gitlab is not supported yet"
        ),
        "{said}"
    );
}

#[tokio::test]
async fn an_error_is_never_an_empty_result() {
    let world = World { broken: true, ..folders() };
    for generator in [
        json!({ "git": git(&["*"]) }),
        json!({ "git": { "repoURL": "a", "revision": "", "files": [{ "path": "*" }] } }),
        json!({ "clusters": {} }),
        json!({ "pullRequest": { "github": { "owner": "acme", "repo": "gateway" }, "continueOnRepoNotFoundError": true } }),
        json!({ "matrix": { "generators": [list(json!([{ "a": 1 }])), { "clusters": {} }] } }),
    ] {
        let template = json!({ "metadata": { "name": "a" }, "spec": {} });
        let error = run(&world, json!({ "generators": [generator], "template": template })).await.unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(error.to_string().contains("the forge does not answer"), "{error}");
    }
    let world = World { missing: true, ..World::default() };
    let pulls = |goes_on: bool| json!({ "pullRequest": { "github": { "owner": "acme", "repo": "gateway" }, "continueOnRepoNotFoundError": goes_on } });
    assert_eq!(named(&world, "a", pulls(true)).await, ok([]));
    assert!(named(&world, "a", pulls(false)).await.unwrap_err().contains("acme/gateway was not found"));
    for unsupported in ["scmProvider", "plugin", "clusterDecisionResource"] {
        let said = named(&world, "a", json!({ unsupported: {} })).await.unwrap_err();
        assert_eq!(
            said,
            format!(
                "spec.generators[0]: the generator {unsupported} is not supported yet; remove it or use another generator"
            )
        );
    }
}

#[tokio::test]
async fn names_must_differ() {
    let world = World::default();
    let said = named(&world, "same", list(json!([{ "env": "dev" }, { "env": "prod" }]))).await.unwrap_err();
    assert_eq!(
        said,
        "two Applications are named \"same\": one from spec.generators[0] (env=dev), one from spec.generators[0] (env=prod); \
         put a parameter that differs into the name"
    );
    assert!(
        named(&world, "{{ .a }}", list(json!([{ "a": "" }]))).await.unwrap_err().contains("metadata.name: is empty")
    );
}

#[tokio::test]
async fn one_refused_name_keeps_no_other_from_being_made() {
    let world = World {
        pulls: vec![
            pull(1, "x_1", "main", &[]),
            pull(2, "two", "main", &[]),
            pull(3, "🚀", "main", &[]),
            pull(4, "two", "main", &[]),
        ],
        ..World::default()
    };
    let template = json!({
        "metadata": { "name": "{{ if eq .branch \"x_1\" }}x_1{{ else }}preview-{{ .branch_slug }}{{ end }}" },
        "spec": { "destination": {} },
    });
    let generators = json!([{ "pullRequest": { "github": { "owner": "acme", "repo": "gateway" } } }]);
    let expansion = expand(&set(json!({ "goTemplate": true, "generators": generators, "template": template })), &world)
        .await
        .unwrap();
    let made: Vec<&str> = expansion.applications.iter().map(Application::name).collect();
    assert_eq!(made, ["preview-two"]);
    let refused: Vec<_> = expansion.refused.iter().map(|it| (it.name.as_deref(), it.impossible_name)).collect();
    assert_eq!(refused, [(None, true), (None, true), (Some("preview-two"), false)]);
    let said: Vec<String> = expansion.refused.iter().map(|it| it.error.to_string()).collect();
    assert!(said[0].starts_with("the Application \"x_1\" made by spec.generators[0] (author=ada,"), "{}", said[0]);
    assert!(said[0].contains("metadata.name: is no name for Kubernetes"), "{}", said[0]);
    assert!(said[1].starts_with("the Application \"preview-\""), "{}", said[1]);
    assert!(said[2].starts_with("two Applications are named \"preview-two\""), "{}", said[2]);

    // A template that fails for one: its name is known if only the rest fails.
    let elements = list(json!([{ "n": "a", "x": "1" }, { "n": "b" }]));
    let spec = |name: &str| {
        let template = json!({ "metadata": { "name": name }, "spec": { "project": "{{ .x }}", "destination": {} } });
        set(
            json!({ "goTemplate": true, "goTemplateOptions": ["missingkey=error"], "generators": [elements], "template": template }),
        )
    };
    for (name, expected) in [("{{ .n }}", Some("b")), ("{{ .n }}-{{ .x }}", None)] {
        let expansion = expand(&spec(name), &World::default()).await.unwrap();
        assert_eq!(expansion.applications.len(), 1, "{name}");
        assert_eq!((expansion.refused[0].name.as_deref(), expansion.refused[0].impossible_name), (expected, false));
    }
}

#[tokio::test]
async fn patterns_that_find_nothing_are_told() {
    let world = World { files: vec![("apps/a/config.json", "{}")], ..folders() };
    let files =
        |paths: Value| json!({ "git": { "repoURL": "https://example.com/a.git", "revision": "main", "files": paths } });
    let nothing = |field: &str, what: &str| vec![format!("spec.generators[0].{field}: {what}")];
    let folder = |pattern: &str| format!("no folder of https://example.com/a.git at main fits \"{pattern}\"");
    for (generator, names, expected) in [
        (json!({ "git": git(&["envs/*"]) }), 2, vec![]),
        // As people mean it: from the root of the repository.
        (json!({ "git": git(&["/envs/*"]) }), 2, vec![]),
        (json!({ "git": git(&["./envs/*/"]) }), 2, vec![]),
        (json!({ "git": git(&["envs/*", "!/envs/prod"]) }), 1, vec![]),
        (json!({ "git": git(&["apps/*"]) }), 0, nothing("git.directories[0].path", &folder("apps/*"))),
        (json!({ "git": git(&["envs/*", "apps/*"]) }), 2, nothing("git.directories[1].path", &folder("apps/*"))),
        (json!({ "git": git(&["envs/*", "!apps/*"]) }), 2, vec![]),
        (files(json!([{ "path": "/apps/*/config.json" }])), 1, vec![]),
        (
            files(json!([{ "path": "apps/*/config.yaml" }])),
            0,
            nothing("git.files[0].path", "no file of https://example.com/a.git at main fits \"apps/*/config.yaml\""),
        ),
        (
            json!({ "clusters": { "selector": { "matchLabels": { "env": "prod" } } } }),
            0,
            nothing("clusters.selector", "no cluster's Secret has these labels"),
        ),
        (
            json!({ "list": { "elements": [{ "a": "x" }] }, "selector": { "matchLabels": { "a": "y" } } }),
            0,
            nothing("selector", "fits none of the results"),
        ),
        (json!({ "list": { "elements": [] } }), 0, vec![]),
        (json!({ "pullRequest": { "github": { "owner": "acme", "repo": "gateway" } } }), 0, vec![]),
    ] {
        let template = json!({ "metadata": { "name": "a{{ if .path }}-{{ .path.basenameNormalized }}{{ end }}" }, "spec": { "destination": {} } });
        let spec = json!({ "goTemplate": true, "generators": [generator.clone()], "template": template });
        let expansion = expand(&set(spec), &world).await.unwrap();
        assert_eq!((expansion.applications.len(), expansion.found_nothing), (names, expected), "{generator}");
    }
}

#[tokio::test]
async fn pull_requests_of_forks() {
    let (seen, new) = ("1111111111111111111111111111111111111111", "0123456789abcdef0123456789abcdef01234567");
    let fork = |number: u64, labels: &[&str], approved: Option<&str>| PullRequestEntry {
        fork: true,
        head_repository: "bob/gateway".into(),
        author_association: "NONE".into(),
        approved: approved.map(str::to_owned),
        ..pull(number, "fix", "main", labels)
    };
    let world = World {
        pulls: vec![
            PullRequestEntry { head_repository: "acme/gateway".into(), ..pull(1, "own", "main", &[]) },
            fork(2, &[], None),
            fork(3, &["preview"], None),
            fork(4, &["preview"], Some(seen)),
            fork(5, &["preview"], Some(new)),
        ],
        ..World::default()
    };
    let generator = json!({ "pullRequest": { "github": { "owner": "acme", "repo": "gateway" } } });
    let expand_with = async |notes: Value, generator: Value, revision: &str| {
        let set = ApplicationSet::parse(json!({
            "metadata": { "name": "set", "namespace": "argocd", "annotations": notes },
            "spec": { "goTemplate": true, "generators": [generator], "template": {
                "metadata": {
                    "name": "pr-{{ .number }}",
                    "annotations": { "told": "{{ .head_short_sha_7 }} {{ if .fork }}{{ .head_repository }} {{ .author_association }}{{ end }}" },
                },
                "spec": { "source": { "repoURL": "https://forge/{{ .head_repository }}", "targetRevision": revision }, "destination": {} },
            } },
        }));
        expand(&set.unwrap(), &world).await.unwrap()
    };
    let told = |expansion: &Expansion| -> Vec<String> {
        let line = |it: &Application| format!("{} {}", it.name(), it.annotation("told").unwrap_or_default());
        expansion.applications.iter().map(line).collect()
    };
    let pinned = "{{ .head_sha }}";
    let own = "pr-1 0123456 ".to_owned();
    let expansion = expand_with(json!({}), generator.clone(), pinned).await;
    assert_eq!(
        told(&expansion),
        [own.clone(), "pr-4 1111111 bob/gateway NONE".into(), "pr-5 0123456 bob/gateway NONE".into()]
    );
    assert_eq!(expansion.applications[1].sources()[0].target_revision, seen);
    let never = expand_with(json!({ "lockstep.dev/preview-forks": "none" }), generator.clone(), pinned).await;
    assert_eq!(told(&never), *std::slice::from_ref(&own));
    let all = json!({ "lockstep.dev/preview-forks": "all" });
    let everyone = expand_with(all.clone(), generator.clone(), "{{ .branch }}").await;
    assert_eq!(everyone.applications.len(), 5);
    assert_eq!(told(&everyone)[3], "pr-4 0123456 bob/gateway NONE", "the newest commit");
    // The parameters can be selected by, as others are.
    let mut members = generator.clone();
    members["selector"] =
        json!({ "matchExpressions": [{ "key": "author_association", "operator": "NotIn", "values": ["NONE"] }] });
    assert_eq!(told(&expand_with(all, members, pinned).await), *std::slice::from_ref(&own));

    // What would follow the fork is not made.
    for revision in ["{{ .branch }}", "refs/pull/{{ .number }}/head", "HEAD"] {
        let expansion = expand_with(json!({}), generator.clone(), revision).await;
        assert_eq!(told(&expansion), *std::slice::from_ref(&own), "{revision}");
        assert_eq!(expansion.refused.len(), 2);
        let said = expansion.refused[0].error.to_string();
        assert!(said.contains("follows whatever the fork's author pushes"), "{said}");
    }
}

#[tokio::test]
async fn a_matrix_reads_nothing_of_a_fork_that_nobody_let_in() {
    let world = World {
        pulls: vec![PullRequestEntry {
            fork: true,
            head_repository: "bob/gateway".into(),
            approved: Some("1111111111111111111111111111111111111111".into()),
            ..pull(4, "fix", "main", &["preview"])
        }],
        ..folders()
    };
    let matrix = |revision: &str| {
        let mut folders = git(&["envs/*"]);
        folders["revision"] = json!(revision);
        let pulls = json!({ "pullRequest": { "github": { "owner": "acme", "repo": "gateway" } } });
        json!({ "matrix": { "generators": [pulls, { "git": folders }] } })
    };
    let name = "pr-{{ .number }}-{{ .path.basename }}";
    assert_eq!(named(&world, name, matrix("{{ .head_sha }}")).await, ok(["pr-4-dev", "pr-4-prod"]));
    assert!(world.asked.lock().unwrap().iter().any(|it| it.ends_with(&"1".repeat(40))));
    world.asked.lock().unwrap().clear();
    let said = named(&world, name, matrix("refs/pull/{{ .number }}/head")).await.unwrap_err();
    assert!(said.contains("generators[1].git.revision") && said.contains("write {{.head_sha}}"), "{said}");
    assert_eq!(*world.asked.lock().unwrap(), ["pulls acme/gateway"], "nothing of it was read");
}

#[tokio::test]
async fn templates_fill_in_every_string() {
    let world = World::default();
    let applications = run(
        &world,
        json!({
            "goTemplate": true,
            "generators": [list(json!([{ "env": "dev", "count": 2 }]))],
            "template": {
                "metadata": {
                    "name": "a-{{ .env }}",
                    "namespace": "elsewhere",
                    "labels": { "env-{{ .env }}": "{{ .env }}" },
                    "annotations": { "count": "{{ .count }}" },
                },
                "spec": {
                    "project": "p-{{ .env }}",
                    "sources": [{ "repoURL": "https://example.com/{{ .env }}", "path": ".", "helm": {
                        "valueFiles": ["{{ .env }}.yaml"],
                        "valuesObject": { "{{ .env }}": { "list": ["{{ .count }}", 1, true, null] } },
                    } }],
                    "destination": { "name": "{{ .env }}", "namespace": "{{ .env }}" },
                    "syncPolicy": { "automated": { "prune": true }, "syncOptions": ["CreateNamespace={{ eq .env \"dev\" }}"] },
                    "revisionHistoryLimit": 3,
                },
            },
        }),
    )
    .await
    .unwrap();
    assert_eq!(
        applications[0].to_object().0,
        json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {
                "name": "a-dev",
                "namespace": "argocd",
                "labels": { "env-dev": "dev" },
                "annotations": { "count": "2" },
                "finalizers": ["resources-finalizer.argocd.argoproj.io"],
            },
            "spec": {
                "project": "p-dev",
                "sources": [{ "repoURL": "https://example.com/dev", "path": ".", "helm": {
                    "valueFiles": ["dev.yaml"],
                    "valuesObject": { "dev": { "list": ["2", 1, true, null] } },
                } }],
                "destination": { "name": "dev", "namespace": "dev" },
                "syncPolicy": { "automated": { "prune": true }, "syncOptions": ["CreateNamespace=true"] },
                "revisionHistoryLimit": 3,
            },
        })
    );
}

#[tokio::test]
async fn finalizers_follow_the_policy() {
    let world = World::default();
    let finalizers = async |policy: Value, own: Value| {
        let template = json!({ "metadata": { "name": "a", "finalizers": own }, "spec": {} });
        let spec = json!({ "generators": [list(json!([{}]))], "template": template, "syncPolicy": policy });
        run(&world, spec).await.unwrap()[0].metadata.finalizers.clone()
    };
    let kept = Some(vec!["resources-finalizer.argocd.argoproj.io".to_owned()]);
    assert_eq!(finalizers(json!({}), json!([])).await, kept);
    assert_eq!(finalizers(json!({ "preserveResourcesOnDeletion": true }), json!([])).await, None);
    assert_eq!(finalizers(json!({}), json!(["x/y"])).await, Some(vec!["x/y".to_owned()]));
}

#[tokio::test]
async fn patches_are_merged_and_the_project_stays() {
    let world = World::default();
    let patch = "\
{{- if eq .env \"prod\" }}
metadata:
  annotations: { tier: gold }
spec:
  project: admin
  source:
    helm: { valueFiles: [prod.yaml] }
    path: null
  syncPolicy:
    automated: { prune: {{ .prune }} }
{{- end }}
";
    let spec = json!({
        "goTemplate": true,
        "generators": [list(json!([{ "env": "dev", "prune": false }, { "env": "prod", "prune": true }]))],
        "template": { "metadata": { "name": "{{ .env }}", "annotations": { "a": "b" } }, "spec": {
            "project": "team",
            "source": { "repoURL": "a", "path": "b", "helm": { "valueFiles": ["a.yaml", "b.yaml"], "releaseName": "r" } },
            "destination": {},
        } },
        "templatePatch": patch,
    });
    let made = run(&world, spec).await.unwrap();
    assert_eq!(made[0].spec.source.as_ref().unwrap().path, "b");
    let prod = &made[1];
    assert_eq!(prod.spec.project, "team");
    assert_eq!(prod.annotation("tier"), Some("gold"));
    assert_eq!(prod.annotation("a"), Some("b"));
    let source = prod.spec.source.as_ref().unwrap();
    assert_eq!(source.path, "");
    assert_eq!(source.helm.as_ref().unwrap().value_files, ["prod.yaml"]);
    assert_eq!(source.helm.as_ref().unwrap().release_name, "r");
    assert!(prod.spec.automated().unwrap().prune);

    let bad = |patch: &str| {
        json!({
            "goTemplate": true,
            "generators": [list(json!([{ "env": "dev" }]))],
            "template": { "metadata": { "name": "a" }, "spec": {} },
            "templatePatch": patch,
        })
    };
    for (patch, expected) in [
        ("- a", "spec.templatePatch, for spec.generators[0] (env=dev): is not an object"),
        ("a: [", "spec.templatePatch, for spec.generators[0] (env=dev): is not YAML"),
        (
            "spec: { syncPolicy: { automated: { prune: maybe } } }",
            "the Application \"a\" made by spec.generators[0] (env=dev) is not valid: spec.syncPolicy.automated.prune",
        ),
    ] {
        let said = run(&world, bad(patch)).await.unwrap_err().to_string();
        assert!(said.starts_with(expected), "{said}");
    }
}

#[tokio::test]
async fn a_generator_replaces_parts_of_the_template() {
    let world = World::default();
    let spec = json!({
        "generators": [
            list(json!([{ "env": "dev" }])),
            { "list": { "elements": [{ "env": "prod" }], "template": {
                "metadata": { "labels": { "tier": "{{env}}" } },
                "spec": { "project": "special", "destination": { "namespace": "" } },
            } } },
        ],
        "template": { "metadata": { "name": "{{env}}", "labels": { "a": "b" } }, "spec": { "project": "usual", "destination": { "namespace": "n", "name": "x" } } },
    });
    let made = run(&world, spec).await.unwrap();
    assert_eq!(made[0].spec.project, "usual");
    assert_eq!(made[1].spec.project, "special");
    assert_eq!(made[1].spec.destination.namespace, "n");
    assert_eq!((made[1].label("tier"), made[1].label("a")), (Some("prod"), Some("b")));
}

#[tokio::test]
async fn errors_name_the_field_and_the_parameters() {
    let world = World::default();
    let template =
        json!({ "metadata": { "name": "{{ .env }}" }, "spec": { "sources": [{ "repoURL": "{{ .repo }}" }] } });
    let spec = json!({ "goTemplate": true, "goTemplateOptions": ["missingkey=error"], "generators": [list(json!([{ "env": "dev" }]))], "template": template });
    assert_eq!(
        run(&world, spec).await.unwrap_err().to_string(),
        "spec.template.spec.sources[0].repoURL, for spec.generators[0] (env=dev): cannot fill in \"{{ .repo }}\": \
         there is no parameter \"repo\"; the parameters are env"
    );
    let invalid = run(&world, json!({ "generators": [], "template": {} })).await.unwrap_err().to_string();
    assert!(invalid.starts_with("the ApplicationSet is not valid: spec.generators: is empty"), "{invalid}");
}

#[tokio::test]
async fn the_example_repository_expands() {
    let read = |name: &str| {
        let path = std::path::Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
            .join("../../examples/bitvault-gitops/applicationsets")
            .join(name);
        let text = std::fs::read_to_string(path).unwrap();
        ApplicationSet::parse(serde_saphyr::from_str(&text).unwrap()).unwrap()
    };
    let world = World {
        directories: vec![
            "envs",
            "envs/dev",
            "envs/dev/gateway",
            "envs/staging/gateway",
            "envs/prod/gateway",
            "platform/velero",
        ],
        pulls: vec![pull(1, "feature/x", "main", &[])],
        ..World::default()
    };
    let services = expand(&read("services.yaml"), &world).await.unwrap().applications;
    let found: Vec<_> =
        services.iter().map(|it| (it.name(), it.spec.destination.name.as_str(), it.sync_option("Prune"))).collect();
    assert_eq!(
        found,
        [
            ("gateway-dev", "nonprod", None),
            ("gateway-staging", "nonprod", None),
            ("gateway-prod", "prod", Some("confirm"))
        ]
    );
    let previews = expand(&read("previews.yaml"), &world).await.unwrap().applications;
    assert_eq!(previews[0].name(), "gateway-pr-1");
    assert_eq!(previews[0].sources()[0].revision(), "0123456789abcdef0123456789abcdef01234567");
    assert_eq!(expand(&read("platform.yaml"), &world).await.unwrap().applications[0].name(), "platform-velero");
    for application in services.iter().chain(&previews) {
        assert_eq!(application.validate(), Ok(()));
    }

    let inputs = Inputs::of(&read("services.yaml"));
    assert_eq!(inputs.repositories, [("https://github.com/acme/bitvault-gitops.git".to_owned(), "main".to_owned())]);
    let inputs = Inputs::of(&read("previews.yaml"));
    assert_eq!(inputs.requeue_after, Some(std::time::Duration::from_secs(1800)));
    assert_eq!(inputs.pull_requests[0].repository, "gateway");
    assert!(matches(&inputs.pull_requests[0], &pull(1, "x", "y", &[])));
}
