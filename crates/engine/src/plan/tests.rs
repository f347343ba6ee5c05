use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::compare::{CompareRules, compare};
use crate::ownership::{TRACKING_ID, stamp};

fn application(spec: serde_json::Value) -> Application {
    Application::parse(json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "gateway", "namespace": "argocd"}, "spec": spec,
    }))
    .unwrap()
}

fn plain(options: &[&str]) -> Application {
    application(json!({
        "destination": {"name": "in-cluster", "namespace": "dev"},
        "syncPolicy": {"syncOptions": options},
    }))
}

/// `Kind name` or `Kind name key=value…`, where a key without a slash is one of Argo CD's annotations.
fn object(text: &str) -> Object {
    let mut words = text.split(' ');
    let (kind, name) = (words.next().unwrap(), words.next().unwrap());
    let version = match kind {
        "Deployment" => "apps/v1",
        "Job" => "batch/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        "Widget" => "example.com/v1",
        _ => "v1",
    };
    let mut object =
        Object(json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "uid": format!("uid-{name}")}}));
    if !matches!(kind, "Namespace" | "CustomResourceDefinition") {
        object.set_namespace("dev");
    }
    if kind == "CustomResourceDefinition" {
        object.0["spec"] = json!({"group": "example.com", "names": {"kind": "Widget"}});
    }
    for word in words {
        let (key, value) = word.split_once('=').unwrap();
        let key = if key.contains('/') { key.to_owned() } else { format!("argocd.argoproj.io/{key}") };
        object.set_annotation(&key, value);
    }
    object
}

fn owned(text: &str) -> Object {
    let mut object = object(text);
    stamp(&mut object, "gateway", "dev", &Tracking::default());
    object
}

fn wanted(text: &str) -> ResourceState {
    let object = object(text);
    ResourceState {
        key: object.key(),
        desired: Some(Arc::new(object)),
        live: None,
        difference: Some(Difference::missing()),
        held_by: None,
    }
}

fn gone(text: &str) -> ResourceState {
    only_live(owned(text))
}

fn only_live(object: Object) -> ResourceState {
    ResourceState { key: object.key(), desired: None, live: Some(Arc::new(object)), difference: None, held_by: None }
}

fn both(text: &str, in_sync: bool) -> ResourceState {
    let (desired, live) = (owned(text), owned(text));
    let mut difference = compare(&desired, Some(&live), &CompareRules::new(&[], &["lockstep"]));
    difference.doubts.clear();
    if !in_sync {
        difference.fields.push(crate::compare::FieldDifference {
            path: "spec.replicas".into(),
            desired: Some(json!(3)),
            live: Some(json!(1)),
            changed_by: None,
        });
    }
    ResourceState {
        key: desired.key(),
        desired: Some(Arc::new(desired)),
        live: Some(Arc::new(live)),
        difference: Some(difference),
        held_by: None,
    }
}

struct Case<'a> {
    application: Application,
    resources: Vec<ResourceState>,
    input: Box<dyn Fn(&mut PlanInput<'_>) + 'a>,
}

fn case<'a>(application: Application, resources: Vec<ResourceState>) -> Case<'a> {
    Case { application, resources, input: Box::new(|_| {}) }
}

impl<'a> Case<'a> {
    fn with(mut self, change: impl Fn(&mut PlanInput<'_>) + 'a) -> Self {
        self.input = Box::new(change);
        self
    }

    fn plan(&self) -> Result<Plan, PlanError> {
        let (tracking, operation) = (Tracking::default(), SyncOperation { prune: true, ..SyncOperation::default() });
        let mut input = PlanInput::of_operation(
            &self.application,
            &operation,
            false,
            &self.resources,
            ("gateway", &tracking),
            ("0123456789abcdef", "2026-01-02T03:04:05Z".parse().unwrap()),
        );
        (self.input)(&mut input);
        plan(&input)
    }

    /// `Sync 0: -Service a, +ConfigMap b, =Secret c`: pruned, applied, unchanged.
    fn steps(&self) -> String {
        steps(&self.plan().unwrap())
    }
}

fn steps(plan: &Plan) -> String {
    let name = |key: &ObjectKey| format!("{} {}", key.kind, key.name);
    let wave = |wave: &Wave| {
        let pruned = wave.prune.iter().map(|step| format!("-{}", name(&step.key)));
        let applied = wave.apply.iter().map(|step| format!("{}{}", sign(step.action), name(&step.key)));
        let unchanged = wave.unchanged.iter().map(|key| format!("={}", name(key)));
        let all: Vec<String> = pruned.chain(applied).chain(unchanged).collect();
        format!("{} {}: {}", wave.phase, wave.number, all.join(", "))
    };
    plan.waves.iter().map(wave).collect::<Vec<_>>().join("; ")
}

fn sign(action: Action) -> &'static str {
    match action {
        Action::Create => "+",
        Action::Update => "~",
        Action::Replace => "replace ",
        Action::Recreate => "recreate ",
        Action::Hook => "run ",
        Action::Prune => "-",
    }
}

#[test]
fn phases_waves_and_kinds() {
    for (resources, want) in [
        (vec!["Deployment a", "ConfigMap b", "Service c", "Secret d"], {
            "Sync 0: +Secret d, +ConfigMap b, +Service c, +Deployment a"
        }),
        (vec!["ConfigMap b", "ConfigMap a"], "Sync 0: +ConfigMap a, +ConfigMap b"),
        (vec!["ConfigMap a sync-wave=1", "Deployment b sync-wave=-1"], "Sync -1: +Deployment b; Sync 1: +ConfigMap a"),
        (vec!["ConfigMap a", "Job m hook=PreSync", "Job t hook=PostSync", "Job f hook=SyncFail"], {
            "PreSync 0: run Job m; Sync 0: +ConfigMap a; PostSync 0: run Job t; SyncFail 0: run Job f"
        }),
        (vec!["Job m hook=PreSync,PostSync", "ConfigMap a"], {
            "PreSync 0: run Job m; Sync 0: +ConfigMap a; PostSync 0: run Job m"
        }),
        (vec!["Job m helm.sh/hook=pre-upgrade helm.sh/hook-weight=5", "ConfigMap a"], {
            "PreSync 5: run Job m; Sync 0: +ConfigMap a"
        }),
        (
            vec!["Job d hook=PreDelete", "Job t helm.sh/hook=test", "Job s hook=Skip", "ConfigMap a"],
            "Sync 0: +ConfigMap a",
        ),
        // What others need moves up to them.
        (vec!["Namespace dev sync-wave=5", "ConfigMap a sync-wave=-2"], "Sync -2: +Namespace dev, +ConfigMap a"),
        (vec!["Namespace dev", "Job m hook=PreSync"], "PreSync 0: +Namespace dev, run Job m"),
        (vec!["Namespace other sync-wave=5", "ConfigMap a"], "Sync 0: +ConfigMap a; Sync 5: +Namespace other"),
        (vec!["CustomResourceDefinition w sync-wave=3", "Widget a sync-wave=1"], {
            "Sync 1: +CustomResourceDefinition w, +Widget a"
        }),
    ] {
        let resources: Vec<_> = resources.into_iter().map(wanted).collect();
        assert_eq!(case(plain(&[]), resources.clone()).steps(), want, "{resources:?}");
    }
}

#[test]
fn pruning() {
    let app = |options: &[&str]| plain(options);
    for (options, resources, want) in [
        (vec![], vec!["ConfigMap a", "Deployment b"], "Sync 0: -Deployment b, -ConfigMap a"),
        (vec![], vec!["ConfigMap a sync-wave=0", "ConfigMap b sync-wave=1", "ConfigMap c sync-wave=5"], {
            "Sync 0: -ConfigMap c; Sync 1: -ConfigMap b; Sync 5: -ConfigMap a"
        }),
        (
            vec![],
            vec!["ConfigMap a", "ConfigMap b sync-options=PruneLast=true"],
            "Sync 0: -ConfigMap a; Sync 1: -ConfigMap b",
        ),
        (vec!["PruneLast=true"], vec!["ConfigMap a", "ConfigMap b sync-wave=3"], "Sync 0: -ConfigMap b, -ConfigMap a"),
        (vec![], vec!["Namespace dev", "ConfigMap a sync-wave=3"], "Sync 0: -ConfigMap a; Sync 3: -Namespace dev"),
        (
            vec![],
            vec!["Namespace dev", "ConfigMap a sync-options=PruneLast=true"],
            "Sync 0: -ConfigMap a, -Namespace dev",
        ),
        (vec![], vec!["CustomResourceDefinition w sync-wave=-1", "Widget a"], {
            "Sync -1: -Widget a; Sync 0: -CustomResourceDefinition w"
        }),
        (vec![], vec!["Job h hook=PreSync"], ""),
    ] {
        let resources: Vec<_> = resources.into_iter().map(gone).collect();
        assert_eq!(case(app(&options), resources.clone()).steps(), want, "{resources:?} {options:?}");
    }
    let mixed = vec![
        wanted("ConfigMap new sync-wave=4"),
        gone("ConfigMap old"),
        gone("ConfigMap last sync-options=PruneLast=true"),
    ];
    let steps = case(plain(&[]), mixed).steps();
    assert_eq!(steps, "Sync 0: -ConfigMap old; Sync 4: +ConfigMap new; Sync 5: -ConfigMap last");
}

#[test]
fn what_is_left_alone_and_why() {
    let foreign = || {
        let mut object = object("ConfigMap a");
        stamp(&mut object, "other", "dev", &Tracking::default());
        only_live(object)
    };
    let copied = || {
        let mut object = object("ConfigMap a");
        object.set_annotation(TRACKING_ID, "gateway:/ConfigMap:dev/source");
        only_live(object)
    };
    for (options, prune, state, want) in [
        (vec![], false, gone("ConfigMap a"), "ignored (requires pruning)"),
        (vec![], true, gone("ConfigMap a sync-options=Prune=false"), "ignored (no prune)"),
        (vec!["Prune=false"], true, gone("ConfigMap a"), "ignored (no prune)"),
        (vec![], true, foreign(), "ignored (belongs to application other)"),
        (vec![], true, copied(), "ignored (no application owns it)"),
        (vec![], true, wanted("Job a hook=Skip"), "ignored (hook: Skip)"),
        (vec![], true, wanted("Job a helm.sh/hook=test"), "ignored (nothing runs the hook \"test\")"),
    ] {
        let plan = case(plain(&options), vec![state.clone()]).with(|input| input.prune = prune).plan().unwrap();
        assert_eq!(plan.skipped.len(), 1, "{state:?}");
        assert_eq!(plan.skipped[0].reason, want, "{state:?}");
        assert!(plan.is_empty());
    }
    let allowed = case(plain(&["Prune=false"]), vec![gone("ConfigMap a sync-options=Prune=true")]).plan().unwrap();
    assert_eq!(allowed.counts().prune, 1, "the resource's own option wins");
}

#[test]
fn what_an_object_asks_for() {
    let options = |app: &[&str], text: &str| {
        let plan = case(plain(app), vec![both(text, false)]).plan().unwrap();
        let step = plan.steps().next().unwrap();
        (step.action, step.options.clone())
    };
    use Action::{Recreate, Replace, Update};
    for (app, text, action) in [
        (vec![], "ConfigMap a", Update),
        (vec!["Replace=true"], "ConfigMap a", Replace),
        (vec![], "ConfigMap a sync-options=Replace=true", Replace),
        (vec![], "ConfigMap a sync-options=Force=true,Replace=true", Recreate),
        (vec!["Replace=true"], "ConfigMap a sync-options=Replace=false", Update),
        (vec![], "ConfigMap a sync-options=Force=true", Update),
    ] {
        assert_eq!(options(&app, text).0, action, "{app:?} {text}");
    }
    let (_, defaults) = options(&[], "ConfigMap a");
    assert!(defaults.validate && defaults.server_side && !defaults.force && !defaults.skip_dry_run_on_missing);
    assert_eq!(defaults.migrate_from.as_deref(), Some("kubectl-client-side-apply"));
    assert_eq!(defaults.propagation, Propagation::Foreground);
    let (_, set) = options(
        &[
            "Validate=false",
            "SkipDryRunOnMissingResource=true",
            "ClientSideApplyMigration=false",
            "PrunePropagationPolicy=orphan",
        ],
        "ConfigMap a sync-options=ServerSideApply=false,Validate=true",
    );
    assert!(set.validate && !set.server_side && set.skip_dry_run_on_missing && set.migrate_from.is_none());
    assert_eq!(set.propagation, Propagation::Orphan);
}

#[test]
fn what_is_in_sync_is_not_written() {
    let resources = || vec![both("ConfigMap a", true), both("ConfigMap b", false), wanted("ConfigMap c")];
    assert_eq!(case(plain(&[]), resources()).steps(), "Sync 0: ~ConfigMap b, +ConfigMap c, =ConfigMap a");
    assert_eq!(case(plain(&["ApplyOutOfSyncOnly=true"]), resources()).steps(), "Sync 0: ~ConfigMap b, +ConfigMap c");
    let plan = case(plain(&[]), vec![both("ConfigMap a", true)]).plan().unwrap();
    assert!(plan.is_empty());
    assert_eq!(plan.counts().to_string(), "nothing to do");
    let mut doubtful = both("ConfigMap a", true);
    doubtful.difference.as_mut().unwrap().doubts.push("spec".into());
    assert_eq!(case(plain(&[]), vec![doubtful]).steps(), "Sync 0: ~ConfigMap a");
    assert_eq!(case(plain(&["Replace=true"]), vec![both("Job a", true)]).steps(), "Sync 0: replace Job a");
}

#[test]
fn selected_objects_only_and_without_hooks() {
    let resources =
        vec![wanted("ConfigMap a"), wanted("ConfigMap b"), gone("ConfigMap c"), wanted("Job m hook=PreSync")];
    let selected: Vec<SyncResource> = serde_json::from_value(
        json!([{"kind": "ConfigMap", "name": "a"}, {"kind": "ConfigMap", "name": "c", "namespace": "dev"}]),
    )
    .unwrap();
    let operation = SyncOperation { prune: true, resources: selected, ..SyncOperation::default() };
    let (tracking, app) = (Tracking::default(), plain(&[]));
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let input = PlanInput::of_operation(&app, &operation, false, &resources, ("gateway", &tracking), ("abc", at));
    assert_eq!(steps(&plan(&input).unwrap()), "Sync 0: -ConfigMap c, +ConfigMap a");
    let without = case(app, resources).with(|input| input.hooks = false).steps();
    assert_eq!(without, "Sync 0: -ConfigMap c, +ConfigMap a, +ConfigMap b");
}

#[test]
fn namespaces_are_created_first() {
    let app = || {
        application(json!({
            "destination": {"name": "in-cluster", "namespace": "dev"},
            "syncPolicy": {"syncOptions": ["CreateNamespace=true"], "managedNamespaceMetadata": {"labels": {"team": "a"}}},
        }))
    };
    let resources = || vec![wanted("Job m hook=PreSync sync-wave=-1"), wanted("ConfigMap a")];
    let plan = case(app(), resources()).plan().unwrap();
    assert_eq!(steps(&plan), "PreSync -1: +Namespace dev, run Job m; Sync 0: +ConfigMap a");
    let namespace = plan.steps().next().unwrap();
    assert!(namespace.implicit);
    assert_eq!(namespace.object.as_ref().unwrap().label("team"), Some("a"));
    assert_eq!(created_for(namespace.object.as_ref().unwrap()), Some("gateway"));

    let live = |labels: serde_json::Value| {
        Object(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "dev", "labels": labels}}))
    };
    for (labels, want) in [
        (json!({"team": "a", "kubernetes.io/metadata.name": "dev"}), "Sync 0: +ConfigMap a"),
        (json!({"team": "b"}), "Sync 0: ~Namespace dev, +ConfigMap a"),
    ] {
        let namespace = live(labels);
        let (tracking, app, resources) = (Tracking::default(), app(), vec![wanted("ConfigMap a")]);
        let operation = SyncOperation::default();
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let mut input =
            PlanInput::of_operation(&app, &operation, false, &resources, ("gateway", &tracking), ("abc", at));
        input.namespace = Some(&namespace);
        assert_eq!(steps(&super::plan(&input).unwrap()), want);
    }
    let own = case(app(), vec![wanted("Namespace dev"), wanted("ConfigMap a")]).plan().unwrap();
    assert_eq!(own.counts().create, 2, "Git brings the namespace itself");
    assert!(case(app(), vec![gone("ConfigMap a")]).plan().unwrap().steps().all(|step| step.action == Action::Prune));
}

#[test]
fn the_brake() {
    let automated = |policy: serde_json::Value, annotation: Option<&str>| {
        let mut app = application(json!({
            "destination": {"name": "in-cluster", "namespace": "dev"},
            "syncPolicy": {"automated": policy},
        }));
        if let Some(value) = annotation {
            app.metadata.annotations.get_or_insert_default().insert(annotations::ALLOW_MASS_PRUNE.into(), value.into());
        }
        app
    };
    let many = |kind: &'static str, gone_count: usize, kept: usize| -> Vec<ResourceState> {
        let gone = (0..gone_count).map(|at| gone(&format!("{kind} gone{at}")));
        gone.chain((0..kept).map(|at| both(&format!("{kind} kept{at}"), true))).collect()
    };
    let foreign = |count: usize| -> Vec<ResourceState> {
        let state = |at: usize| {
            let mut object = object(&format!("Secret foreign{at}"));
            stamp(&mut object, "other", "dev", &Tracking::default());
            only_live(object)
        };
        (0..count).map(state).collect()
    };
    let plain = || automated(json!({"prune": true}), None);
    for (app, resources, want) in [
        (plain(), many("ConfigMap", 0, 0), None),
        (plain(), many("ConfigMap", 0, 9), None),
        (plain(), many("ConfigMap", 1, 0), Some((1, 1))),
        (plain(), many("ConfigMap", 5, 1), None),
        (plain(), many("ConfigMap", 6, 5), Some((6, 11))),
        (plain(), many("ConfigMap", 6, 6), None),
        (plain(), many("ConfigMap", 7, 6), Some((7, 13))),
        // What is only wanted is not there yet, what is somebody else's does not count, and a hook is no part.
        (plain(), [many("ConfigMap", 2, 0), vec![wanted("Secret new")]].concat(), Some((2, 2))),
        // The only object was given another name.
        (plain(), [many("ConfigMap", 1, 0), vec![wanted("ConfigMap new")]].concat(), None),
        (plain(), [many("ConfigMap", 1, 0), vec![wanted("Job new hook=PreSync")]].concat(), Some((1, 1))),
        (plain(), [many("ConfigMap", 6, 5), foreign(20)].concat(), Some((6, 11))),
        (plain(), [many("ConfigMap", 6, 5), vec![gone("Job done hook=PreSync")]].concat(), Some((6, 11))),
        // What is kept anyway is not pruned.
        (plain(), vec![gone("ConfigMap a sync-options=Prune=false"), gone("ConfigMap b")], None),
        (plain(), vec![gone("ConfigMap a sync-options=Prune=confirm"), gone("ConfigMap b")], Some((2, 2))),
        (plain(), vec![gone("ConfigMap a sync-options=Prune=confirm")], None),
        (automated(json!({"prune": true, "allowEmpty": true}), None), many("ConfigMap", 9, 0), None),
        (automated(json!({"enabled": false, "allowEmpty": true}), None), many("ConfigMap", 9, 0), None),
        (automated(json!({}), Some("true")), many("ConfigMap", 9, 0), None),
        (automated(json!({}), Some("false")), many("ConfigMap", 9, 0), Some((9, 9))),
    ] {
        for automated in [true, false] {
            let plan =
                case(app.clone(), resources.clone()).with(move |input| input.automated = automated).plan().unwrap();
            assert_eq!(plan.brake.map(|brake| (brake.pruned, brake.total)), want, "{resources:?}");
        }
    }
    let nothing = case(plain(), many("ConfigMap", 9, 0)).with(|input| input.prune = false).plan().unwrap();
    assert_eq!(nothing.brake, None, "nothing is pruned");
    let live: Vec<Arc<Object>> = vec![Arc::new(owned("ConfigMap a"))];
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let tracking = Tracking::default();
    let deleted = deletion(&plain(), &live, &[], Propagation::Foreground, ("gateway", &tracking), ("abc", at));
    assert_eq!(deleted.brake, None, "deleting the Application is meant");
}

#[test]
fn what_the_brake_says() {
    let resources = || (0..6).map(|at| gone(&format!("ConfigMap a{at}"))).chain([both("ConfigMap b", true)]).collect();
    let plan = case(plain(&[]), resources()).plan().unwrap();
    let text = plan.to_string();
    let line = "Waits for confirmation: would prune 6 of the 7 objects of gateway; if that is meant: lockstep app approve gateway, or \
                set the annotation argocd.argoproj.io/deletion-approved of the Application to the present time\n";
    assert!(text.ends_with(line), "{text}");
    assert!(
        plan.brake_sentence().unwrap().starts_with("the sync of 0123456 would prune 6 of the 7 objects of gateway")
    );
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["brake"], json!({"pruned": 6, "total": 7}));
    for (pruned, total, want) in
        [(1, 1, "the only object of a"), (2, 2, "all 2 objects of a"), (6, 9, "6 of the 9 objects of a")]
    {
        assert!(Brake { pruned, total }.sentence("a").contains(want));
    }
}

#[test]
fn a_dry_run_says_so() {
    let plan = case(plain(&[]), vec![wanted("ConfigMap a")]).with(|input| input.dry_run = true).plan().unwrap();
    assert!(plan.to_string().starts_with("gateway: 1 to create (dry run)\n"), "{plan}");
    assert_eq!(serde_json::to_value(&plan).unwrap()["dryRun"], json!(true));
}

#[test]
fn the_commits_of_several_sources() {
    let operation =
        SyncOperation { revisions: vec!["0123456789".into(), "abcdef0123".into()], ..SyncOperation::default() };
    let (tracking, app, resources) = (Tracking::default(), plain(&[]), [wanted("ConfigMap a")]);
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let input =
        PlanInput::of_operation(&app, &operation, false, &resources, ("gateway", &tracking), ("0123456789", at));
    let plan = super::plan(&input).unwrap();
    assert_eq!(plan.commits(), ["0123456789", "abcdef0123"]);
    assert_eq!(plan.short_commits(), "0123456, abcdef0");
    let one = case(app, vec![]).plan().unwrap();
    assert_eq!(one.commits(), ["0123456789abcdef"]);
}

#[test]
fn deadlines_of_hooks() {
    let hooks = vec![
        wanted("Job a hook=PreSync lockstep.dev/hook-deadline=90m"),
        wanted("Job b hook=PreSync,PostSync lockstep.dev/hook-deadline=soon"),
        wanted("Job c hook=PreSync"),
    ];
    let plan = case(plain(&[]), hooks).plan().unwrap();
    let deadlines: Vec<u64> = plan.steps().map(|step| step.hook.as_ref().unwrap().deadline_seconds).collect();
    assert_eq!(deadlines, [5400, 3600, 3600, 3600]);
    assert_eq!(
        plan.warnings,
        [
            "hook batch/Job dev/b: lockstep.dev/hook-deadline: \"soon\" is not a duration; write it as 5s, 3m or 1h30m; it has an hour"
        ]
    );
    let text = plan.to_string();
    assert!(text.contains("batch/Job dev/a (deleted before it runs again; may take 1h30m)\n"), "{text}");
    assert!(text.contains("batch/Job dev/c (deleted before it runs again)\n"), "{text}");
    let at = "2026-01-02T03:04:05Z".parse().unwrap();
    let hooks = [object("Job x hook=PreDelete,PostDelete lockstep.dev/hook-deadline=0s")];
    let deleted =
        deletion(&plain(&[]), &[], &hooks, Propagation::Foreground, ("gateway", &Tracking::default()), ("abc", at));
    assert_eq!(
        deleted.warnings,
        ["hook batch/Job dev/x: lockstep.dev/hook-deadline: \"0s\" leaves it no time; it has an hour"]
    );
}

#[test]
fn values_of_secrets_are_in_no_plan() {
    let secret = |value: &str, copy: bool| {
        let mut object = owned("Secret token");
        object.0["data"] = json!({"password": value, "same": "c2FtZQ=="});
        object.0["stringData"] = json!({"text": format!("plain-{value}")});
        if copy {
            object.set_annotation("kubectl.kubernetes.io/last-applied-configuration", &object.0.to_string());
        }
        object
    };
    let (desired, live) = (secret("d2FudGVk", true), secret("bGl2ZQ==", false));
    let rules = CompareRules::new(&[], &["lockstep"]);
    let compared = compare(&desired, Some(&live), &rules);
    assert!(!compared.is_empty());
    // A comparison by somebody else, who did not know what a Secret is.
    let field = |path: &str, desired: serde_json::Value, live: serde_json::Value| crate::compare::FieldDifference {
        path: path.into(),
        desired: Some(desired),
        live: Some(live),
        changed_by: None,
    };
    let careless = Difference {
        fields: vec![
            field("data", desired.0["data"].clone(), live.0["data"].clone()),
            field("data.password", json!("d2FudGVk"), json!("bGl2ZQ==")),
            field("stringData[\"a.b\"]", json!("plain-d2FudGVk"), json!("plain-bGl2ZQ==")),
            field("metadata.annotations", desired.0["metadata"]["annotations"].clone(), json!({})),
            field(
                "metadata.annotations[\"kubectl.kubernetes.io/last-applied-configuration\"]",
                json!("d2FudGVk"),
                json!("bGl2ZQ=="),
            ),
            field("", desired.0.clone(), live.0.clone()),
            field("metadata.labels.team", json!("b"), json!("a")),
        ],
        ..Difference::default()
    };
    for difference in [compared, careless.clone()] {
        let state = ResourceState {
            key: desired.key(),
            desired: Some(Arc::new(desired.clone())),
            live: Some(Arc::new(live.clone())),
            difference: Some(difference),
            held_by: None,
        };
        let plan = case(plain(&[]), vec![state, wanted("Secret new"), gone("Secret old")]).plan().unwrap();
        for printed in [
            plan.to_string(),
            format!("{plan:?}"),
            serde_json::to_string(&plan).unwrap(),
            serde_saphyr::to_string(&plan).unwrap(),
        ] {
            for value in ["d2FudGVk", "bGl2ZQ==", "plain-", "c2FtZQ=="] {
                assert!(!printed.contains(value), "{value} is in {printed}");
            }
            assert!(printed.contains("token"), "{printed}");
        }
    }
    let state = ResourceState { difference: Some(careless), ..both("ConfigMap token", false) };
    let shown = case(plain(&[]), vec![state]).plan().unwrap().to_string();
    assert!(shown.contains("bGl2ZQ=="), "only Secrets are masked");
}

#[test]
fn a_plan_is_the_same_in_every_form() {
    let resources = vec![both("Deployment gateway", false), gone("ConfigMap old"), wanted("Job migrate hook=PreSync")];
    let plan = case(plain(&[]), resources).plan().unwrap();
    let json = serde_json::to_value(&plan).unwrap();
    let yaml: serde_json::Value = serde_saphyr::from_str(&serde_saphyr::to_string(&plan).unwrap()).unwrap();
    assert_eq!(json, yaml);
    assert_eq!(
        json["waves"][0]["apply"][0]["hook"],
        json!({"delete": ["BeforeHookCreation"], "deadlineSeconds": 3600})
    );
    assert_eq!(serde_json::to_value(plan.counts()).unwrap()["prune"], json!(1));
}

#[test]
fn shared_objects() {
    let shared = || {
        let mut state = both("ConfigMap a", false);
        let mut live = object("ConfigMap a");
        stamp(&mut live, "other", "dev", &Tracking::default());
        state.live = Some(Arc::new(live));
        state.held_by = Some("other".into());
        state
    };
    let plan = case(plain(&[]), vec![shared()]).plan().unwrap();
    assert_eq!(plan.warnings, ["ConfigMap dev/a is also part of application other"]);
    assert!(plan.is_empty(), "what another application has and wants is left to it");
    assert_eq!(plan.skipped[0].reason, "ignored (application other has it and wants it too)");
    let let_go = ResourceState { held_by: None, ..shared() };
    assert_eq!(
        case(plain(&[]), vec![let_go]).plan().unwrap().steps().count(),
        1,
        "what its owner let go is taken over"
    );
    let inherited = ResourceState { held_by: Some("heir".into()), ..gone("ConfigMap a") };
    let plan = case(plain(&[]), vec![inherited]).plan().unwrap();
    assert_eq!((plan.is_empty(), plan.skipped[0].reason.as_str()), (true, "ignored (application heir wants it)"));
    let error = case(plain(&["FailOnSharedResource=true"]), vec![shared()]).plan().unwrap_err();
    assert_eq!(error, PlanError::Shared { key: shared().key, owner: "other".into() });
}

#[test]
fn confirmation() {
    let plan =
        case(plain(&[]), vec![gone("ConfigMap a sync-options=Prune=confirm"), gone("ConfigMap b")]).plan().unwrap();
    assert_eq!(plan.to_confirm().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["a"]);
    let started = "2026-01-02T03:04:05.9Z".parse().unwrap();
    for (annotation, want) in [
        (None, false),
        (Some("2026-01-02T03:04:05Z"), true),
        (Some("2026-01-02T03:04:04Z"), false),
        (Some("2026-01-03T00:00:00Z"), true),
        (Some("yes"), false),
    ] {
        let mut app = plain(&[]);
        if let Some(at) = annotation {
            app.metadata.annotations.get_or_insert_default().insert(annotations::DELETION_APPROVED.into(), at.into());
        }
        assert_eq!(is_deletion_approved(&app, started), want, "{annotation:?}");
    }
}

#[test]
fn hooks_with_generated_names() {
    let mut state = wanted("Job x hook=PreSync hook-delete-policy=HookSucceeded");
    let hook = Arc::make_mut(state.desired.as_mut().unwrap());
    let metadata = hook.0["metadata"].as_object_mut().unwrap();
    metadata.remove("name");
    metadata.insert("generateName".into(), "Migrate-".into());
    state.key.name.clear();
    let plan = case(plain(&[]), vec![state]).plan().unwrap();
    let step = plan.steps().next().unwrap();
    assert_eq!(step.key.name, "migrate-0123456-presync-1767323045");
    assert_eq!(step.object.as_ref().unwrap().name(), step.key.name);
    assert!(step.hook.as_ref().unwrap().deletes(DeletePolicy::HookSucceeded));
}

/// The API server would take any of them as `generateName`.
#[test]
fn generated_names_that_are_too_long_are_cut_and_stay_different() {
    let hook = |prefix: &str| {
        let mut state = wanted("Job x hook=PreSync");
        let object = Arc::make_mut(state.desired.as_mut().unwrap());
        let metadata = object.0["metadata"].as_object_mut().unwrap();
        metadata.remove("name");
        metadata.insert("generateName".into(), prefix.into());
        state.key.name.clear();
        state
    };
    let long = "a-very-long-prefix-of-many-words-that-".to_owned();
    let prefixes = [
        long.clone() + "one-",
        long.clone() + "two-",
        long.clone() + "two-",
        "a".repeat(37),
        "a".repeat(38),
        "b".repeat(240),
        "ä".repeat(60),
    ];
    let plan = case(plain(&[]), prefixes.iter().map(|prefix| hook(prefix)).collect()).plan().unwrap();
    let names: BTreeSet<String> = plan.steps().map(|step| step.key.name.clone()).collect();
    assert_eq!(names.len(), prefixes.len(), "{names:?}");
    assert!(names.iter().all(|name| name.len() <= 63), "{names:?}");
    assert!(names.contains(&("a".repeat(37) + "0123456-presync-1767323045")), "what fits stays as it is: {names:?}");
    assert!(
        names
            .iter()
            .any(|name| name.starts_with("a-very-long-prefix-of-man-") && name.ends_with("-presync-1767323045-2")),
        "{names:?}"
    );
}

#[test]
fn text_and_json() {
    let resources = vec![
        both("Deployment gateway", false),
        wanted("Secret token"),
        gone("Service old sync-options=Prune=confirm"),
        gone("Service kept sync-options=Prune=false"),
        wanted("Job migrate hook=PreSync"),
    ];
    let plan = case(plain(&[]), resources).plan().unwrap();
    assert_eq!(
        plan.to_string(),
        "\
gateway: 1 to create, 1 to update, 1 to prune, 1 hook
PreSync, wave 0
  run      batch/Job dev/migrate (deleted before it runs again)
Sync, wave 0
  prune    Service dev/old (waits for confirmation)
  create   Secret dev/token
  update   apps/Deployment dev/gateway
           spec.replicas: 1 -> 3
Left alone
  Service dev/kept: ignored (no prune)
"
    );
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["waves"][1]["apply"][1]["difference"]["fields"][0]["path"], "spec.replicas");
    assert!(!json.to_string().contains("uid-token\""), "manifests are not part of the output");
}

#[test]
fn deleting_an_application() {
    let live: Vec<Arc<Object>> = [
        "ConfigMap a",
        "Deployment b sync-wave=2",
        "Namespace dev",
        "CustomResourceDefinition w",
        "Widget x",
        "ConfigMap keep helm.sh/resource-policy=keep",
        "ConfigMap stay sync-options=Delete=false",
        "ConfigMap ask sync-options=Delete=confirm",
        "Job h hook=PreSync",
    ]
    .map(|text| Arc::new(owned(text)))
    .into();
    let hooks =
        [object("Job before hook=PreDelete"), object("Job after helm.sh/hook=post-delete"), object("ConfigMap a")];
    let plan = deletion(
        &plain(&[]),
        &live,
        &hooks,
        Propagation::Background,
        ("gateway", &Tracking::default()),
        ("abc", "2026-01-02T03:04:05Z".parse().unwrap()),
    );
    assert_eq!(
        steps(&plan),
        "PreDelete 0: run Job before; Delete 2: -Deployment b; Delete 0: -Widget x, -ConfigMap ask, -ConfigMap a, -Namespace dev; \
         PostDelete 0: run Job after"
    );
    assert_eq!(plan.skipped.iter().map(|skipped| skipped.key.name.as_str()).collect::<Vec<_>>(), ["keep", "stay", "w"]);
    assert_eq!(plan.to_confirm().count(), 1);
    assert!(
        plan.steps().filter(|step| step.hook.is_none()).all(|step| step.options.propagation == Propagation::Background)
    );
}

#[test]
fn a_namespace_that_was_created_for_the_application_goes_with_it() {
    for (creator, want) in [("gateway", "Delete 0: -ConfigMap a, -Namespace dev"), ("other", "Delete 0: -ConfigMap a")]
    {
        let mut namespace = object("Namespace dev");
        namespace.set_annotation(CREATED_FOR, creator);
        let live = [Arc::new(namespace), Arc::new(owned("ConfigMap a"))];
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let (app, tracking) = (plain(&[]), Tracking::default());
        let plan = deletion(&app, &live, &[], Propagation::Foreground, ("gateway", &tracking), ("abc", at));
        assert_eq!(steps(&plan), want);
    }
}

mod properties;
