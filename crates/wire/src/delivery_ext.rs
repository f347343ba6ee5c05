use crate::{Delivery, Forge, PullRequest, Push, Repository, Side, delivery::Event, escape_word};

impl Forge {
    /// The forge's name in routing keys, metrics and settings: `github`, `gitea`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown",
            Self::Github => "github",
            Self::Gitea => "gitea",
        }
    }

    /// The reverse of [`Forge::name`].
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Github, Self::Gitea].into_iter().find(|forge| forge.name() == name)
    }
}

impl Repository {
    /// `owner/name`.
    pub fn full_name(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }
}

impl Push {
    /// The commit that was pushed, as far as the forge tells: of an annotated tag not the tag object.
    pub fn pushed_commit(&self) -> &str {
        if self.commit.is_empty() { &self.after } else { &self.commit }
    }
}

impl PullRequest {
    /// Whether people without any right to the base repository may push to the head. Also told of what an older receiver
    /// wrote, which said less.
    pub fn is_from_fork(&self) -> bool {
        let full_name = |side: &Option<Side>| side.as_ref()?.repository.as_ref().map(Repository::full_name);
        let own = match (full_name(&self.head), full_name(&self.base)) {
            (Some(head), Some(base)) => head.eq_ignore_ascii_case(&base),
            _ => false,
        };
        let branch = self.head.as_ref().map_or("", |head| head.branch.as_str());
        // Gitea's way of pull requests without a fork (`git push … HEAD:refs/for/main`) is open to everybody who can read.
        self.from_fork || !own || branch.starts_with("refs/")
    }
}

impl Delivery {
    /// Where the delivery is published: `<forge>.<event>.<owner>.<repository>`, each word escaped by [`escape_word`].
    pub fn routing_key(&self) -> String {
        let (owner, name) = self.repository.as_ref().map_or(("", ""), |r| (r.owner.as_str(), r.name.as_str()));
        format!("{}.{}.{}.{}", self.forge().name(), self.event_name(), escape_word(owner), escape_word(name))
    }

    /// What two deliveries have in common when they are the same: the forge and its id (`github:72d3162e`).
    pub fn dedup_key(&self) -> String {
        format!("{}:{}", self.forge().name(), self.id)
    }

    /// `push`, `pull_request`, or `unknown` for an event of a newer version.
    pub fn event_name(&self) -> &'static str {
        match &self.event {
            Some(Event::Push(_)) => "push",
            Some(Event::PullRequest(_)) => "pull_request",
            None => "unknown",
        }
    }

    /// The commit that the delivery is about: what was pushed, or the pull request's head. None for a deleted ref.
    pub fn commit(&self) -> Option<&str> {
        let commit = match self.event.as_ref()? {
            Event::Push(push) if push.deleted => return None,
            Event::Push(push) => push.pushed_commit(),
            Event::PullRequest(pull) => &pull.head.as_ref()?.commit,
        };
        // Forges write a ref that is not there as zeros.
        (!commit.bytes().all(|b| b == b'0')).then_some(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(forge: Forge, owner: &str, name: &str, event: Option<Event>) -> Delivery {
        let repository = Repository { owner: owner.into(), name: name.into(), ..Default::default() };
        Delivery { forge: forge.into(), id: "d1".into(), repository: Some(repository), event, ..Default::default() }
    }

    fn push(after: &str, deleted: bool) -> Option<Event> {
        Some(Event::Push(Push { after: after.into(), deleted, ..Default::default() }))
    }

    fn pull(commit: &str) -> Option<Event> {
        let head = Some(Side { commit: commit.into(), ..Default::default() });
        Some(Event::PullRequest(PullRequest { head, ..Default::default() }))
    }

    #[test]
    fn routing_keys() {
        let cases = [
            (delivery(Forge::Github, "Acme", "gateway", push("a1", false)), "github.push.acme.gateway"),
            (delivery(Forge::Gitea, "acme", "web.site", pull("a1")), "gitea.pull_request.acme.web%2esite"),
            (delivery(Forge::Github, "a#b", "*", push("a1", false)), "github.push.a%23b.%2a"),
            (delivery(Forge::Github, "acme", "x", None), "github.unknown.acme.x"),
            (Delivery::default(), "unknown.unknown.~.~"),
        ];
        for (delivery, key) in cases {
            assert_eq!(delivery.routing_key(), key);
            assert_eq!(delivery.routing_key().split('.').count(), 4);
        }
        let longest = delivery(Forge::Gitea, &"é".repeat(300), &".".repeat(300), pull("a1")).routing_key();
        assert!(longest.len() <= 255, "{} bytes", longest.len());
    }

    #[test]
    fn commits() {
        let zeros = "0".repeat(40);
        let cases = [
            (push("a1", false), Some("a1")),
            (push("a1", true), None),
            (push(&zeros, false), None),
            (push("", false), None),
            (pull("b2"), Some("b2")),
            (pull(""), None),
            (Some(Event::PullRequest(PullRequest::default())), None),
            (None, None),
        ];
        for (event, commit) in cases {
            assert_eq!(delivery(Forge::Github, "acme", "x", event.clone()).commit(), commit, "{event:?}");
        }
        let tag = Push { after: "7a6".into(), commit: "c0".into(), ..Default::default() };
        assert_eq!(delivery(Forge::Github, "acme", "x", Some(Event::Push(tag))).commit(), Some("c0"));
    }

    #[test]
    fn whose_head_it_is() {
        let side = |full_name: Option<&str>, branch: &str| {
            let repository = full_name.and_then(|name| name.split_once('/')).map(|(owner, name)| Repository {
                owner: owner.into(),
                name: name.into(),
                ..Default::default()
            });
            Some(Side { repository, branch: branch.into(), ..Default::default() })
        };
        for (head, branch, said, expected) in [
            (Some("acme/x"), "fix", false, false),
            (Some("Acme/X"), "fix", false, false),
            (Some("bob/x"), "fix", false, true),
            (None, "fix", false, true),
            (Some("acme/x"), "refs/pull/3/head", false, true),
            (Some("acme/x"), "fix", true, true),
        ] {
            let pull = PullRequest {
                head: side(head, branch),
                base: side(Some("acme/x"), "main"),
                from_fork: said,
                ..Default::default()
            };
            assert_eq!(pull.is_from_fork(), expected, "{head:?} {branch}");
        }
        assert!(PullRequest::default().is_from_fork(), "what says nothing is nobody's");
    }

    #[test]
    fn names() {
        for forge in [Forge::Github, Forge::Gitea] {
            assert_eq!(Forge::from_name(forge.name()), Some(forge));
        }
        assert_eq!(Forge::from_name("unknown"), None);
        assert_eq!(delivery(Forge::Gitea, "a", "b", None).dedup_key(), "gitea:d1");
        assert_eq!(delivery(Forge::Gitea, "a", "b", None).repository.unwrap().full_name(), "a/b");
    }
}
