//! The AppProjects of this cluster, and which destinations are this cluster's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use resources::{AppProject, Destination};

use crate::context::locked;

/// The AppProjects, by name.
#[derive(Debug, Default)]
pub struct Projects {
    known: Mutex<HashMap<String, Arc<AppProject>>>,
}

impl Projects {
    /// The project of this name. `default` exists even where nobody wrote it, and then permits everything, as in Argo CD.
    pub fn get(&self, name: &str) -> Option<Arc<AppProject>> {
        let known = locked(&self.known).get(name).cloned();
        known.or_else(|| (name == "default").then(|| Arc::new(permissive())))
    }

    /// Takes up a project as it is now; tells whether it is another than before.
    pub fn set(&self, project: AppProject) -> bool {
        let name = project.name().to_owned();
        let mut known = locked(&self.known);
        let same = known.get(&name).is_some_and(|before| {
            before.spec == project.spec && before.metadata.annotations == project.metadata.annotations
        });
        known.insert(name, Arc::new(project));
        !same
    }

    /// Those that somebody wrote.
    pub fn names(&self) -> Vec<String> {
        locked(&self.known).keys().cloned().collect()
    }

    /// The project is gone.
    pub fn remove(&self, name: &str) {
        locked(&self.known).remove(name);
    }
}

fn permissive() -> AppProject {
    let everything = serde_json::json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": { "name": "default" },
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{ "server": "*", "namespace": "*" }],
            "clusterResourceWhitelist": [{ "group": "*", "kind": "*" }],
        },
    });
    #[expect(clippy::expect_used, reason = "a constant, and a test parses it")]
    AppProject::parse(everything).expect("the built-in project is valid")
}

/// Whether a destination is the cluster of this name and API server address.
pub fn is_ours(destination: &Destination, cluster: &str, server: &str) -> bool {
    if destination.is_in_cluster() {
        return true;
    }
    if destination.server.is_empty() {
        return destination.name == cluster;
    }
    destination.server.trim_end_matches('/') == server.trim_end_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_project_exists_without_being_written() {
        let projects = Projects::default();
        assert!(projects.get("default").is_some());
        assert!(projects.get("payments").is_none());
    }

    #[test]
    fn which_destinations_are_ours() {
        let cases = [
            ("", "prod", true),
            ("", "nonprod", false),
            ("", "in-cluster", true),
            ("https://kubernetes.default.svc", "", true),
            ("https://10.0.0.1:6443/", "", true),
            ("https://10.0.0.2:6443", "", false),
        ];
        for (server, name, expected) in cases {
            let destination = Destination { server: server.into(), name: name.into(), ..Destination::default() };
            assert_eq!(is_ours(&destination, "prod", "https://10.0.0.1:6443"), expected, "{server} {name}");
        }
    }
}
