//! Which applications a commit concerns. Fed with what each application tracks and what its last render read; asked with
//! the paths that a commit changed. The cost of a question follows the change, never the number of applications.

use std::collections::{BTreeSet, HashMap, HashSet};

use git::RepositoryKey;

use crate::AppId;

/// A place in Git that an application follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Tracked {
    /// The repository, whatever the spelling of its address.
    pub repository: RepositoryKey,
    /// `targetRevision` as written; `HEAD` where it is empty.
    pub revision: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Index {
    places: HashMap<Tracked, Place>,
    applications: HashMap<AppId, Vec<Tracked>>,
    revisions: HashMap<RepositoryKey, HashMap<String, usize>>,
}

#[derive(Debug, Default)]
struct Place {
    /// Applications whose inputs are not known (never rendered, or the render failed): any change may concern them.
    unknown: HashSet<AppId>,
    /// Folder or file that a render read (or missed), to the applications whose render did.
    readers: HashMap<String, HashSet<AppId>>,
    inputs: HashMap<AppId, Vec<String>>,
}

impl Index {
    /// The application follows these places from now on. What is known of the inputs of a place it followed before stays. Returns
    /// the places that no application follows any more.
    #[must_use = "what is remembered of a place that nobody follows grows old"]
    pub fn track(&mut self, application: &AppId, places: Vec<Tracked>) -> Vec<Tracked> {
        let places: Vec<Tracked> = {
            let mut seen = HashSet::new();
            places.into_iter().filter(|place| seen.insert(place.clone())).collect()
        };
        let before = self.applications.get(application).cloned().unwrap_or_default();
        let left = before.iter().filter(|place| !places.contains(place));
        let left = left.filter(|place| self.leave(application, place)).cloned().collect();
        for place in places.iter().filter(|place| !before.contains(place)) {
            self.places.entry(place.clone()).or_default().unknown.insert(application.clone());
            *self.revisions.entry(place.repository.clone()).or_default().entry(place.revision.clone()).or_default() +=
                1;
        }
        self.applications.insert(application.clone(), places);
        left
    }

    /// The application is gone. Returns the places that no application follows any more.
    #[must_use = "what is remembered of a place that nobody follows grows old"]
    pub fn forget(&mut self, application: &AppId) -> Vec<Tracked> {
        let places = self.applications.remove(application).unwrap_or_default();
        places.into_iter().filter(|place| self.leave(application, place)).collect()
    }

    /// What the application's render read at one of its places: folders and files, relative to the repository's root; the
    /// empty path is the whole repository.
    pub fn set_inputs(&mut self, application: &AppId, tracked: &Tracked, mut paths: Vec<String>) {
        if !self.applications.get(application).is_some_and(|places| places.contains(tracked)) {
            return;
        }
        let Some(place) = self.places.get_mut(tracked) else { return };
        paths.iter_mut().for_each(|path| *path = path.trim_matches('/').to_owned());
        paths.sort();
        paths.dedup();
        if place.inputs.get(application).is_some_and(|known| *known == paths) {
            return;
        }
        place.clear(application);
        for path in &paths {
            place.readers.entry(path.clone()).or_default().insert(application.clone());
        }
        place.inputs.insert(application.clone(), paths);
    }

    /// The inputs are not known any more: each change of the place concerns the application until it has rendered again.
    pub fn forget_inputs(&mut self, application: &AppId) {
        for tracked in self.applications.get(application).into_iter().flatten() {
            if let Some(place) = self.places.get_mut(tracked) {
                place.clear(application);
                place.unknown.insert(application.clone());
            }
        }
    }

    /// The applications that read one of these paths at this place, in order.
    pub fn concerned(&self, tracked: &Tracked, changed: &[String]) -> BTreeSet<AppId> {
        let Some(place) = self.places.get(tracked) else { return BTreeSet::new() };
        if changed.is_empty() {
            return BTreeSet::new();
        }
        let mut found: BTreeSet<AppId> = place.unknown.iter().cloned().collect();
        let mut asked: HashSet<&str> = HashSet::new();
        for path in changed {
            let mut prefix = path.as_str();
            while asked.insert(prefix) {
                found.extend(place.readers.get(prefix).into_iter().flatten().cloned());
                match prefix.rsplit_once('/') {
                    Some((parent, _)) => prefix = parent,
                    None if prefix.is_empty() => break,
                    None => prefix = "",
                }
            }
        }
        found
    }

    /// Every application that follows this place.
    pub fn followers(&self, tracked: &Tracked) -> BTreeSet<AppId> {
        let Some(place) = self.places.get(tracked) else { return BTreeSet::new() };
        place.unknown.iter().chain(place.inputs.keys()).cloned().collect()
    }

    /// The revisions of a repository that somebody follows, in order.
    pub fn revisions(&self, repository: &RepositoryKey) -> BTreeSet<String> {
        self.revisions.get(repository).into_iter().flat_map(|revisions| revisions.keys().cloned()).collect()
    }

    /// Every place that somebody follows.
    pub fn places(&self) -> Vec<Tracked> {
        self.places.keys().cloned().collect()
    }

    /// How many applications there are.
    pub fn count(&self) -> usize {
        self.applications.len()
    }

    /// Whether nobody is left at the place.
    fn leave(&mut self, application: &AppId, tracked: &Tracked) -> bool {
        if let Some(place) = self.places.get_mut(tracked) {
            place.clear(application);
            if place.unknown.is_empty() && place.inputs.is_empty() {
                self.places.remove(tracked);
            }
        }
        if let Some(revisions) = self.revisions.get_mut(&tracked.repository) {
            if let Some(count) = revisions.get_mut(&tracked.revision) {
                *count -= 1;
                if *count == 0 {
                    revisions.remove(&tracked.revision);
                }
            }
            if revisions.is_empty() {
                self.revisions.remove(&tracked.repository);
            }
        }
        !self.places.contains_key(tracked)
    }
}

impl Place {
    fn clear(&mut self, application: &AppId) {
        self.unknown.remove(application);
        for path in self.inputs.remove(application).unwrap_or_default() {
            if let Some(readers) = self.readers.get_mut(&path) {
                readers.remove(application);
                if readers.is_empty() {
                    self.readers.remove(&path);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(name: &str) -> AppId {
        AppId::new("argocd", name)
    }

    fn place(revision: &str) -> Tracked {
        Tracked {
            repository: git::RepositoryUrl::parse("https://github.com/acme/shop.git").unwrap().key(),
            revision: revision.into(),
        }
    }

    fn index() -> Index {
        let mut index = Index::default();
        for (name, inputs) in [
            ("gateway", vec!["envs/dev/gateway", "base/gateway"]),
            ("ledger", vec!["envs/dev/ledger/", "base/ledger"]),
            ("root", vec!["applicationsets"]),
            ("everything", vec![""]),
        ] {
            let _ = index.track(&app(name), vec![place("main")]);
            index.set_inputs(&app(name), &place("main"), inputs.into_iter().map(str::to_owned).collect());
        }
        index
    }

    fn concerned(index: &Index, changed: &[&str]) -> Vec<String> {
        let changed: Vec<String> = changed.iter().map(|path| (*path).to_owned()).collect();
        index.concerned(&place("main"), &changed).into_iter().map(|app| app.name).collect()
    }

    #[test]
    fn a_change_concerns_those_who_read_the_path_or_a_folder_above_it() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["envs/dev/gateway/kustomization.yaml"], &["everything", "gateway"]),
            (&["base/gateway/deep/down/x.yaml", "base/ledger/y.yaml"], &["everything", "gateway", "ledger"]),
            (&["envs/dev/gateway-2/kustomization.yaml"], &["everything"]),
            (&["envs/dev/gateway"], &["everything", "gateway"]),
            (&["README.md"], &["everything"]),
            (&[], &[]),
        ];
        for (changed, expected) in cases {
            assert_eq!(concerned(&index(), changed), *expected, "{changed:?}");
        }
    }

    #[test]
    fn an_application_with_unknown_inputs_is_concerned_by_any_change() {
        let mut index = index();
        index.forget_inputs(&app("ledger"));
        assert_eq!(concerned(&index, &["README.md"]), ["everything", "ledger"]);
        assert!(index.track(&app("new"), vec![place("main")]).is_empty());
        assert_eq!(concerned(&index, &["README.md"]), ["everything", "ledger", "new"]);
    }

    #[test]
    fn leaving_a_place_leaves_nothing_behind() {
        let mut index = index();
        for name in ["gateway", "ledger", "root"] {
            assert!(index.forget(&app(name)).is_empty(), "{name} was not the last one");
        }
        assert_eq!(index.track(&app("everything"), vec![place("release")]), [place("main")]);
        assert_eq!(index.places(), [place("release")]);
        assert_eq!(index.revisions(&place("main").repository).into_iter().collect::<Vec<_>>(), ["release"]);
        assert_eq!(index.forget(&app("everything")), [place("release")]);
        assert!(index.places().is_empty() && index.count() == 0);
        assert!(index.revisions(&place("main").repository).is_empty());
    }

    #[test]
    fn tracking_the_same_place_again_keeps_what_is_known() {
        let mut index = index();
        assert!(index.track(&app("gateway"), vec![place("main"), place("main")]).is_empty());
        assert_eq!(concerned(&index, &["README.md"]), ["everything"]);
    }
}
