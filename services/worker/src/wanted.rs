//! The commit that a delivery wants an application at, kept in the application's `lockstep.dev/wanted` annotation: the
//! promise that an acknowledged delivery ends in a final check, whatever is killed.

use git::{RepositoryKey, RepositoryUrl};
use serde::{Deserialize, Serialize};

use crate::tracker::{CommitKey, Conclusion, Origin, Verdict};

/// One entry of the annotation: there is one for each repository that the application's sources name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    /// Clone address, without credentials.
    pub repository: String,
    /// The commit, whole.
    pub commit: String,
    /// `github`, `gitea`.
    pub forge: String,
    /// Owner and name on the forge.
    pub owner: String,
    /// See `owner`.
    pub name: String,
    /// The forge's API, as far as the payload tells it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_url: String,
    /// The repository's page.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub html_url: String,
    /// The delivery's id; empty for a commit found by polling.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub delivery: String,
    /// The trace that the webhook's request began.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub trace: String,
    /// When the webhook arrived, milliseconds since 1970.
    #[serde(default)]
    pub received_at: i64,
    /// How it ended; absent while it has not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
    /// Why it ended so.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sentence: String,
    /// The commits that were wanted before, newest first, and how they ended: an event that the bus brings again must not open
    /// their checks again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<Ended>,
}

/// A commit that was wanted once, and how it ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ended {
    /// The commit, whole.
    pub commit: String,
    /// The event that wanted it: see [`Wanted::delivery`] and [`Wanted::received_at`].
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub delivery: String,
    /// See `delivery`.
    #[serde(default)]
    pub received_at: i64,
    /// How it ended.
    pub verdict: Verdict,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub sentence: String,
}

/// At most so many earlier commits are remembered: more than can be on their way twice when a connection is lost.
const REMEMBERED: usize = 6;

/// What came of a new wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Taken {
    /// The event was handled before; how it ended, if it has.
    Known(Option<Conclusion>),
    /// Polling has found the commit before its event came, and it ended well: that holds for what the event concerns.
    Told(Conclusion),
    /// It is wanted from now on. The commit that was still on its way until now ends with this.
    New {
        /// That commit, with its verdict.
        superseded: Option<(CommitKey, Conclusion)>,
    },
}

/// Takes up a wish. Only a new event opens again what has ended.
pub fn take(all: &mut Vec<Wanted>, mut new: Wanted) -> Taken {
    let Some(known) = all.iter_mut().find(|known| known.repository_key() == new.repository_key()) else {
        all.push(new);
        return Taken::New { superseded: None };
    };
    if known.commit == new.commit {
        let same_event = known.is_of_event(&new.delivery, new.received_at);
        // What polling found is told by the forge, too, a little later.
        let told_again = known.is_from_polling() && known.verdict == Some(Verdict::Success);
        if known.is_pending() || same_event {
            return Taken::Known(known.conclusion());
        }
        if told_again && let Some(conclusion) = known.conclusion() {
            known.delivery = new.delivery;
            known.received_at = new.received_at;
            return Taken::Told(conclusion);
        }
    }
    if let Some(ended) = known.before.iter().find(|ended| {
        ended.commit == new.commit && ended.delivery == new.delivery && ended.received_at == new.received_at
    }) {
        return Taken::Known(Some(Conclusion { verdict: ended.verdict, sentence: ended.sentence.clone() }));
    }
    let mut superseded = None;
    if known.commit != new.commit {
        let conclusion = known.conclusion().unwrap_or_else(|| {
            let sentence = format!("superseded by {}", crate::intake::short(&new.commit));
            Conclusion { verdict: Verdict::Superseded, sentence }
        });
        new.before.push(Ended {
            commit: known.commit.clone(),
            delivery: known.delivery.clone(),
            received_at: known.received_at,
            verdict: conclusion.verdict,
            sentence: conclusion.sentence.clone(),
        });
        if known.is_pending() {
            superseded = known.key().map(|key| (key, conclusion));
        }
    }
    new.before.append(&mut known.before);
    new.before.truncate(REMEMBERED);
    *known = new;
    Taken::New { superseded }
}

impl Wanted {
    /// A commit that is now wanted.
    pub fn new(repository: &RepositoryUrl, commit: &str, origin: &Origin, received_at: i64) -> Self {
        Self {
            repository: repository.to_string(),
            commit: commit.into(),
            forge: origin.forge.name().into(),
            owner: origin.repository.owner.clone(),
            name: origin.repository.name.clone(),
            api_url: origin.repository.api_url.clone(),
            html_url: origin.repository.html_url.clone(),
            delivery: origin.delivery.clone(),
            trace: origin.trace.as_ref().map(ToString::to_string).unwrap_or_default(),
            received_at,
            verdict: None,
            sentence: String::new(),
            before: Vec::new(),
        }
    }

    /// What the tracker calls it; `None` if the annotation was edited into something that names no repository.
    pub fn key(&self) -> Option<CommitKey> {
        Some(CommitKey { repository: self.repository_key()?, commit: self.commit.clone() })
    }

    /// The repository, whatever its spelling.
    pub fn repository_key(&self) -> Option<RepositoryKey> {
        RepositoryUrl::parse(&self.repository).ok().map(|url| url.key())
    }

    /// Where the commit came from.
    pub fn origin(&self) -> Origin {
        Origin {
            forge: wire::Forge::from_name(&self.forge).unwrap_or(wire::Forge::Unspecified),
            repository: wire::Repository {
                owner: self.owner.clone(),
                name: self.name.clone(),
                clone_urls: vec![self.repository.clone()],
                html_url: self.html_url.clone(),
                default_branch: String::new(),
                api_url: self.api_url.clone(),
            },
            delivery: self.delivery.clone(),
            trace: wire::TraceParent::parse(&self.trace).ok(),
        }
    }

    /// How it ended, if it has.
    pub fn conclusion(&self) -> Option<Conclusion> {
        self.verdict.map(|verdict| Conclusion { verdict, sentence: self.sentence.clone() })
    }

    fn is_of_event(&self, delivery: &str, received_at: i64) -> bool {
        self.delivery == delivery && self.received_at == received_at
    }

    fn is_from_polling(&self) -> bool {
        self.delivery.is_empty() || self.delivery.starts_with("poll-")
    }

    /// How a commit of this repository ended, the present one or an earlier one.
    pub fn conclusion_of(&self, commit: &str) -> Option<Conclusion> {
        if self.commit == commit {
            return self.conclusion();
        }
        let ended = self.before.iter().find(|ended| ended.commit == commit)?;
        Some(Conclusion { verdict: ended.verdict, sentence: ended.sentence.clone() })
    }

    /// Whether no verdict has been reached.
    pub fn is_pending(&self) -> bool {
        self.verdict.is_none()
    }
}

/// Reads the annotation. What cannot be read is as if it were not there: the next delivery writes it anew.
pub fn parse(annotation: Option<&str>) -> Vec<Wanted> {
    annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Writes the annotation.
pub fn format(wanted: &[Wanted]) -> String {
    serde_json::to_string(wanted).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_annotation_reads_back_what_was_written() {
        let url = RepositoryUrl::parse("https://github.com/acme/shop.git").unwrap();
        let origin = Origin {
            forge: wire::Forge::Github,
            repository: wire::Repository { owner: "acme".into(), name: "shop".into(), ..Default::default() },
            delivery: "d1".into(),
            trace: Some(wire::TraceParent::new_root()),
        };
        let mut wanted = Wanted::new(&url, "abc", &origin, 17);
        assert_eq!(parse(Some(&format(&[wanted.clone()]))), [wanted.clone()]);
        assert_eq!(wanted.origin().trace, origin.trace);
        wanted.verdict = Some(Verdict::Failure);
        wanted.sentence = "Degraded".into();
        assert_eq!(parse(Some(&format(&[wanted.clone()]))), [wanted]);
    }

    fn wish(commit: &str, delivery: &str) -> Wanted {
        let url = RepositoryUrl::parse("https://github.com/acme/shop.git").unwrap();
        let origin = Origin {
            forge: wire::Forge::Github,
            repository: wire::Repository::default(),
            delivery: delivery.into(),
            trace: None,
        };
        Wanted::new(&url, commit, &origin, 17)
    }

    fn ended(mut wanted: Wanted, verdict: Verdict) -> Wanted {
        wanted.verdict = Some(verdict);
        wanted.sentence = format!("{verdict:?}");
        wanted
    }

    #[test]
    fn only_a_new_event_opens_what_has_ended() {
        let known = |verdict: Verdict| Taken::Known(Some(Conclusion { verdict, sentence: format!("{verdict:?}") }));
        let new = Taken::New { superseded: None };
        for (has, comes, want) in [
            (wish("a", "d1"), wish("a", "d1"), Taken::Known(None)),
            (wish("a", "d1"), wish("a", "d2"), Taken::Known(None)),
            (ended(wish("a", "d1"), Verdict::Error), wish("a", "d1"), known(Verdict::Error)),
            (ended(wish("a", "d1"), Verdict::Error), wish("a", "d2"), new.clone()),
            (ended(wish("a", "d1"), Verdict::Success), wish("a", "d2"), new.clone()),
            (
                ended(wish("a", "poll-a"), Verdict::Success),
                wish("a", "d2"),
                Taken::Told(Conclusion { verdict: Verdict::Success, sentence: "Success".into() }),
            ),
            (ended(wish("a", "poll-a"), Verdict::Failure), wish("a", "d2"), new.clone()),
            (ended(wish("a", "d1"), Verdict::Failure), wish("b", "d2"), new.clone()),
        ] {
            let mut all = vec![has.clone()];
            assert_eq!(take(&mut all, comes.clone()), want, "{has:?} {comes:?}");
            assert_eq!(all.len(), 1);
        }
    }

    #[test]
    fn what_is_overtaken_ends_as_what_it_was() {
        let mut all = vec![wish("a", "d1")];
        let Taken::New { superseded: Some((key, conclusion)) } = take(&mut all, wish("b", "d2")) else {
            panic!("a is not superseded")
        };
        assert_eq!((key.commit.as_str(), conclusion.verdict), ("a", Verdict::Superseded));
        all[0] = ended(all[0].clone(), Verdict::Failure);
        assert_eq!(take(&mut all, wish("c", "d3")), Taken::New { superseded: None }, "a failure stays a failure");
        // Both events again, as the bus brings them after a lost connection.
        for (commit, delivery, verdict) in [("a", "d1", Verdict::Superseded), ("b", "d2", Verdict::Failure)] {
            let Taken::Known(Some(conclusion)) = take(&mut all, wish(commit, delivery)) else { panic!("{commit}") };
            assert_eq!(conclusion.verdict, verdict);
        }
        assert_eq!(parse(Some(&format(&all))), all);
        for number in 0..20 {
            take(&mut all, wish(&format!("x{number}"), "d"));
        }
        assert_eq!(all[0].before.len(), REMEMBERED);
    }

    #[test]
    fn an_annotation_that_somebody_broke_is_no_annotation() {
        for text in [None, Some(""), Some("{}"), Some("[{\"commit\":1}]")] {
            assert!(parse(text).is_empty(), "{text:?}");
        }
    }
}
