//! What a pass can say of the commits that are wanted, when the revision stands at another commit than the one that was wanted: the
//! verdict on what was rendered is a verdict on a wanted commit only if both mean the same for this application.

use std::collections::HashSet;

use git::Commit;

use super::{Pass, render};
use crate::index::Tracked;
use crate::registry::Desired;
use crate::wanted::Wanted;

/// Wanted commits that the pass has gone past: a newer one, which contains them and changes the application again, is what it works
/// on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bearing {
    overtaken: Vec<(String, String)>,
}

impl Bearing {
    /// The commit that has overtaken this one.
    pub fn overtaken_by(&self, commit: &str) -> Option<&str> {
        self.overtaken.iter().find(|(overtaken, _)| overtaken == commit).map(|(_, by)| by.as_str())
    }
}

/// Judges by what the application read before this pass: what a render that fails would have read is not known.
pub async fn of(pass: &Pass<'_>, at: &[(Tracked, Commit)]) -> Bearing {
    let commits: HashSet<&str> = at.iter().map(|(_, commit)| commit.as_str()).collect();
    let elsewhere: Vec<Wanted> = {
        let state = pass.managed.state();
        state.wanted.iter().filter(|wanted| !commits.contains(wanted.commit.as_str())).cloned().collect()
    };
    let mut bearing = Bearing::default();
    for wanted in elsewhere {
        if let Some(by) = overtaken(pass, &wanted, at).await {
            bearing.overtaken.push((wanted.commit, by.to_string()));
        }
    }
    bearing
}

/// The same for what was rendered before.
pub async fn of_desired(pass: &Pass<'_>, desired: &Desired) -> Bearing {
    let commits = desired.commits.iter().filter_map(|commit| Commit::parse(commit).ok());
    let at: Vec<(Tracked, Commit)> = desired.places.iter().cloned().zip(commits).collect();
    of(pass, &at).await
}

async fn overtaken(pass: &Pass<'_>, wanted: &Wanted, at: &[(Tracked, Commit)]) -> Option<Commit> {
    let key = wanted.repository_key()?;
    let commit = Commit::parse(&wanted.commit).ok()?;
    for (place, newer) in at.iter().filter(|(place, _)| place.remote.key() == key) {
        let repository = pass.ctx.git.repository(&place.remote);
        if !repository.has(&commit) || !repository.has(newer) || !repository.is_ancestor(&commit, newer).ok()? {
            continue;
        }
        let changed = repository.changed_paths(&commit, newer).ok()?;
        let reads = pass.ctx.concerned(place, &changed).contains(&pass.managed.id);
        if reads && !render::is_untouched(pass.ctx, pass.managed, place, &commit, newer).await {
            return Some(newer.clone());
        }
    }
    None
}
