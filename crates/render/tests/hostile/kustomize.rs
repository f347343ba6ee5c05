//! Kustomizations.

use serde_json::json;

use super::Expected::{Either, Harmless, Refused};
use super::{Case, Expected, Worker};

const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n";
const FILE: &str = "app/kustomization.yaml";
/// A command in what git takes for an option.
const COMMAND: &str = "file:///x//y?ref=--upload-pack=sh%20-c%20%22touch%20{TOUCH}%22";
const THEIRS: &str = "file://{REPOSITORY}//?ref=main";

/// A kustomization beside a Service.
fn of(name: &'static str, text: &str, expected: Expected) -> Case {
    Case::new(name, &[(FILE, text), ("app/a.yaml", SERVICE)], expected)
}

pub(crate) fn cases() -> Vec<Case> {
    [spellings(), addresses(), files(), plugins(), charts(), network(), options()].into_iter().flatten().collect()
}

/// Keys that Kustomize takes and a reader of the one spelling does not see.
fn spellings() -> Vec<Case> {
    let key = |name, key: &str, reference: &str| {
        of(name, &format!("resources: [a.yaml]\n{key}: ['{reference}']\n"), Refused("is not how this key is written"))
    };
    vec![
        of("k-Resources", &format!("Resources: ['{COMMAND}']\n"), Refused("write `resources`")),
        of("k-Components", &format!("Components: ['{COMMAND}']\n"), Refused("write `components`")),
        key("k-RESOURCES", "RESOURCES", COMMAND),
        key("k-Bases", "Bases", THEIRS),
        key("k-CRDS", "CRDS", "http://127.0.0.1:{PORT}/x"),
        key("k-Configurations", "Configurations", "http://127.0.0.1:{PORT}/x"),
        key("k-Generators", "Generators", "http://127.0.0.1:{PORT}/x"),
        key("k-Transformers", "tRansformers", "http://127.0.0.1:{PORT}/x"),
        key("k-PatchesStrategicMerge", "patchesstrategicmerge", "http://127.0.0.1:{PORT}/x"),
        of("k-long-s", "re\u{17f}ources: ['http://127.0.0.1:{PORT}/x']\n", Refused("no key that Kustomize")),
        of("k-kelvin", "resources: [a.yaml]\n\u{212a}ind: Component\n", Refused("write `kind`")),
        of(
            "k-nested-Path",
            "resources: [a.yaml]\npatches: [{Path: 'http://127.0.0.1:{PORT}/x'}]\n",
            Refused("write `path`"),
        ),
        of(
            "k-openapi-Path",
            "resources: [a.yaml]\nopenapi: {path: '', Path: 'http://127.0.0.1:{PORT}/x'}\n",
            Refused("openapi."),
        ),
        of("k-generator-Files", "configMapGenerator: [{name: x, Files: ['{FILE}']}]\n", Refused("write `files`")),
        of("k-generator-ENVS", "configMapGenerator: [{name: x, ENVS: ['{FILE}']}]\n", Refused("write `envs`")),
        of("k-twice", &format!("resources: ['{COMMAND}']\nresources: [a.yaml]\n"), Harmless),
        of("k-twice-last", &format!("resources: [a.yaml]\nresources: ['{COMMAND}']\n"), Refused("from the network")),
        of("k-merge", &format!("<<: {{resources: ['{COMMAND}']}}\n"), Refused("from the network")),
        of(
            "k-merge-later",
            &format!("resources: [a.yaml]\n<<: {{resources: ['{COMMAND}']}}\n"),
            Refused("from the network"),
        ),
        of("k-anchor", &format!("namePrefix: &x '{COMMAND}'\nresources: [*x]\n"), Refused("from the network")),
        of("k-documents", &format!("resources: [a.yaml]\n---\nresources: ['{COMMAND}']\n"), Refused("one document")),
        of(
            "k-document-end",
            &format!("resources: [a.yaml]\n...\nresources: ['{COMMAND}']\n"),
            Refused("a second document"),
        ),
        of("k-bom", "\u{feff}Resources: ['http://127.0.0.1:{PORT}/x']\n", Refused("write `resources`")),
        of(
            "k-escapes",
            "\"\\x72esources\": [\"\\x66ile:///x//y?ref=--upload-pack=sh\"]\n",
            Refused("from the network"),
        ),
        of("k-tag", "resources: !!binary aHR0cDovLw==\n", Refused("`resources` must be a list")),
        of(
            "k-binary",
            "resources: [!!binary ZmlsZTovLy94Ly95P3JlZj0tLXVwbG9hZC1wYWNrPXNo]\n",
            Refused("from the network"),
        ),
        of("k-recursive", "resources: &a [*a]\n", Refused("contains itself")),
        Case::new(
            "k-two-files",
            &[
                (FILE, "resources: [a.yaml]\n"),
                ("app/Kustomization", &format!("resources: ['{COMMAND}']\n")),
                ("app/a.yaml", SERVICE),
            ],
            Refused("is there, too"),
        ),
        Case::new(
            "k-nested-base",
            &[(FILE, "resources: [../base]\n"), ("base/kustomization.yml", &format!("Resources: ['{COMMAND}']\n"))],
            Refused("base/kustomization.yml"),
        ),
        Case::new(
            "k-nested-component",
            &[
                (FILE, "components: [../c]\n"),
                (
                    "c/Kustomization",
                    &format!(
                        "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nresources: ['{COMMAND}']\n"
                    ),
                ),
            ],
            Refused("from the network"),
        ),
        Case::new(
            "k-linked-file",
            &[("other/k.yaml", "Resources: ['http://127.0.0.1:{PORT}/x']\n")],
            Refused("write `resources`"),
        )
        .link("app/kustomization.yaml", "../other/k.yaml"),
    ]
}

/// What is an address, and what a folder of the repository may not be called to look like none.
fn addresses() -> Vec<Case> {
    let resource =
        |name, reference: &str, expected| of(name, &format!("resources:\n- a.yaml\n- \"{reference}\"\n"), expected);
    let remote = || Refused("from the network");
    let outside = || Refused("leads out of the repository");
    vec![
        resource("a-command", COMMAND, remote()),
        resource("a-theirs", THEIRS, remote()),
        resource("a-forced", "git::file://{REPOSITORY}//?ref=main", remote()),
        resource("a-forced-path", "git::{REPOSITORY}", remote()),
        resource("a-case", "FILE://{REPOSITORY}//?ref=main", remote()),
        resource("a-http", "http://127.0.0.1:{PORT}/x.yaml", remote()),
        resource("a-opaque", "http:127.0.0.1:{PORT}", remote()),
        resource("a-ssh", "ssh://git@127.0.0.1:{PORT}/r", remote()),
        resource("a-scp", "git@127.0.0.1:r.git", remote()),
        resource("a-github", "github.com/acme/r//x?ref=--upload-pack=sh", remote()),
        resource("a-host", "forge.example.com/acme/r/x", remote()),
        resource("a-suffix", "forge/acme/r.git", remote()),
        resource("a-query", "base?ref=--upload-pack=sh", remote()),
        resource("a-ext", "ext::sh -c touch% {TOUCH}", Refused("does not exist")),
        resource("a-dash", "--upload-pack=sh", Refused("does not exist")),
        resource("a-absolute", "{FILE}", outside()),
        resource("a-up", "../../../../etc", outside()),
        resource("a-space", " http://127.0.0.1:{PORT}/x", remote()),
        resource("a-newline", "a.yaml\\nhttp://127.0.0.1:{PORT}/x", remote()),
        resource("a-line", "a.yaml\\n--upload-pack=sh", Refused("control character")),
        resource("a-nul", "a\\0.yaml", Refused("control character")),
        resource("a-empty", "", Refused("is empty")),
        resource("a-mixed-slashes", "http:\\\\\\\\127.0.0.1:{PORT}\\\\x", remote()),
        Case::new(
            "a-folder-like-host",
            &[
                (FILE, "resources: ['github.com/acme/r']\n"),
                ("app/github.com/acme/r/kustomization.yaml", "resources: [a.yaml]\n"),
                ("app/github.com/acme/r/a.yaml", SERVICE),
            ],
            remote(),
        ),
        Case::new(
            "a-folder-like-url",
            &[
                (FILE, "resources: ['file:/x/y?ref=--upload-pack=sh']\n"),
                ("app/file:/x/y?ref=--upload-pack=sh/kustomization.yaml", "resources: [a.yaml]\n"),
                ("app/file:/x/y?ref=--upload-pack=sh/a.yaml", SERVICE),
            ],
            remote(),
        ),
        Case::new(
            "a-folder-with-dots",
            &[
                (FILE, "resources: ['./github.com/acme/r']\n"),
                ("app/github.com/acme/r/kustomization.yaml", "resources: [a.yaml]\n"),
                ("app/github.com/acme/r/a.yaml", SERVICE),
            ],
            Harmless,
        ),
        Case::new(
            "a-malformed-like-host",
            &[(FILE, "resources: ['git@127.0.0.1:x/y']\n"), ("app/git@127.0.0.1:x/y", "{ no yaml")],
            remote(),
        ),
    ]
}

/// Every other place where a kustomization names a file.
fn files() -> Vec<Case> {
    let remote = || Refused("from the network");
    let outside = || Refused("leads out of the repository");
    let with = |name, more: &str, expected| of(name, &format!("resources: [a.yaml]\n{more}\n"), expected);
    vec![
        with("f-crds", "crds: ['http://127.0.0.1:{PORT}/x']", remote()),
        with("f-configurations", "configurations: ['http://127.0.0.1:{PORT}/x']", remote()),
        with("f-openapi", "openapi: {path: 'http://127.0.0.1:{PORT}/x'}", remote()),
        with("f-patches", "patches: [{path: 'http://127.0.0.1:{PORT}/x'}]", remote()),
        with("f-patches-file", "patches: [{path: '{FILE}'}]", outside()),
        with(
            "f-json6902",
            "patchesJson6902: [{path: 'http://127.0.0.1:{PORT}/x', target: {kind: Service, name: web}}]",
            remote(),
        ),
        with("f-merge-url", "patchesStrategicMerge: ['http://127.0.0.1:{PORT}/x']", remote()),
        with("f-merge-lines", "patchesStrategicMerge: [\"http://127.0.0.1:{PORT}/x\\n\"]", remote()),
        with("f-merge-mapping", "patchesStrategicMerge: ['http://127.0.0.1:{PORT}/a: b']", remote()),
        with("f-merge-mapping-case", "patchesStrategicMerge: ['HTTP://127.0.0.1:{PORT}/a: b']", remote()),
        with("f-merge-path", "patchesStrategicMerge: ['{FILE}']", outside()),
        with("f-replacements", "replacements: [{path: 'http://127.0.0.1:{PORT}/x'}]", remote()),
        with("f-map-files", "configMapGenerator: [{name: x, files: ['k=http://127.0.0.1:{PORT}/x']}]", remote()),
        with("f-map-absolute", "configMapGenerator: [{name: x, files: ['k={FILE}']}]", outside()),
        with("f-map-env", "configMapGenerator: [{name: x, env: 'http://127.0.0.1:{PORT}/x'}]", remote()),
        with("f-map-envs", "configMapGenerator: [{name: x, envs: ['../../../../../../{FILE}']}]", outside()),
        with(
            "f-map-pairs",
            "configMapGenerator: [{name: x, files: ['a=b={FILE}']}]",
            Refused("is not `file` or `key=file`"),
        ),
        with("f-secret-files", "secretGenerator: [{name: x, files: ['{FILE}']}]", outside()),
        with(
            "f-secret-commands",
            "secretGenerator: [{name: x, commands: {a: 'touch {TOUCH}'}}]",
            Refused("runs no commands"),
        ),
        with("f-shell", "generatorOptions: {shell: [sh, -c, 'touch {TOUCH}']}", Refused("no key that Kustomize")),
        with(
            "f-data-of-build",
            "configMapGenerator: [{name: x, files: [kustomization.yaml]}]",
            Refused("both as a part of the build and as data"),
        ),
        with("f-link-out", "configMapGenerator: [{name: x, files: [out]}]", outside()).link("app/out", "{FILE}"),
        with("f-link-chain", "configMapGenerator: [{name: x, files: [one/file]}]", outside())
            .link("app/one", "two")
            .link("app/two", "../../../../../../../../{REPOSITORY}/.."),
        of("f-folder-out", "resources: [out]\n", outside()).link("app/out", "{REPOSITORY}"),
    ]
}

/// Plugins: programs, and what those of Kustomize itself are told.
fn plugins() -> Vec<Case> {
    let plugin = |name, text: &str, expected| {
        Case::new(
            name,
            &[(FILE, "resources: [a.yaml]\ntransformers: [t.yaml]\n"), ("app/a.yaml", SERVICE), ("app/t.yaml", text)],
            expected,
        )
    };
    let inline = |name, text: &str, expected| {
        of(name, &format!("resources: [a.yaml]\ntransformers:\n- |-\n  {}\n", text.replace('\n', "\n  ")), expected)
    };
    let program = || Refused("which is a program or a container");
    let remote = || Refused("from the network");
    let builtin = "apiVersion: builtin\nmetadata: {name: x}\n";
    vec![
        plugin(
            "p-exec",
            "apiVersion: example.com/v1\nkind: Tool\nmetadata: {name: x, annotations: {config.kubernetes.io/function: \"exec: {path: /bin/sh, args: [-c, 'touch {TOUCH}']}\"}}\n",
            program(),
        ),
        plugin(
            "p-container",
            "apiVersion: example.com/v1\nkind: Tool\nmetadata: {name: x, annotations: {config.kubernetes.io/function: 'container: {image: evil}'}}\n",
            program(),
        ),
        plugin(
            "p-starlark",
            "apiVersion: example.com/v1\nkind: Tool\nmetadata: {name: x, annotations: {config.k8s.io/function: 'starlark: {url: \"http://127.0.0.1:{PORT}/\"}'}}\n",
            program(),
        ),
        plugin(
            "p-builtin-function",
            &format!("{builtin}kind: PatchTransformer\npatch: x\n").replace(
                "{name: x}",
                "{name: x, annotations: {config.kubernetes.io/function: 'exec: {path: /bin/sh}'}}",
            ),
            program(),
        ),
        plugin("p-unknown-kind", &format!("{builtin}kind: ShellGenerator\n"), program()),
        plugin("p-builtin-v1", "apiVersion: builtin/v1\nkind: PatchTransformer\nmetadata: {name: x}\n", program()),
        plugin(
            "p-list",
            "apiVersion: v1\nkind: List\nitems: [{apiVersion: builtin, kind: PatchTransformer, metadata: {name: x}, path: 'http://127.0.0.1:{PORT}/x'}]\n",
            program(),
        ),
        plugin(
            "p-patch-url",
            &format!("{builtin}kind: PatchTransformer\npath: 'http://127.0.0.1:{{PORT}}/x'\n"),
            remote(),
        ),
        plugin(
            "p-patch-Path",
            &format!("{builtin}kind: PatchTransformer\nPath: 'http://127.0.0.1:{{PORT}}/x'\n"),
            Refused("write `path`"),
        ),
        plugin(
            "p-json6902",
            &format!(
                "{builtin}kind: PatchJson6902Transformer\ntarget: {{kind: Service, name: web}}\npath: 'http://127.0.0.1:{{PORT}}/x'\n"
            ),
            remote(),
        ),
        plugin(
            "p-merge",
            &format!("{builtin}kind: PatchStrategicMergeTransformer\npaths: ['http://127.0.0.1:{{PORT}}/x']\n"),
            remote(),
        ),
        plugin(
            "p-replacement",
            &format!(
                "{builtin}kind: ReplacementTransformer\nreplacements: [{{path: 'http://127.0.0.1:{{PORT}}/x'}}]\n"
            ),
            remote(),
        ),
        plugin(
            "p-value-add",
            &format!("{builtin}kind: ValueAddTransformer\nvalue: x\ntargetFilePath: 'http://127.0.0.1:{{PORT}}/x'\n"),
            remote(),
        ),
        plugin(
            "p-second",
            &format!(
                "{builtin}kind: PrefixTransformer\nprefix: x-\n---\n{builtin}kind: PatchTransformer\npath: '{{FILE}}'\n"
            ),
            Refused("leads out of the repository"),
        ),
        of("p-inline-mapping", "resources: [a.yaml]\ngenerators: ['http://127.0.0.1:{PORT}/a: b']\n", program()),
        inline(
            "p-inline-fine",
            &format!(
                "{builtin}kind: AnnotationsTransformer\nannotations: {{a: 'https://example.com'}}\nfieldSpecs: [{{path: metadata/annotations, create: true}}]"
            ),
            Harmless,
        ),
        inline(
            "p-inline-url",
            &format!("{builtin}kind: PatchTransformer\npath: 'http://127.0.0.1:{{PORT}}/x'"),
            remote(),
        ),
        inline("p-inline-exec", "apiVersion: example.com/v1\nkind: Tool\nmetadata: {name: x}", program()),
        inline(
            "p-inline-second",
            &format!(
                "{builtin}kind: PrefixTransformer\nprefix: x-\n---\n{builtin}kind: PatchTransformer\npath: '{{FILE}}'"
            ),
            Refused("leads out of the repository"),
        ),
        of(
            "p-generator-map",
            "generators: ['{apiVersion: builtin, kind: ConfigMapGenerator, metadata: {name: x}, name: x, files: [\"http://127.0.0.1:{PORT}/x\"]}']\n",
            remote(),
        ),
        of(
            "p-generator-secret",
            "generators: ['{apiVersion: builtin, kind: SecretGenerator, metadata: {name: x}, name: x, envs: [\"{FILE}\"]}']\n",
            Refused("leads out of the repository"),
        ),
        of("p-generator-url", "resources: [a.yaml]\ngenerators: ['http://127.0.0.1:{PORT}/x']\n", remote()),
        of("p-validator-url", &format!("resources: [a.yaml]\nvalidators: ['{COMMAND}']\n"), remote()),
        of("p-comment", "resources: [a.yaml]\ntransformers: ['# nothing']\n", Refused("does not exist")),
        Case::new(
            "p-folder-that-changes",
            &[
                (FILE, "resources: [a.yaml]\ntransformers: [t]\n"),
                ("app/a.yaml", SERVICE),
                (
                    "app/t/kustomization.yaml",
                    "resources: [t.yaml]\nreplacements: [{sourceValue: 'http://127.0.0.1:{PORT}/x', targets: [{select: {kind: PatchTransformer}, fieldPaths: [path]}]}]\n",
                ),
                ("app/t/t.yaml", &format!("{builtin}kind: PatchTransformer\npath: p.yaml\n")),
                ("app/p.yaml", "[]"),
            ],
            Refused("in a kustomization of plugins"),
        ),
        Case::new(
            "p-folder-with-url",
            &[
                (FILE, "resources: [a.yaml]\ntransformers: [t]\n"),
                ("app/a.yaml", SERVICE),
                ("app/t/kustomization.yaml", &format!("resources: ['{COMMAND}']\n")),
            ],
            remote(),
        ),
    ]
}

/// Charts that Kustomize inflates.
fn charts() -> Vec<Case> {
    let chart = |name, fields: &str, expected| {
        Case::new(
            name,
            &[
                (FILE, &format!("helmCharts: [{{{fields}}}]\n") as &str),
                ("app/charts/c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\n"),
                ("app/charts/c/values.yaml", ""),
            ],
            expected,
        )
        .on(Worker::Charts)
    };
    let remote = || Refused("from the network");
    vec![
        of("c-off", "helmCharts: [{name: c}]\n", Refused("--enable-helm")),
        chart("c-remote", "name: d, repo: 'http://127.0.0.1:{PORT}/'", remote()),
        chart("c-remote-version", "name: c, version: 1.0.0, repo: 'http://127.0.0.1:{PORT}/'", remote()),
        chart("c-oci", "name: d, repo: 'oci://127.0.0.1:{PORT}/x'", remote()),
        chart("c-option", "name: c, releaseName: '--post-renderer=/bin/sh'", Refused("would take it for an option")),
        chart("c-name-option", "name: '--post-renderer', repo: 'https://charts.example.com'", Refused("cannot be")),
        chart("c-name-up", "name: '../../x'", Refused("cannot be")),
        chart("c-version-up", "name: c, version: '../../x', repo: 'https://charts.example.com'", Refused("cannot be")),
        chart("c-template", "name: c, nameTemplate: '{{ env \"HOME\" }}'", Refused("nameTemplate")),
        chart("c-values-url", "name: c, valuesFile: 'http://127.0.0.1:{PORT}/x'", remote()),
        chart("c-values-out", "name: c, additionalValuesFiles: ['{FILE}']", Refused("leads out of the repository")),
        chart("c-kube-version", "name: c, kubeVersion: '--set-file=x={FILE}'", Refused("would take it for an option")),
        of("c-config-home", "helmGlobals: {configHome: '{REPOSITORY}'}\n", Refused("configHome")).on(Worker::Charts),
        of("c-home-out", "helmGlobals: {chartHome: '{REPOSITORY}'}\nhelmCharts: [{name: c}]\n", Refused("leads out")).on(Worker::Charts),
        of("c-old", "helmChartInflationGenerator: [{chartName: c, helmBin: /bin/sh}]\n", Refused("write helmCharts")).on(Worker::Charts),
        of("c-plugin", "generators: ['{apiVersion: builtin, kind: HelmChartInflationGenerator, metadata: {name: x}, name: d, repo: \"http://127.0.0.1:{PORT}/\"}']\n", remote()).on(Worker::Charts),
        Case::new(
            "c-schema",
            &[
                (FILE, "helmCharts: [{name: c}]\n"),
                ("app/charts/c/Chart.yaml", "apiVersion: v2\nname: c\nversion: 0.1.0\n"),
                ("app/charts/c/values.yaml", ""),
                ("app/charts/c/values.schema.json", "{\"$ref\": \"http://127.0.0.1:{PORT}/x\"}"),
            ],
            Refused("a schema that leads to"),
        )
        .on(Worker::Charts),
    ]
}

/// What may not be used even where programs may use the network.
fn network() -> Vec<Case> {
    let resource = |name, reference: &str, part| {
        of(name, &format!("resources: ['{reference}']\n"), Refused(part)).on(Worker::Network)
    };
    vec![
        resource("n-command", COMMAND, "git would take a value in it for an option"),
        resource("n-theirs", THEIRS, "only https, http, ssh and oci"),
        resource("n-loopback", "http://127.0.0.1:{PORT}/x.yaml", "not one of the public network"),
        resource("n-localhost", "http://localhost:{PORT}/x.yaml", "not one of the public network"),
        resource("n-short", "http://127.1:{PORT}/x.yaml", "not one of the public network"),
        resource("n-hex", "http://0x7f000001:{PORT}/x.yaml", "not one of the public network"),
        resource("n-six", "http://[::1]:{PORT}/x.yaml", "not one of the public network"),
        resource("n-mapped", "http://[::ffff:127.0.0.1]:{PORT}/x.yaml", "not one of the public network"),
        resource("n-metadata", "http://169.254.169.254/latest/meta-data", "not one of the public network"),
        resource("n-cluster", "https://kubernetes.default.svc/api", "not one of the public network"),
        resource("n-forced", "git::https://forge.example.com/r", "only https, http, ssh and oci"),
        resource("n-option", "https://forge.example.com/a/b?ref=%2D-upload-pack=sh", "for an option"),
        resource("n-host-option", "git@-oProxyCommand=touch:a/b", "not one of the public network"),
        of("n-file", "crds: ['http://127.0.0.1:{PORT}/x']\n", Refused("public network")).on(Worker::Network),
        of("n-plugin", "generators: ['https://forge.example.com/a/b']\n", Refused("from the repository only"))
            .on(Worker::Network),
        of("n-chart", "helmCharts: [{name: c, repo: 'http://127.0.0.1:{PORT}/'}]\n", Refused("public network"))
            .on(Worker::ChartsAndNetwork),
        of("n-chart-file", "helmCharts: [{name: c, repo: 'file://{REPOSITORY}'}]\n", Refused("only https"))
            .on(Worker::ChartsAndNetwork),
    ]
}

/// What the Application, or a file in the repository in its name, says beside the kustomization.
fn options() -> Vec<Case> {
    let option = |name, options: serde_json::Value, expected| {
        of(name, "resources: [a.yaml]\n", expected).source(json!({"kustomize": options}))
    };
    let mut beside = of("o-argocd-source", "resources: [a.yaml]\n", Refused("from the network"));
    beside.files.push(("app/.argocd-source-web.yaml", format!("kustomize: {{components: ['{COMMAND}']}}\n")));
    vec![
        beside,
        option("o-components", json!({"components": [COMMAND]}), Refused("from the network")),
        option("o-components-out", json!({"components": ["{REPOSITORY}"]}), Refused("leads out of the repository")),
        option("o-components-missing", json!({"components": [COMMAND], "ignoreMissingComponents": true}), Harmless),
        option("o-patch", json!({"patches": [{"path": "http://127.0.0.1:{PORT}/x"}]}), Refused("from the network")),
        option("o-patch-file", json!({"patches": [{"path": "{FILE}"}]}), Refused("leads out of the repository")),
        option("o-patch-Path", json!({"patches": [{"Path": "{FILE}"}]}), Refused("write `path`")),
        option(
            "o-patch-target",
            json!({"patches": [{"patch": "x", "target": {"Kind": "Service"}}]}),
            Refused("write `kind`"),
        ),
        option("o-image", json!({"images": ["web=http://127.0.0.1:{PORT}/x"]}), Harmless),
        option("o-prefix", json!({"namePrefix": "--x\n"}), Either),
        option("o-labels", json!({"commonLabels": {"a": "--upload-pack=sh"}}), Either),
        option("o-version", json!({"version": "--help"}), Refused("kustomize.version")),
    ]
}
