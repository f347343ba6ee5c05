use resources::HealthStatus::{self, Degraded, Healthy, Missing, Progressing, Suspended, Unknown};

use super::*;

fn now() -> Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

fn check(head: &str, cases: &[(&str, Option<HealthStatus>, &str)]) {
    for (body, status, message) in cases {
        let [mut head, body]: [Value; 2] = [head, *body].map(|text| serde_saphyr::from_str(text).unwrap());
        head.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        let (manifest, object) = (head.to_string(), Object(head));
        let got = health(&object, now());
        assert_eq!(got.as_ref().map(|health| health.status), *status, "{manifest}\n{got:?}");
        let text = got.map(|health| health.message).unwrap_or_default();
        assert!(text.contains(message), "{manifest}\n{text:?} has no {message:?}");
    }
}

#[test]
fn deployments() {
    check(
        "apiVersion: apps/v1\nkind: Deployment",
        &[
            (
                "metadata: {generation: 1}\nspec: {replicas: 1}\nstatus: {observedGeneration: 1, replicas: 1, updatedReplicas: 1, availableReplicas: 1}",
                Some(Healthy),
                "",
            ),
            (
                "metadata: {generation: 2}\nspec: {}\nstatus: {observedGeneration: 1, updatedReplicas: 1}",
                Some(Progressing),
                "see the change",
            ),
            (
                "metadata: {generation: 1}\nspec: {replicas: 3}\nstatus: {observedGeneration: 1, replicas: 3, updatedReplicas: 1}",
                { Some(Progressing) },
                "1 of 3 replicas updated",
            ),
            (
                "metadata: {generation: 1}\nspec: {replicas: 1}\nstatus: {observedGeneration: 1, replicas: 2, updatedReplicas: 1}",
                Some(Progressing),
                "1 old replica still to go",
            ),
            (
                "metadata: {generation: 1}\nspec: {replicas: 1}\nstatus: {observedGeneration: 1, replicas: 1, updatedReplicas: 1}",
                Some(Progressing),
                "0 of 1 replica available",
            ),
            ("metadata: {generation: 1}\nspec: {replicas: 0}\nstatus: {observedGeneration: 1}", Some(Healthy), ""),
            ("spec: {paused: true}", Some(Suspended), "paused"),
            (
                "metadata: {generation: 1}\nspec: {replicas: 1}\nstatus: {observedGeneration: 1, conditions: [{type: Progressing, status: 'False', \
             reason: ProgressDeadlineExceeded, message: timed out}]}",
                Some(Degraded),
                "timed out",
            ),
            (
                "metadata: {generation: 1}\nspec: {replicas: 1}\nstatus: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: 'True', \
             message: exceeded quota}]}",
                Some(Progressing),
                "0 of 1 replica updated: exceeded quota",
            ),
            (
                "metadata: {generation: 1, deletionTimestamp: '2026-01-01T00:00:00Z', finalizers: [a/b]}",
                Some(Progressing),
                "finalizer a/b",
            ),
        ],
    );
}

#[test]
fn stateful_sets() {
    check(
        "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {generation: 1}",
        &[
            (
                "spec: {replicas: 2}\nstatus: {observedGeneration: 1, readyReplicas: 2, currentRevision: a, updateRevision: a}",
                { Some(Healthy) },
                "",
            ),
            (
                "spec: {replicas: 2}\nstatus: {observedGeneration: 1, readyReplicas: 1}",
                Some(Progressing),
                "1 of 2 replicas ready",
            ),
            ("spec: {replicas: 2}", Some(Progressing), "see the change"),
            (
                "spec: {replicas: 2}\nstatus: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 1, currentRevision: a, updateRevision: b}",
                Some(Progressing),
                "1 of 2 replicas updated",
            ),
            (
                "spec: {replicas: 2, updateStrategy: {type: OnDelete}}\nstatus: {observedGeneration: 1, readyReplicas: 2, currentRevision: a, updateRevision: b}",
                Some(Healthy),
                "",
            ),
            (
                "spec: {replicas: 3, updateStrategy: {rollingUpdate: {partition: 2}}}\nstatus: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 1}",
                Some(Healthy),
                "",
            ),
            (
                "spec: {replicas: 3, updateStrategy: {rollingUpdate: {partition: 1}}}\nstatus: {observedGeneration: 1, readyReplicas: 3, updatedReplicas: 1}",
                Some(Progressing),
                "1 of 2 replicas updated (partition 1)",
            ),
            (
                "spec: {replicas: 2, updateStrategy: {rollingUpdate: {partition: 0}}}\nstatus: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 1, currentRevision: a, updateRevision: b}",
                Some(Progressing),
                "1 of 2 replicas updated",
            ),
            (
                "spec: {replicas: 2, updateStrategy: {rollingUpdate: {partition: 0}}}\nstatus: {observedGeneration: 1, readyReplicas: 2, updatedReplicas: 2, currentRevision: a, updateRevision: b}",
                Some(Healthy),
                "",
            ),
        ],
    );
}

#[test]
fn daemon_and_replica_sets() {
    check(
        "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {generation: 1}",
        &[
            (
                "status: {observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2}",
                Some(Healthy),
                "",
            ),
            ("status: {observedGeneration: 1}", Some(Healthy), ""),
            ("status: {observedGeneration: 0}", Some(Progressing), "see the change"),
            (
                "status: {observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 1}",
                Some(Progressing),
                "1 of 2 pods updated",
            ),
            (
                "status: {observedGeneration: 1, desiredNumberScheduled: 2, updatedNumberScheduled: 2}",
                { Some(Progressing) },
                "0 of 2 pods available",
            ),
        ],
    );
    check(
        "apiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {generation: 1}",
        &[
            ("spec: {replicas: 1}\nstatus: {observedGeneration: 1, availableReplicas: 1}", Some(Healthy), ""),
            ("spec: {replicas: 1}\nstatus: {observedGeneration: 1}", Some(Progressing), "0 of 1 replica available"),
            (
                "status: {observedGeneration: 1, conditions: [{type: ReplicaFailure, status: 'True', message: forbidden}]}",
                { Some(Degraded) },
                "forbidden",
            ),
        ],
    );
}

#[test]
fn pods() {
    check(
        "apiVersion: v1\nkind: Pod",
        &[
            ("status: {phase: Running, conditions: [{type: Ready, status: 'True'}]}", Some(Healthy), ""),
            ("status: {phase: Succeeded}", Some(Healthy), ""),
            ("status: {phase: Pending}", Some(Progressing), "pending"),
            (
                "status: {phase: Pending, containerStatuses: [{name: app, image: 'example.com/app:9', state: {waiting: {reason: ImagePullBackOff, \
             message: not found}}}]}",
                Some(Degraded),
                "container app cannot pull image example.com/app:9: not found",
            ),
            (
                "status: {phase: Pending, initContainerStatuses: [{name: init, image: i, state: {waiting: {reason: ErrImagePull}}}]}",
                Some(Degraded),
                "container init cannot pull image i (ErrImagePull)",
            ),
            (
                "status: {phase: Running, containerStatuses: [{name: app, state: {waiting: {reason: CrashLoopBackOff}}, lastState: {terminated: \
             {exitCode: 137, reason: OOMKilled}}}]}",
                Some(Degraded),
                "container app keeps ending: exit code 137, out of memory",
            ),
            (
                "status: {phase: Running, containerStatuses: [{name: app, ready: false, lastState: {terminated: {exitCode: 1}}}]}",
                Some(Degraded),
                "exit code 1",
            ),
            (
                "status: {phase: Running, containerStatuses: [{name: app, ready: false}]}",
                Some(Progressing),
                "waiting for app",
            ),
            (
                "status: {phase: Pending, conditions: [{type: PodScheduled, status: 'False', reason: Unschedulable, message: no nodes}]}",
                Some(Progressing),
                "cannot be scheduled: no nodes",
            ),
            (
                "status: {phase: Failed, containerStatuses: [{name: app, state: {terminated: {exitCode: 2, message: boom}}}]}",
                { Some(Degraded) },
                "container app ended: exit code 2: boom",
            ),
            (
                "status: {phase: Failed, reason: Evicted, message: low on memory}",
                Some(Degraded),
                "Evicted: low on memory",
            ),
            ("spec: {restartPolicy: Never}\nstatus: {phase: Running}", Some(Progressing), "running"),
            (
                "spec: {restartPolicy: OnFailure}\nstatus: {phase: Pending, containerStatuses: [{name: app, image: i, state: {waiting: {reason: \
             ErrImagePull}}}]}",
                Some(Progressing),
                "cannot pull image i",
            ),
        ],
    );
}

#[test]
fn jobs() {
    check(
        "apiVersion: batch/v1\nkind: Job",
        &[
            ("status: {conditions: [{type: Complete, status: 'True'}]}", Some(Healthy), ""),
            (
                "status: {conditions: [{type: Failed, status: 'True', reason: BackoffLimitExceeded, message: too often}]}",
                { Some(Degraded) },
                "too often",
            ),
            (
                "status: {conditions: [{type: Suspended, status: 'True', message: Job suspended}]}",
                Some(Suspended),
                "suspended",
            ),
            ("status: {active: 1, failed: 2}", Some(Progressing), "1 running, 2 failed"),
            ("{}", Some(Progressing), "waiting to start"),
        ],
    );
    check(
        "apiVersion: batch/v1\nkind: CronJob",
        &[
            ("spec: {suspend: true}", Some(Healthy), ""),
            (
                "spec: {suspend: true}\nstatus: {lastScheduleTime: '2026-01-02T00:00:00Z', lastSuccessfulTime: '2026-01-01T00:00:09Z'}",
                Some(Healthy),
                "",
            ),
            ("spec: {}", Some(Healthy), ""),
            ("status: {lastScheduleTime: '2026-01-01T00:00:00Z'}", Some(Healthy), ""),
            (
                "status: {lastScheduleTime: '2026-01-01T00:00:00Z', lastSuccessfulTime: '2026-01-01T00:00:09Z'}",
                Some(Healthy),
                "",
            ),
            (
                "status: {lastScheduleTime: '2026-01-02T00:00:00Z', lastSuccessfulTime: '2026-01-01T00:00:09Z'}",
                { Some(Degraded) },
                "2026-01-02T00:00:00Z did not succeed",
            ),
            (
                "status: {active: [{name: a}], lastScheduleTime: '2026-01-02T00:00:00Z', lastSuccessfulTime: '2026-01-01T00:00:09Z'}",
                { Some(Healthy) },
                "",
            ),
        ],
    );
}

#[test]
fn network_storage_and_scaling() {
    check(
        "apiVersion: v1\nkind: Service",
        &[
            ("spec: {type: ClusterIP}", Some(Healthy), ""),
            ("spec: {type: LoadBalancer}", Some(Progressing), "address"),
            ("spec: {type: LoadBalancer}\nstatus: {loadBalancer: {ingress: [{ip: 192.0.2.1}]}}", Some(Healthy), ""),
        ],
    );
    check(
        "apiVersion: networking.k8s.io/v1\nkind: Ingress",
        &[
            ("status: {loadBalancer: {}}", Some(Progressing), "ingress controller"),
            ("status: {loadBalancer: {ingress: [{hostname: a}]}}", Some(Healthy), ""),
        ],
    );
    check(
        "apiVersion: v1\nkind: PersistentVolumeClaim",
        &[
            ("status: {phase: Bound}", Some(Healthy), ""),
            ("status: {phase: Pending}", Some(Progressing), "volume"),
            ("status: {phase: Lost}", Some(Degraded), "lost"),
            ("spec: {volumeName: v}\nstatus: {phase: Pending}", Some(Progressing), "waiting for the volume v"),
            (
                "metadata: {creationTimestamp: '2026-01-01T11:59:30Z'}\nstatus: {phase: Pending}",
                Some(Progressing),
                "first pod",
            ),
            (
                "metadata: {creationTimestamp: '2026-01-01T11:58:30Z'}\nstatus: {phase: Pending}",
                Some(Suspended),
                "first pod",
            ),
            (
                "metadata: {creationTimestamp: '2026-01-01T11:00:00Z', annotations: {volume.kubernetes.io/storage-provisioner: a}}\nstatus: {phase: Pending}",
                Some(Progressing),
                "waiting for a volume",
            ),
        ],
    );
    check(
        "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler",
        &[
            ("{}", Some(Progressing), "first decision"),
            ("status: {}", Some(Progressing), "first decision"),
            (
                "status: {conditions: [{type: AbleToScale, status: 'True', reason: SucceededGetScale}]}",
                Some(Progressing),
                "",
            ),
            (
                "status: {conditions: [{type: ScalingActive, status: 'False', reason: FailedGetResourceMetric, message: no metrics, \
             lastTransitionTime: '2026-01-01T11:56:00Z'}]}",
                Some(Progressing),
                "no metrics",
            ),
            (
                "status: {conditions: [{type: ScalingActive, status: 'False', reason: FailedGetResourceMetric, message: no metrics, \
             lastTransitionTime: '2026-01-01T11:54:00Z'}]}",
                Some(Degraded),
                "no metrics",
            ),
            (
                "metadata: {creationTimestamp: '2026-01-01T11:59:00Z'}\nstatus: {conditions: [{type: AbleToScale, status: 'False', \
             reason: FailedGetScale, message: no such deployment}]}",
                Some(Progressing),
                "no such deployment",
            ),
            (
                "status: {conditions: [{type: ScalingActive, status: 'False', reason: InvalidSelector, lastTransitionTime: '2026-01-01T11:59:00Z'}]}",
                Some(Degraded),
                "InvalidSelector",
            ),
            (
                "status: {conditions: [{type: AbleToScale, status: 'True', reason: ReadyForNewScale}]}",
                Some(Healthy),
                "",
            ),
            (
                "status: {conditions: [{type: AbleToScale, status: 'True', reason: SucceededGetScale}, {type: ScalingActive, status: 'False', \
             reason: FailedGetResourceMetric, message: no metrics}]}",
                Some(Degraded),
                "no metrics",
            ),
        ],
    );
    check(
        "apiVersion: autoscaling/v1\nkind: HorizontalPodAutoscaler",
        &[(
            r#"metadata: {annotations: {autoscaling.alpha.kubernetes.io/conditions: '[{"type":"ScalingLimited","reason":"TooFewReplicas"}]'}}"#,
            Some(Healthy),
            "",
        )],
    );
}

#[test]
fn what_extends_the_api() {
    check(
        "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition",
        &[
            (
                "status: {conditions: [{type: NamesAccepted, status: 'True'}, {type: Established, status: 'True'}]}",
                Some(Healthy),
                "",
            ),
            ("status: {conditions: [{type: NamesAccepted, status: 'False', message: taken}]}", Some(Degraded), "taken"),
            ("{}", Some(Progressing), "established"),
            (
                "metadata: {creationTimestamp: '2026-01-01T11:59:58Z'}\nstatus: {conditions: [{type: NamesAccepted, status: 'True'}, \
             {type: Established, status: 'False', reason: Installing}]}",
                Some(Progressing),
                "Installing",
            ),
            (
                "metadata: {creationTimestamp: '2026-01-01T11:00:00Z'}\nstatus: {conditions: [{type: NamesAccepted, status: 'True'}, \
             {type: Established, status: 'False', reason: Installing}]}",
                Some(Degraded),
                "Installing",
            ),
            (
                "status: {conditions: [{type: Established, status: 'True'}, {type: KubernetesAPIApprovalPolicyConformant, status: 'False', \
             message: not approved}]}",
                { Some(Degraded) },
                "not approved",
            ),
        ],
    );
    check(
        "apiVersion: apiregistration.k8s.io/v1\nkind: APIService",
        &[
            ("status: {conditions: [{type: Available, status: 'True'}]}", Some(Healthy), ""),
            (
                "status: {conditions: [{type: Available, status: 'False', message: no endpoints}]}",
                Some(Progressing),
                "no endpoints",
            ),
            ("{}", Some(Progressing), ""),
        ],
    );
}

#[test]
fn applications() {
    check(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application",
        &[
            ("{}", Some(Progressing), "reconciled"),
            ("status: {health: {status: Healthy}}", Some(Healthy), ""),
            ("status: {health: {status: Degraded, message: a pod fails}}", Some(Degraded), "a pod fails"),
            ("status: {health: {status: Missing}}", Some(Missing), ""),
            ("status: {health: {status: Strange}}", Some(Unknown), ""),
        ],
    );
    check(
        "apiVersion: argoproj.io/v1alpha1\nkind: ApplicationSet",
        &[
            ("{}", Some(Progressing), ""),
            (
                "status: {conditions: [{type: ErrorOccurred, status: 'True', message: bad template}]}",
                Some(Degraded),
                "bad template",
            ),
            (
                "status: {conditions: [{type: ErrorOccurred, status: 'False'}, {type: ResourcesUpToDate, status: 'True'}]}",
                Some(Healthy),
                "",
            ),
        ],
    );
}

#[test]
fn custom_resources_and_kinds_without_health() {
    check(
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {generation: 2}",
        &[
            ("spec: {}", None, ""),
            ("status: {observedGeneration: 2}", None, ""),
            (
                "status: {observedGeneration: 1, conditions: [{type: Ready, status: 'True'}]}",
                Some(Progressing),
                "see the change",
            ),
            ("status: {conditions: [{type: Ready, status: 'True'}]}", Some(Healthy), ""),
            ("status: {conditions: [{type: Ready, status: 'False', message: not yet}]}", Some(Progressing), "not yet"),
            (
                "status: {conditions: [{type: Ready, status: 'True'}, {type: Reconciling, status: 'True', message: busy}]}",
                { Some(Progressing) },
                "busy",
            ),
            (
                "status: {conditions: [{type: Ready, status: 'False'}, {type: Stalled, status: 'True', message: stuck}]}",
                { Some(Degraded) },
                "stuck",
            ),
            (
                "status: {conditions: [{type: Reconciling, status: 'True'}, {type: Stalled, status: 'True', message: stuck}]}",
                Some(Degraded),
                "stuck",
            ),
            (
                "status: {conditions: [{type: Available, status: 'True'}, {type: Ready, status: 'False', message: not yet}]}",
                Some(Progressing),
                "not yet",
            ),
            (
                "metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}\nstatus: {conditions: [{type: Ready, status: 'True'}]}",
                Some(Progressing),
                "being deleted",
            ),
        ],
    );
    for head in
        ["apiVersion: v1\nkind: ConfigMap", "apiVersion: v1\nkind: Namespace", "apiVersion: policy/v1\nkind: Eviction"]
    {
        check(head, &[("status: {conditions: [{type: Ready, status: 'False'}]}", None, "")]);
    }
}

#[test]
fn words_that_tell_of_kinds_without_a_rule() {
    check(
        "apiVersion: example.com/v1\nkind: Widget\nmetadata: {generation: 2, creationTimestamp: '2026-01-01T00:00:00Z'}",
        &[
            ("status: {phase: Failed, message: no space}", Some(Degraded), "Failed: no space"),
            ("status: {state: REJECTED}", Some(Degraded), "REJECTED"),
            ("status: {status: install-failed}", Some(Degraded), "install-failed"),
            ("status: {health: degraded}", Some(Degraded), "degraded"),
            ("status: {state: Invalid, conditions: [{type: Ready, status: 'True'}]}", Some(Degraded), "Invalid"),
            ("status: {conditions: [{type: Failed, status: 'True', message: no space}]}", Some(Degraded), "no space"),
            ("status: {conditions: [{type: InvalidSpec, status: 'True'}]}", Some(Degraded), "InvalidSpec"),
            (
                "status: {conditions: [{type: Ready, status: 'True'}, {type: Degraded, status: 'True', message: half}]}",
                Some(Degraded),
                "half",
            ),
            ("status: {conditions: [{type: Failed, status: 'False'}, {type: Error, status: 'False'}]}", None, ""),
            ("status: {conditions: [{type: Accepted, status: 'False', message: not so}]}", Some(Degraded), "not so"),
            ("status: {conditions: [{type: Valid, status: 'False', reason: Pending}]}", Some(Progressing), "Pending"),
            ("status: {conditions: [{type: Synced, status: 'False', reason: SyncError}]}", Some(Degraded), "SyncError"),
            ("status: {conditions: [{type: Synced, status: 'False'}]}", Some(Progressing), "Synced is False"),
            (
                "status: {conditions: [{type: Ready, status: 'False', reason: ReconcileError, message: forbidden}]}",
                Some(Degraded),
                "forbidden",
            ),
            ("status: {conditions: [{type: Ready, status: 'False', reason: Creating}]}", Some(Progressing), "Creating"),
            // What is tried again is given time.
            (
                "status: {conditions: [{type: Ready, status: 'False', reason: ReconcileError, lastTransitionTime: '2026-01-01T11:59:00Z'}]}",
                Some(Progressing),
                "ReconcileError",
            ),
            (
                "status: {conditions: [{type: Error, status: 'True', lastTransitionTime: '2026-01-01T11:59:00Z'}]}",
                Some(Progressing),
                "Error",
            ),
            ("status: {phase: Pending}", Some(Progressing), "Pending"),
            ("status: {phase: In Progress}", Some(Progressing), "In Progress"),
            ("status: {phase: Paused}", Some(Suspended), "Paused"),
            ("status: {phase: Pending, conditions: [{type: Ready, status: 'True'}]}", Some(Healthy), ""),
            ("status: {phase: Active, state: Running}", None, ""),
            ("status: {phase: 7, state: {name: Failed}}", None, ""),
        ],
    );
}

#[test]
fn what_is_new_is_judged_again_when_it_is_not() {
    let claim = Object(serde_json::json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim",
        "metadata": { "name": "a", "creationTimestamp": "2026-01-01T11:59:30Z" }, "status": { "phase": "Pending" },
    }));
    let new = health(&claim, now()).unwrap();
    assert_eq!((new.status, new.until), (Progressing, Some("2026-01-01T12:00:30Z".parse().unwrap())));
    let late = health(&claim, new.until.unwrap()).unwrap();
    assert_eq!((late.status, late.until), (Suspended, None));
    assert!(waits_for_later_waves(&claim), "the pod that uses it may come in a later wave");
    for (group, kind, phase) in [("v1", "PersistentVolumeClaim", "Lost"), ("a/v1", "PersistentVolumeClaim", "Pending")]
    {
        let other = Object(serde_json::json!({ "apiVersion": group, "kind": kind, "status": { "phase": phase } }));
        assert!(!waits_for_later_waves(&other), "{group} {phase}");
    }
}

#[test]
fn applications_are_as_well_as_their_worst_object() {
    let key = |name: &str| ObjectKey::new("apps", "Deployment", "dev", name);
    let (a, b) = (key("a"), key("b"));
    let well = Health::healthy();
    let ill = Health::degraded("1 of 3 replicas available");
    let busy = Health::progressing("");
    let of = |key, health| ResourceHealth { key, health, missing: false, ignored: false };
    let gone = |key| ResourceHealth { key, health: None, missing: true, ignored: false };
    for (resources, want) in [
        (vec![], "Healthy"),
        (vec![of(&a, Some(&well)), of(&b, None)], "Healthy"),
        (vec![of(&a, Some(&well)), of(&b, Some(&ill))], "Degraded: apps/Deployment dev/b: 1 of 3 replicas available"),
        (vec![of(&a, Some(&busy)), of(&b, Some(&ill))], "Degraded: apps/Deployment dev/b: 1 of 3 replicas available"),
        (vec![of(&a, Some(&busy)), of(&b, None)], "Progressing: apps/Deployment dev/a"),
        (vec![of(&a, Some(&well)), gone(&b)], "Healthy"),
        (vec![gone(&a), gone(&b)], "Missing: all its objects are missing in the cluster"),
        (vec![gone(&b)], "Missing: its only object is missing in the cluster"),
        (vec![of(&a, Some(&well)), ResourceHealth { ignored: true, ..of(&b, Some(&ill)) }], "Healthy"),
    ] {
        assert_eq!(aggregate(resources).to_string(), want);
    }
}
