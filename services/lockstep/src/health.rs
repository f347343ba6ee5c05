//! `lockstep health`: how well objects are, by the rules that the worker uses. No cluster is asked.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use customizations::Customizations;
use engine::health::{JudgedKind, kinds};
use jiff::Timestamp;
use resources::{HealthStatus, Object};
use serde::Serialize;

/// What is said of an object that has no health.
const NOTHING_TO_JUDGE: &str = "nothing to judge";

/// The options of `health`.
///
/// Objects that have no health, such as ConfigMaps, count as healthy, as they do for an application: "nothing to judge". The exit
/// code says whether everything could be read, not how well it is.
#[derive(clap::Args)]
pub struct Args {
    /// A file with objects as the cluster has them, in YAML or JSON, with any number of documents and Lists; `-` is the standard
    /// input. May be repeated.
    #[arg(short, long = "file", value_name = "FILE", required_unless_present = "kinds")]
    files: Vec<PathBuf>,
    /// A manifest of the ConfigMap argocd-cm, whose Lua judges the kinds that it is for; `-` is the standard input.
    #[arg(long, value_name = "FILE", conflicts_with = "kinds")]
    config: Option<PathBuf>,
    /// How the answers are printed.
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
    /// Print the kinds that have a rule of their own instead.
    #[arg(long, conflicts_with = "files")]
    kinds: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// One line for each object: group/Kind namespace/name status message.
    Text,
    /// An array of objects.
    Json,
}

/// One object and how well it is.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    group: String,
    kind: String,
    namespace: String,
    name: String,
    status: HealthStatus,
    message: String,
}

impl Answer {
    fn of(object: &Object, customizations: &Customizations) -> Self {
        let (status, message) = match customizations.health(object, Timestamp::now()) {
            Some(health) => (health.status, health.message),
            None => (HealthStatus::Healthy, NOTHING_TO_JUDGE.into()),
        };
        let key = object.key();
        Self { group: key.group, kind: key.kind, namespace: key.namespace, name: key.name, status, message }
    }

    fn line(&self) -> String {
        let key = resources::ObjectKey::new(&self.group, &self.kind, &self.namespace, &self.name);
        // A message of several lines stays on the line of its object.
        let message = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{key} {} {message}", self.status).trim_end().into()
    }
}

/// Runs the subcommand.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let text = if args.kinds {
        print_kinds(args.output)?
    } else {
        let customizations = match &args.config {
            Some(file) => config(file)?,
            None => Customizations::default(),
        };
        for warning in customizations.warnings() {
            eprintln!("warning: {warning}");
        }
        let mut answers = Vec::new();
        for file in &args.files {
            answers
                .extend(judge(&read(file)?, &customizations).with_context(|| format!("cannot read {}", shown(file)))?);
        }
        match args.output {
            Output::Text => answers.iter().map(|answer| answer.line() + "\n").collect(),
            Output::Json => serde_json::to_string_pretty(&answers)? + "\n",
        }
    };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write the answers"),
    }
}

fn judge(text: &str, customizations: &Customizations) -> Result<Vec<Answer>, render::Unreadable> {
    Ok(render::objects(text)?.iter().map(|object| Answer::of(object, customizations)).collect())
}

/// The ConfigMap in a file: that called argocd-cm, or the only one.
fn config(file: &Path) -> anyhow::Result<Customizations> {
    let objects = render::objects(&read(file)?).with_context(|| format!("cannot read {}", shown(file)))?;
    let config_maps: Vec<&Object> =
        objects.iter().filter(|object| object.kind() == "ConfigMap" && object.group().is_empty()).collect();
    let named = config_maps.iter().find(|config_map| config_map.name() == "argocd-cm");
    match (named, config_maps.as_slice()) {
        (Some(config_map), _) | (None, [config_map]) => Ok(Customizations::of_config_map(config_map)),
        _ => bail!("{} has no ConfigMap argocd-cm: give its manifest with --config", shown(file)),
    }
}

fn print_kinds(output: Output) -> anyhow::Result<String> {
    Ok(match output {
        Output::Text => {
            kinds().map(|JudgedKind { product, group, kind }| format!("{group}/{kind} {product}\n")).collect()
        }
        Output::Json => serde_json::to_string_pretty(&kinds().collect::<Vec<_>>())? + "\n",
    })
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") { "the standard input".into() } else { file.display().to_string() }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|content| bytes = content)
    };
    read.with_context(|| format!("cannot read {}", shown(file)))?;
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", shown(file)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OBJECTS: &str = "\
apiVersion: v1
kind: List
items:
- apiVersion: cert-manager.io/v1
  kind: Certificate
  metadata: {name: web, namespace: dev, generation: 1}
  status: {conditions: [{type: Ready, status: 'True', observedGeneration: 1}]}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: settings, namespace: dev}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: token, namespace: dev}
status: {conditions: [{type: Ready, status: 'False', message: \"no such\\n  key\"}]}
---
apiVersion: example.com/v1
kind: Widget
metadata: {name: a}
";

    #[test]
    fn one_line_for_each_object() {
        let lines: Vec<String> = judge(OBJECTS, &Customizations::default()).unwrap().iter().map(Answer::line).collect();
        assert_eq!(
            lines,
            [
                "cert-manager.io/Certificate dev/web Healthy",
                "ConfigMap dev/settings Healthy nothing to judge",
                "external-secrets.io/ExternalSecret dev/token Degraded no such key",
                "example.com/Widget a Healthy nothing to judge",
            ]
        );
    }

    #[test]
    fn json_has_every_field() {
        let answers = serde_json::to_value(judge(OBJECTS, &Customizations::default()).unwrap()).unwrap();
        let wanted = serde_json::json!({
            "group": "external-secrets.io", "kind": "ExternalSecret", "namespace": "dev", "name": "token",
            "status": "Degraded", "message": "no such\n  key",
        });
        assert_eq!(answers[2], wanted);
        assert_eq!(answers.as_array().unwrap().len(), 4);
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_says_where() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("objects.yaml");
        std::fs::write(&file, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\nkind: ConfigMap\n").unwrap();
        let run = |file: &Path| {
            let args = Args { files: vec![file.into()], config: None, output: Output::Text, kinds: false };
            format!("{:#}", run(&args).unwrap_err())
        };
        let wanted =
            format!("cannot read {}: document 2: not a Kubernetes object: `apiVersion` is missing", file.display());
        assert_eq!(run(&file), wanted);
        assert!(run(&folder.path().join("gone.yaml")).contains("gone.yaml: No such file"));
        std::fs::write(&file, [0xff, 0xfe, 0x00]).unwrap();
        assert!(run(&file).contains("is not UTF-8 text"));
    }

    const CONFIG: &str = "\
apiVersion: v1
kind: ConfigMap
metadata: {name: other}
data: {resource.customizations.health.ConfigMap: \"return {status = 'Degraded'}\"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: argocd-cm, namespace: argocd}
data:
  resource.customizations.health.example.com_Widget: |
    return { status = \"Degraded\", message = obj.metadata.name .. \" is broken\" }
  resource.customizations.health.external-secrets.io_ExternalSecret: |
    return { status = \"Healthy\" }
  resource.customizations.health.cert-manager.io_Certificate: |
    return { status = obj.spec.status }
";

    #[test]
    fn the_lua_of_argocd_cm_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("argocd-cm.yaml");
        std::fs::write(&file, CONFIG).unwrap();
        let customizations = config(&file).unwrap();
        let lines: Vec<String> = judge(OBJECTS, &customizations).unwrap().iter().map(Answer::line).collect();
        assert_eq!(
            lines,
            [
                "cert-manager.io/Certificate dev/web Unknown health.cert-manager.io_Certificate:1: attempt to index field \
                 'spec' (a nil value)",
                "ConfigMap dev/settings Healthy nothing to judge",
                "external-secrets.io/ExternalSecret dev/token Healthy",
                "example.com/Widget a Degraded a is broken",
            ]
        );
    }

    #[test]
    fn a_config_is_the_config_map_argocd_cm_or_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.yaml");
        let (only, _) = CONFIG.split_once("---\n").unwrap();
        std::fs::write(&file, only).unwrap();
        assert!(!config(&file).unwrap().digest().is_empty());
        for text in [format!("{only}---\n{}", only.replace("other", "another")), OBJECTS.replace("ConfigMap", "Secret")]
        {
            std::fs::write(&file, text).unwrap();
            let error = format!("{:#}", config(&file).unwrap_err());
            assert_eq!(
                error,
                format!("{} has no ConfigMap argocd-cm: give its manifest with --config", file.display())
            );
        }
        std::fs::write(&file, "a: [").unwrap();
        let error = format!("{:#}", config(&file).unwrap_err());
        assert!(error.starts_with(&format!("cannot read {}: document 1", file.display())), "{error}");
        assert!(format!("{:#}", config(&folder.path().join("gone")).unwrap_err()).contains("gone: No such file"));
    }

    #[test]
    fn kinds_are_listed() {
        let text = print_kinds(Output::Text).unwrap();
        assert!(text.lines().any(|line| line == "cert-manager.io/Certificate cert-manager"), "{text}");
    }
}
