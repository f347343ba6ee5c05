//! Charts, their values, and what an Application says about them.

use serde_json::{Value, json};

use super::Expected::{Either, Harmless, Refused};
use super::{Case, Expected, Worker};

const CHART: &str = "apiVersion: v2\nname: web\nversion: 0.1.0\n";
const TEMPLATE: &str =
    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: web}\ndata: {x: {{ .Values | toJson | quote }}}\n";

/// A chart that shows its values.
fn of(name: &'static str, options: Value, expected: Expected) -> Case {
    with(name, &[], expected).source(json!({"helm": options}))
}

fn with(name: &'static str, more: &[(&'static str, &str)], expected: Expected) -> Case {
    let mut files = vec![("app/templates/m.yaml", TEMPLATE), ("app/text", "fine")];
    if !more.iter().any(|(path, _)| *path == "app/Chart.yaml") {
        files.push(("app/Chart.yaml", CHART));
    }
    files.extend(more.iter().map(|(path, text)| (*path, *text)));
    Case::new(name, &files, expected)
}

fn template(name: &'static str, text: &str, expected: Expected) -> Case {
    let data = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\ndata: {{x: {{{{ {text} | toJson | quote }}}}}}\n"
    );
    with(name, &[("app/templates/x.yaml", &data)], expected)
}

pub(crate) fn cases() -> Vec<Case> {
    [parameters(), values(), others(), charts(), templates(), network()].into_iter().flatten().collect()
}

fn parameters() -> Vec<Case> {
    let file = |name, parameter: &str, expected| {
        of(name, json!({"fileParameters": [{"name": parameter, "path": "text"}]}), expected)
    };
    let set = |name, parameter: &str, value: &str, expected| {
        of(name, json!({"parameters": [{"name": parameter, "value": value}]}), expected)
    };
    let name = || Refused("cannot be the name of a parameter");
    let beside = |case: &'static str, file: &'static str, text: &str| with(case, &[(file, text)], name());
    vec![
        file("h-file-name", "x={FILE},y", name()),
        file("h-file-name-url", "x=http://127.0.0.1:{PORT}/,y", name()),
        file("h-file-name-only", "x={FILE}", name()),
        file("h-file-name-escaped", "a\\\\={FILE},y", name()),
        file("h-file-name-slash", "a\\", name()),
        file("h-file-name-list", "x={{FILE}},y", name()),
        file("h-file-name-empty", "", name()),
        file("h-file-name-line", "a\nb", name()),
        file("h-file-name-fine", "a\\.b.c[0]", Harmless),
        beside(
            "h-argocd-source",
            "app/.argocd-source.yaml",
            "helm: {fileParameters: [{name: 'x={FILE},y', path: text}]}\n",
        ),
        beside(
            "h-argocd-source-app",
            "app/.argocd-source-web.yaml",
            "helm: {fileParameters: [{name: 'x=http://127.0.0.1:{PORT}/,y', path: text}]}\n",
        ),
        set("h-set-name", "a=1,b", "2", name()),
        set("h-set-name-dash", "--set-file", "x={FILE}", name()),
        set("h-set-name-braces", "a={1}", "2", name()),
        set("h-set-value", "a", "{FILE}", Harmless),
        set("h-set-value-list", "a", "{x},b={y}", Either),
        set("h-set-value-comma", "a", "\\\\,b=1", Either),
        set("h-set-value-option", "a", "--post-renderer=/bin/sh", Harmless),
        set("h-set-index", "a[99999999]", "x", name()),
        set("h-set-index-large", "a[65537]", "x", Either),
    ]
}

fn values() -> Vec<Case> {
    let path = |name, path: &str, expected| of(name, json!({"valueFiles": [path]}), expected);
    let file =
        |name, path: &str, expected| of(name, json!({"fileParameters": [{"name": "x", "path": path}]}), expected);
    vec![
        path("v-http", "http://127.0.0.1:{PORT}/v.yaml", Refused("from the network")),
        path("v-file", "file://{FILE}", Refused("from the network")),
        path("v-absolute", "{FILE}", Refused("does not exist")),
        path("v-up", "../../../../../../../../{FILE}", Refused("leads out of the repository")),
        path("v-variable", "$ARGOCD_APP_NAME/../../../../../{FILE}", Refused("leads out of the repository")),
        path("v-dash", "--set-file=x={FILE}", Refused("does not exist")),
        path("v-comma", "text,{FILE}", Refused("does not exist")),
        path("v-nul", "text\u{0}", Refused("zero byte")),
        path("v-link", "linked.yaml", Refused("leads out of the repository")).link("app/linked.yaml", "{FILE}"),
        file("v-file-http", "http://127.0.0.1:{PORT}/v", Refused("from the network")),
        file("v-file-absolute", "{FILE}", Refused("does not exist")),
        file("v-file-up", "../../../../../{FILE}", Refused("leads out of the repository")),
        of("v-bomb", json!({"values": bomb()}), Either),
    ]
}

/// Each list holds the one before ten times.
fn bomb() -> String {
    (1..10).fold("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        let previous = format!("*a{}", level - 1);
        text + &format!("a{level}: &a{level} [{}]\n", [previous.as_str(); 10].join(", "))
    })
}

fn others() -> Vec<Case> {
    vec![
        of("h-release", json!({"releaseName": "--post-renderer=/bin/sh"}), Refused("cannot be a release name")),
        of("h-release-line", json!({"releaseName": "a\nb"}), Refused("cannot be a release name")),
        of("h-namespace", json!({"namespace": "x --kubeconfig={FILE}"}), Refused("cannot be the name of a namespace")),
        of("h-kube-version", json!({"kubeVersion": "--set-file=x={FILE}"}), Harmless),
        template("h-kube-version-used", ".Capabilities.KubeVersion", Refused("is not a Kubernetes version"))
            .source(json!({"helm": {"kubeVersion": "--set-file=x={FILE}"}})),
        template("h-api-versions", ".Capabilities.APIVersions", Refused("is not an API version"))
            .source(json!({"helm": {"apiVersions": ["--set-file=x={FILE}"]}})),
        template("h-api-versions-comma", ".Capabilities.APIVersions", Refused("is not an API version"))
            .source(json!({"helm": {"apiVersions": ["v1,--x"]}})),
        of("h-version", json!({"version": "--help"}), Harmless),
        of("h-pass-credentials", json!({"passCredentials": true}), Harmless),
    ]
}

fn charts() -> Vec<Case> {
    let dependency = |name, repository: &str, expected| {
        let chart = format!("{CHART}dependencies: [{{name: d, version: 0.1.0, repository: '{repository}'}}]\n");
        with(name, &[("app/Chart.yaml", &chart)], expected)
    };
    let schema = |name, text: &str, expected| with(name, &[("app/values.schema.json", text)], expected);
    let leads = || Refused("a schema that leads to");
    vec![
        dependency("d-http", "http://127.0.0.1:{PORT}/", Refused("from the network")),
        dependency("d-absolute", "file://{REPOSITORY}", Refused("leads out of the repository")),
        dependency("d-up", "file://../../../../x", Refused("leads out of the repository")),
        dependency("d-alias", "@evil", Refused("from the network")),
        with(
            "d-Dependencies",
            &[(
                "app/Chart.yaml",
                &format!("{CHART}Dependencies: [{{Name: d, Version: 0.1.0, Repository: 'file://{{REPOSITORY}}'}}]\n"),
            )],
            Either,
        ),
        with(
            "d-requirements",
            &[(
                "app/requirements.yaml",
                "dependencies: [{name: d, version: 0.1.0, repository: 'file://{REPOSITORY}'}]\n",
            )],
            Refused("leads out of the repository"),
        ),
        schema("s-http", "{\"$ref\": \"http://127.0.0.1:{PORT}/x\"}", leads()),
        schema("s-file", "{\"properties\": {\"a\": {\"$ref\": \"file://{FILE}\"}}}", leads()),
        schema("s-id", "{\"$id\": \"http://127.0.0.1:{PORT}/\", \"allOf\": [{\"$ref\": \"x\"}]}", leads()),
        schema("s-draft", "{\"$schema\": \"http://127.0.0.1:{PORT}/meta\"}", leads()),
        schema("s-skipped", "{\"$ref\": \"http://127.0.0.1:{PORT}/x\"}", Harmless)
            .source(json!({"helm": {"skipSchemaValidation": true}})),
        with(
            "s-nested",
            &[
                ("app/charts/d/Chart.yaml", "apiVersion: v2\nname: d\nversion: 0.1.0\n"),
                ("app/charts/d/values.schema.json", "{\"$ref\": \"http://127.0.0.1:{PORT}/x\"}"),
            ],
            leads(),
        ),
        with("s-linked", &[("other/s.json", "{\"$ref\": \"http://127.0.0.1:{PORT}/x\"}")], leads())
            .link("app/values.schema.json", "../other/s.json"),
        with("l-out", &[], Refused("leads out of the repository")).link("app/templates/x.yaml", "{FILE}"),
        with("l-folder", &[], Refused("leads out of the repository")).link("app/files", "{REPOSITORY}"),
        with("l-chart", &[], Refused("leads out of the repository")).link("app/charts/d", "{REPOSITORY}"),
    ]
}

fn templates() -> Vec<Case> {
    vec![
        template("t-files", ".Files.Get \"{FILE}\"", Harmless),
        template("t-files-up", ".Files.Get \"../../../../../{FILE}\"", Harmless),
        template("t-glob", ".Files.Glob \"/**\"", Harmless),
        template("t-env", "env \"HOME\"", Either),
        template("t-expandenv", "expandenv \"$HOME\"", Either),
        template("t-dns", "getHostByName \"localhost\"", Harmless),
        template("t-lookup", "lookup \"v1\" \"Secret\" \"\" \"\"", Harmless),
        template("t-fail", "fail \"no\"", Refused("no")),
        template("t-tpl", "tpl \"{{ env \\\"HOME\\\" }}\" .", Either),
    ]
}

fn network() -> Vec<Case> {
    let fetched = |name, file: &'static str, text: &str, part| {
        with(name, &[(file, &text.replace("CHART", CHART))], Refused(part)).on(Worker::Network)
    };
    let chart = "CHARTdependencies: [{name: d, version: 0.1.0, repository: 'REPOSITORY'}]\n";
    let at = |repository: &str| chart.replace("REPOSITORY", repository);
    vec![
        fetched("n-d-http", "app/Chart.yaml", &at("http://127.0.0.1:{PORT}/"), "public network"),
        fetched("n-d-oci", "app/Chart.yaml", &at("oci://localhost:{PORT}/x"), "public network"),
        fetched("n-d-alias", "app/Chart.yaml", &at("@evil"), "no short names"),
        fetched("n-d-option", "app/Chart.yaml", &at("--repository-config={FILE}"), "no short names"),
        fetched(
            "n-d-file",
            "app/Chart.yaml",
            "CHARTdependencies: [{name: d, version: 0.1.0, repository: 'FILE://{REPOSITORY}'}]\n",
            "leads out",
        ),
        fetched(
            "n-d-Repository",
            "app/Chart.yaml",
            "CHARTDependencies: [{Name: d, Version: 0.1.0, Repository: 'http://127.0.0.1:{PORT}/'}]\n",
            "public network",
        ),
        fetched(
            "n-d-lock",
            "app/Chart.lock",
            "dependencies: [{name: d, version: 0.1.0, repository: 'http://127.0.0.1:{PORT}/'}]\n",
            "public network",
        ),
    ]
}
