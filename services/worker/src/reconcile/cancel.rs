//! Work that nobody waits for any more is given up: a render, with the program that does it, ends when its application is
//! deleted, when its spec asks for something else, and when a newer commit is wanted.

use resources::Application;

use super::{Pass, Stop};
use crate::registry::State;

/// So often in a row a render is given up for a newer commit. The next one goes to its end: where commits come faster than
/// they render, one of them must be rendered at some time.
const MOST_IN_A_ROW: u32 = 3;

/// Does the work while it is wanted.
pub async fn while_wanted<T>(pass: &Pass<'_>, work: impl Future<Output = Result<T, Stop>>) -> Result<T, Stop> {
    let mut work = std::pin::pin!(work);
    loop {
        let mut changed = std::pin::pin!(pass.managed.newer.notified());
        changed.as_mut().enable();
        if is_given_up(pass) {
            tracing::info!("render.cancelled: its application is gone or wants something else");
            return Err(Stop::Superseded);
        }
        tokio::select! {
            biased;
            done = &mut work => {
                pass.managed.state().given_up = 0;
                return done;
            }
            () = changed => {}
        }
    }
}

fn is_given_up(pass: &Pass<'_>) -> bool {
    let known = pass.ctx.registry.get(&pass.managed.id);
    let gone = known.is_none_or(|known| !std::sync::Arc::ptr_eq(&known, pass.managed));
    let mut state = pass.managed.state();
    if gone || asks_for_something_else(&pass.application, &state.application) {
        return true;
    }
    let superseded = is_superseded(&state, pass.wanted_version);
    state.given_up += u32::from(superseded);
    superseded
}

fn is_superseded(state: &State, wanted_version: u64) -> bool {
    state.wanted_version != wanted_version && state.given_up < MOST_IN_A_ROW
}

/// Whether a render that was begun for one would not be done for the other.
fn asks_for_something_else(before: &Application, now: &Application) -> bool {
    let deleted = |application: &Application| application.metadata.deletion_timestamp.is_some();
    deleted(before) != deleted(now)
        || before.sources() != now.sources()
        || before.spec.destination != now.spec.destination
        || before.spec.project() != now.spec.project()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::registry::Registry;

    fn application(change: impl FnOnce(&mut Value)) -> Application {
        let mut manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "gateway", "namespace": "argocd"},
            "spec": {
                "project": "team",
                "source": {"repoURL": "https://git.example.com/a", "path": "a"},
                "destination": {"name": "in-cluster", "namespace": "shop"},
            },
        });
        change(&mut manifest);
        Application::parse(manifest).unwrap()
    }

    #[test]
    fn what_ends_a_render() {
        let before = application(|_| {});
        for (now, want, why) in [
            (application(|_| {}), false, "the same"),
            (application(|a| a["metadata"]["deletionTimestamp"] = "2026-01-05T12:00:00Z".into()), true, "deleted"),
            (application(|a| a["spec"]["source"]["path"] = "b".into()), true, "another folder"),
            (application(|a| a["spec"]["source"]["targetRevision"] = "v2".into()), true, "another revision"),
            (application(|a| a["spec"]["destination"]["namespace"] = "other".into()), true, "another namespace"),
            (application(|a| a["spec"]["project"] = "other".into()), true, "another project"),
            (application(|a| a["spec"]["syncPolicy"] = json!({"automated": {}})), false, "another policy"),
            (application(|a| a["metadata"]["labels"] = json!({"a": "b"})), false, "a label"),
            (application(|a| a["operation"] = json!({"sync": {}})), false, "an operation, which begins afterwards"),
        ] {
            assert_eq!(asks_for_something_else(&before, &now), want, "{why}");
        }
    }

    #[test]
    fn where_commits_come_faster_than_they_render_one_is_rendered_at_some_time() {
        let (managed, _) = Registry::default().upsert(application(|_| {}));
        let mut state = managed.state();
        assert!(!is_superseded(&state, 0));
        state.wanted_version = 1;
        assert!(is_superseded(&state, 0) && !is_superseded(&state, 1));
        state.given_up = MOST_IN_A_ROW;
        assert!(!is_superseded(&state, 0));
    }
}
