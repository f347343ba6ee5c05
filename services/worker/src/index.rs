//! Which applications a commit concerns. Fed with what each application tracks and what its last render read; asked with
//! the paths that a commit changed. The cost of a question follows the change, never the number of applications.

use std::collections::{BTreeSet, HashMap, HashSet};

use git::{Remote, RepositoryKey};

use crate::AppId;

/// A place in Git that an application follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tracked {
    /// The repository, by the address and for the project that follow it. Another address, or another project, is another
    /// place, even if both are the same repository to a webhook.
    pub remote: Remote,
    /// `targetRevision` as written; `HEAD` where it is empty.
    pub revision: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Index {
    places: HashMap<Tracked, Place>,
    applications: HashMap<AppId, Vec<Tracked>>,
    /// The places of each repository that a webhook can name.
    repositories: HashMap<RepositoryKey, BTreeSet<Tracked>>,
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
            // A place that many follow is kept once.
            let known = |place: Tracked| self.places.get_key_value(&place).map_or(place, |(known, _)| known.clone());
            places.into_iter().map(known).filter(|place| seen.insert(place.clone())).collect()
        };
        let before = self.applications.get(application).cloned().unwrap_or_default();
        let left = before.iter().filter(|place| !places.contains(place));
        let left = left.filter(|place| self.leave(application, place)).cloned().collect();
        for place in places.iter().filter(|place| !before.contains(place)) {
            self.places.entry(place.clone()).or_default().unknown.insert(application.clone());
            self.repositories.entry(place.remote.key()).or_default().insert(place.clone());
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

    /// The places of a repository that somebody follows, by whatever way, in order.
    pub fn followed(&self, repository: &RepositoryKey) -> BTreeSet<Tracked> {
        self.repositories.get(repository).cloned().unwrap_or_default()
    }

    /// Whether somebody follows a repository.
    pub fn follows(&self, repository: &RepositoryKey) -> bool {
        self.repositories.contains_key(repository)
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
                let repository = tracked.remote.key();
                if let Some(places) = self.repositories.get_mut(&repository) {
                    places.remove(tracked);
                    if places.is_empty() {
                        self.repositories.remove(&repository);
                    }
                }
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
        at("https://github.com/acme/shop.git", "team", revision)
    }

    fn at(url: &str, project: &str, revision: &str) -> Tracked {
        Tracked { remote: Remote::of(git::RepositoryUrl::parse(url).unwrap(), project), revision: revision.into() }
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
        assert_eq!(index.followed(&place("main").remote.key()).into_iter().collect::<Vec<_>>(), [place("release")]);
        assert_eq!(index.forget(&app("everything")), [place("release")]);
        assert!(index.places().is_empty() && index.count() == 0);
        assert!(index.followed(&place("main").remote.key()).is_empty() && !index.follows(&place("main").remote.key()));
    }

    #[test]
    fn a_webhook_finds_every_way_to_its_repository_and_each_is_a_place_of_its_own() {
        let mut index = Index::default();
        let ways = [
            ("https", "https://github.com/acme/shop.git", "team"),
            ("other-project", "https://github.com/acme/shop.git", "other"),
            ("bare", "https://github.com/acme/shop", "team"),
            ("ssh", "git@github.com:acme/shop.git", "team"),
            ("443", "ssh://git@ssh.github.com:443/acme/shop.git", "team"),
            ("http", "http://github.com:1/acme/shop", "team"),
            ("letters", "https://github.com/Acme/Shop.git", "team"),
        ];
        for (name, url, project) in ways {
            let _ = index.track(&app(name), vec![at(url, project, "main")]);
            index.set_inputs(&app(name), &at(url, project, "main"), vec![name.to_owned()]);
        }
        let _ = index.track(&app("else"), vec![at("https://github.com/acme/other", "team", "main")]);
        let found = index.followed(&place("main").remote.key());
        assert_eq!(found.len(), ways.len());
        for (name, url, project) in ways {
            let place = at(url, project, "main");
            assert!(found.contains(&place), "{name}");
            assert_eq!(index.followers(&place).into_iter().collect::<Vec<_>>(), [app(name)]);
            assert!(index.concerned(&place, &["https".to_owned()]).len() == usize::from(name == "https"), "{name}");
        }
    }

    #[test]
    fn tracking_the_same_place_again_keeps_what_is_known() {
        let mut index = index();
        assert!(index.track(&app("gateway"), vec![place("main"), place("main")]).is_empty());
        assert_eq!(concerned(&index, &["README.md"]), ["everything"]);
    }
}
