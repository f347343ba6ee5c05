//! What is known about kinds before asking any cluster.

/// Whether a group is served by the API server itself, so that its types' lists and defaults are known.
pub fn is_builtin_group(group: &str) -> bool {
    matches!(
        group,
        "" | "apps"
            | "batch"
            | "autoscaling"
            | "policy"
            | "extensions"
            | "events.k8s.io"
            | "networking.k8s.io"
            | "rbac.authorization.k8s.io"
            | "storage.k8s.io"
            | "scheduling.k8s.io"
            | "node.k8s.io"
            | "discovery.k8s.io"
            | "coordination.k8s.io"
            | "certificates.k8s.io"
            | "authentication.k8s.io"
            | "authorization.k8s.io"
            | "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "apiregistration.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "internal.apiserver.k8s.io"
            | "resource.k8s.io"
    )
}

/// The order in which kinds are created inside one wave: what others need comes first.
const ORDER: [&str; 35] = [
    "Namespace",
    "NetworkPolicy",
    "ResourceQuota",
    "LimitRange",
    "PodSecurityPolicy",
    "PodDisruptionBudget",
    "ServiceAccount",
    "Secret",
    "SecretList",
    "ConfigMap",
    "StorageClass",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "CustomResourceDefinition",
    "ClusterRole",
    "ClusterRoleList",
    "ClusterRoleBinding",
    "ClusterRoleBindingList",
    "Role",
    "RoleList",
    "RoleBinding",
    "RoleBindingList",
    "Service",
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "StatefulSet",
    "Job",
    "CronJob",
    "IngressClass",
    "Ingress",
    "APIService",
];

/// The kind's place in the order of creation. What is not listed comes last, as do custom resources that share a name with a
/// built-in kind: their definition has to be there first.
pub fn order(group: &str, kind: &str) -> usize {
    if !is_builtin_group(group) {
        return ORDER.len();
    }
    ORDER.iter().position(|known| *known == kind).unwrap_or(ORDER.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_need_comes_first() {
        for (first, then) in [
            (("", "Namespace"), ("", "ConfigMap")),
            (("", "ConfigMap"), ("apps", "Deployment")),
            (("apiextensions.k8s.io", "CustomResourceDefinition"), ("rbac.authorization.k8s.io", "ClusterRole")),
            (("", "ServiceAccount"), ("apps", "Deployment")),
            (("", "Service"), ("apps", "Deployment")),
            (("apps", "Deployment"), ("networking.k8s.io", "Ingress")),
            (("apiregistration.k8s.io", "APIService"), ("cert-manager.io", "Certificate")),
            (("apiextensions.k8s.io", "CustomResourceDefinition"), ("crd.projectcalico.org", "NetworkPolicy")),
        ] {
            assert!(order(first.0, first.1) < order(then.0, then.1), "{first:?} {then:?}");
        }
    }
}
