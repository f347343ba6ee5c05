//! `lockstep.dev/depends-on`: applications that must be in sync and healthy before another one is synced.
//!
//! ```
//! use engine::dependencies::{Member, Name, Readiness, names, readiness};
//! use resources::{HealthStatus, SyncStatus};
//!
//! let member = |name: &str, depends_on: &str, health| Member {
//!     name: Name::new("argocd", name),
//!     depends_on: names(depends_on, "argocd"),
//!     sync: SyncStatus::Synced,
//!     health,
//!     pending: false,
//! };
//! let all = [
//!     member("gateway", "database", HealthStatus::Healthy),
//!     member("database", "", HealthStatus::Progressing),
//! ];
//! let Readiness::WaitingFor { sentence, .. } = readiness(&all[0].name, &all) else { panic!() };
//! assert_eq!(sentence, "waiting for the applications that it depends on: database (Progressing)");
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use resources::{Application, HealthStatus, SyncStatus, annotations};

/// An application among others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// The Application's namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl Name {
    /// A name from its two parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// As somebody in this namespace would write it.
    fn seen_from(&self, namespace: &str) -> String {
        if self.namespace == namespace { self.name.clone() } else { self.to_string() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// One application, as far as those that depend on it are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub name: Name,
    /// What it depends on itself, see [`names`] and [`of`].
    pub depends_on: Vec<Name>,
    /// Whether it is in sync.
    pub sync: SyncStatus,
    /// How well it is.
    pub health: HealthStatus,
    /// A commit is wanted of it that it has not come to an end with: what is known of it is about an older one.
    pub pending: bool,
}

impl Member {
    /// What it is not yet, in a word.
    fn missing(&self) -> Option<String> {
        if self.pending {
            return Some("has a newer commit to sync".into());
        }
        if self.sync != SyncStatus::Synced {
            return Some(self.sync.to_string());
        }
        (self.health != HealthStatus::Healthy).then(|| self.health.to_string())
    }
}

/// Whether an application may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// All that it depends on are in sync and healthy.
    Ready,
    /// Some are not.
    WaitingFor {
        /// Which.
        names: Vec<Name>,
        /// For a person.
        sentence: String,
    },
    /// It can never go: an error of whoever wrote the annotations.
    Cycle {
        /// The way round, from an application back to itself.
        path: Vec<Name>,
        /// For a person.
        sentence: String,
    },
    /// There are no applications of these names, yet.
    Unknown {
        /// Which.
        names: Vec<Name>,
        /// For a person.
        sentence: String,
    },
}

/// The names in an annotation's value: `a, namespace/b`; without a namespace that of the Application itself. Each once.
pub fn names(text: &str, namespace: &str) -> Vec<Name> {
    let mut seen = BTreeSet::new();
    text.split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| match name.split_once('/') {
            Some((namespace, name)) => Name::new(namespace.trim(), name.trim()),
            None => Name::new(namespace, name),
        })
        .filter(|name| seen.insert(name.clone()))
        .collect()
}

/// The names that an Application depends on.
pub fn of(application: &Application) -> Vec<Name> {
    application.annotation(annotations::DEPENDS_ON).map(|text| names(text, application.namespace())).unwrap_or_default()
}

/// Whether an application may go, given all that there are, in any order. A cycle among those that it depends on is told of too,
/// because they would never become ready.
pub fn readiness(name: &Name, all: &[Member]) -> Readiness {
    let members: BTreeMap<&Name, &Member> = all.iter().map(|member| (&member.name, member)).collect();
    let Some(own) = members.get(name) else { return Readiness::Ready };
    let shown = |name: &Name| name.seen_from(&own.name.namespace);
    if let Some(path) = cycle(own, &members) {
        let way: Vec<String> = path.iter().map(shown).collect();
        let sentence = match path.as_slice() {
            [_, _] => format!("{} depends on itself; correct {}", way[0], annotations::DEPENDS_ON),
            _ => format!(
                "these applications depend on each other, so none can go first: {}; correct {} on one of them",
                way.join(" -> "),
                annotations::DEPENDS_ON
            ),
        };
        return Readiness::Cycle { path, sentence };
    }
    let unknown: Vec<Name> = own.depends_on.iter().filter(|name| !members.contains_key(name)).cloned().collect();
    if !unknown.is_empty() {
        let list: Vec<String> = unknown.iter().map(shown).collect();
        let sentence = format!(
            "it depends on {}, and no such Application is in this cluster; create it, or correct {}",
            list.join(", "),
            annotations::DEPENDS_ON
        );
        return Readiness::Unknown { names: unknown, sentence };
    }
    let waiting: Vec<(&Name, String)> =
        own.depends_on.iter().filter_map(|name| Some((name, members.get(name)?.missing()?))).collect();
    if waiting.is_empty() {
        return Readiness::Ready;
    }
    let list: Vec<String> = waiting.iter().map(|(name, what)| format!("{} ({what})", shown(name))).collect();
    Readiness::WaitingFor {
        sentence: format!("waiting for the applications that it depends on: {}", list.join(", ")),
        names: waiting.into_iter().map(|(name, _)| name.clone()).collect(),
    }
}

/// The first cycle that is reached from an application, in the order in which dependencies are written. It begins with its
/// smallest name, so that all that reach it tell of it in the same words.
fn cycle(from: &Member, members: &BTreeMap<&Name, &Member>) -> Option<Vec<Name>> {
    let mut done: BTreeSet<&Name> = BTreeSet::new();
    // The way so far, with how many dependencies of each have been gone into. No recursion: a chain may be long.
    let mut way: Vec<(&Name, usize)> = vec![(&from.name, 0)];
    let mut on_way: BTreeSet<&Name> = BTreeSet::from([&from.name]);
    while let Some((name, next)) = way.last_mut() {
        let dependency = members.get(*name).and_then(|member| member.depends_on.get(*next));
        *next += 1;
        let Some(dependency) = dependency else {
            done.insert(*name);
            on_way.remove(*name);
            way.pop();
            continue;
        };
        if on_way.contains(dependency) {
            let start = way.iter().position(|(name, _)| *name == dependency).unwrap_or(0);
            let mut path: Vec<Name> = way[start..].iter().map(|(name, _)| (*name).clone()).collect();
            let first = (0..path.len()).min_by_key(|at| &path[*at]).unwrap_or(0);
            path.rotate_left(first);
            path.push(path[0].clone());
            return Some(path);
        }
        if members.contains_key(dependency) && !done.contains(dependency) {
            way.push((dependency, 0));
            on_way.insert(dependency);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `a: b c` is in sync and healthy and depends on b and c; after a bar what else is to be said of it.
    fn member(text: &str) -> Member {
        let (text, state) = text.split_once('|').unwrap_or((text, ""));
        let (name, depends_on) = text.split_once(':').unwrap_or((text, ""));
        let own = names(name, "argocd").remove(0);
        Member {
            depends_on: names(&depends_on.trim().replace(' ', ","), &own.namespace),
            name: own,
            sync: if state.contains("OutOfSync") { SyncStatus::OutOfSync } else { SyncStatus::Synced },
            health: match state {
                "" | "OutOfSync" | "pending" => HealthStatus::Healthy,
                health => HealthStatus::from(health),
            },
            pending: state == "pending",
        }
    }

    fn ask(all: &[&str]) -> String {
        let all: Vec<Member> = all.iter().map(|text| member(text)).collect();
        let answer = readiness(&Name::new("argocd", "a"), &all);
        let mut reversed = all.clone();
        reversed.reverse();
        assert_eq!(readiness(&Name::new("argocd", "a"), &reversed), answer, "the order of applications is none");
        match answer {
            Readiness::Ready => "ready".into(),
            Readiness::WaitingFor { sentence, .. } => {
                sentence.replace("waiting for the applications that it depends on", "waiting")
            }
            Readiness::Cycle { path, .. } => {
                let way: Vec<String> = path.iter().map(|name| name.seen_from("argocd")).collect();
                format!("cycle {}", way.join(" "))
            }
            Readiness::Unknown { names, .. } => format!("unknown {}", names[0]),
        }
    }

    #[test]
    fn who_may_go() {
        for (all, want) in [
            (vec![], "ready"),
            (vec!["a"], "ready"),
            (vec!["a: b", "b"], "ready"),
            (vec!["a: b", "b|OutOfSync"], "waiting: b (OutOfSync)"),
            (vec!["a: b", "b|Progressing"], "waiting: b (Progressing)"),
            (vec!["a: b", "b|Suspended"], "waiting: b (Suspended)"),
            (vec!["a: b", "b|pending"], "waiting: b (has a newer commit to sync)"),
            (vec!["a: c b", "b|Degraded", "c|OutOfSync"], "waiting: c (OutOfSync), b (Degraded)"),
            // Only what it depends on itself counts: the rest is their own business.
            (vec!["a: b", "b: c", "c|Degraded"], "ready"),
            (vec!["a: b c", "b: d", "c: d", "d"], "ready"),
            (vec!["a: b c", "b: d|Progressing", "c: d", "d"], "waiting: b (Progressing)"),
            (vec!["a: team/b", "team/b|Missing"], "waiting: team/b (Missing)"),
            (vec!["a: team/b", "b"], "unknown team/b"),
            (vec!["a: b c", "b|Degraded"], "unknown argocd/c"),
            (vec!["a: b", "b: gone"], "ready"),
            (vec!["a: a"], "cycle a a"),
            (vec!["a: b", "b: a"], "cycle a b a"),
            (vec!["a: z", "z: y", "y: x", "x: a"], "cycle a z y x a"),
            (vec!["a: c", "c: b", "b: c"], "cycle b c b"),
            (vec!["a: b c", "b: d", "c: d", "d: a"], "cycle a b d a"),
            (vec!["b: b", "a"], "ready"),
        ] {
            assert_eq!(ask(&all), want, "{all:?}");
        }
    }

    #[test]
    fn a_long_chain_and_a_long_cycle() {
        let chain = |last: &str| -> Vec<String> {
            let link = |at: usize| format!("n{at:05}: n{:05}", at + 1);
            let first = "a: n00000".to_owned();
            std::iter::once(first).chain((0..20_000).map(link)).chain([format!("n20000: {last}")]).collect()
        };
        let ask = |texts: Vec<String>| ask(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ask(chain("")), "ready");
        assert!(ask(chain("a")).starts_with("cycle a n00000 n00001"));
    }

    #[test]
    fn many_ways_to_the_same_are_gone_once() {
        // Thirty diamonds one after the other are a thousand million ways.
        let mut all = vec!["a: l0 r0".to_owned()];
        for at in 0..30 {
            all.push(format!("l{at}: l{} r{}", at + 1, at + 1));
            all.push(format!("r{at}: l{} r{}", at + 1, at + 1));
        }
        all.extend(["l30".to_owned(), "r30".to_owned()]);
        assert_eq!(ask(&all.iter().map(String::as_str).collect::<Vec<_>>()), "ready");
    }

    #[test]
    fn sentences() {
        let sentence = |texts: &[&str]| match readiness(
            &Name::new("argocd", "a"),
            &texts.iter().map(|text| member(text)).collect::<Vec<_>>(),
        ) {
            Readiness::Cycle { sentence, .. } | Readiness::Unknown { sentence, .. } => sentence,
            other => format!("{other:?}"),
        };
        assert_eq!(sentence(&["a: a"]), "a depends on itself; correct lockstep.dev/depends-on");
        assert_eq!(
            sentence(&["a: team/b", "team/b: argocd/a"]),
            "these applications depend on each other, so none can go first: a -> team/b -> a; correct lockstep.dev/depends-on on one \
             of them"
        );
        assert_eq!(
            sentence(&["a: b team/c"]),
            "it depends on b, team/c, and no such Application is in this cluster; create it, or correct lockstep.dev/depends-on"
        );
    }

    #[test]
    fn annotations_are_read() {
        let application = Application::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "a", "namespace": "team", "annotations": {"lockstep.dev/depends-on": " b, argocd/c ,, b"}},
            "spec": {"destination": {"name": "in-cluster"}},
        }))
        .unwrap();
        assert_eq!(of(&application), [Name::new("team", "b"), Name::new("argocd", "c")]);
    }
}
