use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::tree::SharedTree;
use crate::tree::memory::MemoryTree;

fn source(value: Value) -> ApplicationSource {
    serde_json::from_value(value).unwrap()
}

fn trees(files: &[(&str, &str)]) -> [SharedTree; 1] {
    [Arc::new(MemoryTree::new(files))]
}

#[test]
fn variables() {
    let source = source(json!({"path": "apps/web", "targetRevision": "main"}));
    let job = Job {
        application: "web".into(),
        namespace: "shop".into(),
        project: "default".into(),
        revisions: vec!["0123456789abcdef".into()],
        repositories: vec!["https://git.example/r".into()],
        sources: vec![source],
        ..Job::default()
    };
    let environment = Environment::new(&job, 0);
    let table = [
        ("plain", "plain"),
        ("$ARGOCD_APP_NAME", "web"),
        ("${ARGOCD_APP_NAMESPACE}-x", "shop-x"),
        ("$ARGOCD_APP_SOURCE_PATH/values.yaml", "apps/web/values.yaml"),
        ("a$UNKNOWN.b", "a.b"),
        ("$$ARGOCD_APP_NAME", "$ARGOCD_APP_NAME"),
        ("cost: 5$", "cost: 5$"),
        ("$/x", "$/x"),
        ("${}", ""),
        ("${ARGOCD_APP_NAME", "ARGOCD_APP_NAME"),
        ("$ARGOCD_APP_PROJECT_NAME@$ARGOCD_APP_SOURCE_TARGET_REVISION", "default@main"),
    ];
    for (text, expected) in table {
        assert_eq!(environment.substitute(text), expected, "{text}");
    }
    assert!(!environment.used_revision());
    assert_eq!(environment.substitute("$ARGOCD_APP_REVISION_SHORT/$ARGOCD_APP_REVISION_SHORT_8"), "0123456/01234567");
    assert!(environment.used_revision());
}

#[test]
fn the_type_is_what_the_source_says_or_what_is_there() {
    type Case<'a> = (Value, &'a [(&'a str, &'a str)], Result<SourceType, &'a str>);
    let table: &[Case<'_>] = &[
        (json!({}), &[("a/x.yaml", "")], Ok(SourceType::Directory)),
        (json!({}), &[("a/Chart.yaml", ""), ("a/kustomization.yaml", "")], Ok(SourceType::Kustomize)),
        (json!({"helm": {}}), &[("a/Chart.yaml", ""), ("a/kustomization.yaml", "")], Ok(SourceType::Helm)),
        (json!({}), &[("a/Chart.yaml", ""), ("a/x.yaml", "")], Ok(SourceType::Helm)),
        (json!({}), &[("a/kustomization.yaml", "")], Ok(SourceType::Kustomize)),
        (json!({}), &[("a/kustomization.yml", "")], Ok(SourceType::Kustomize)),
        (json!({}), &[("a/Kustomization", "")], Ok(SourceType::Kustomize)),
        (json!({}), &[("a/Chart.yaml/x", "")], Ok(SourceType::Directory)),
        (json!({"directory": {"recurse": true}}), &[("a/Chart.yaml", "")], Ok(SourceType::Directory)),
        (json!({"kustomize": {}}), &[("a/x.yaml", "")], Ok(SourceType::Kustomize)),
        (json!({"helm": {}}), &[("a/x.yaml", "")], Ok(SourceType::Helm)),
        (json!({"plugin": {"name": "x"}}), &[("a/x.yaml", "")], Err("render in CI")),
        (json!({"helm": {}, "kustomize": {}}), &[("a/x.yaml", "")], Err("helm and kustomize exclude each other")),
    ];
    for (source, files, expected) in table {
        let trees = trees(files);
        let source = self::source(source.clone());
        let found = source_type(&source, "source", &mut Reads::new(&trees), 0, "a");
        match (found, expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, *expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (found, _) => panic!("{source:?}: {found:?}"),
        }
    }
}

#[test]
fn overrides_in_the_repository() {
    let trees = trees(&[
        (
            "a/.argocd-source.yaml",
            "helm: {releaseName: all, skipCrds: true}\npath: elsewhere\nrepoURL: https://evil.example\n",
        ),
        ("a/.argocd-source-web.yaml", "helm: {releaseName: web, skipCrds: null}\n"),
        ("a/.argocd-source-other.yaml", "helm: {releaseName: other}\n"),
    ]);
    let mut reads = Reads::new(&trees);
    let original = source(json!({"repoURL": "https://git.example/r", "path": "a", "helm": {"values": "x: 1"}}));
    let merged = with_overrides(&original, "web", &mut reads, 0, "a").unwrap();
    let helm = merged.helm.unwrap();
    assert_eq!((helm.release_name.as_str(), helm.values.as_str(), helm.skip_crds), ("web", "x: 1", false));
    assert_eq!((merged.path.as_str(), merged.repo_url.as_str()), ("a", "https://git.example/r"));
    assert_eq!(reads.inputs().len(), 2);
}

#[test]
fn a_path_stays_in_the_repository() {
    for path in ["..", "a/../../b"] {
        let source = source(json!({"path": path}));
        assert!(matches!(folder(&source, "source"), Err(RenderError::LeavesRepository { .. })), "{path}");
    }
    assert_eq!(folder(&source(json!({"path": "./a//b/"})), "source").unwrap(), "a/b");
}
