use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const KEY: &str = "github:acme/gateway#12";

fn labeled() -> ForkPolicy {
    ForkPolicy::Labeled("preview".into())
}

fn pull(head: &str, labels: &[&str]) -> PullRequestEntry {
    PullRequestEntry {
        number: 12,
        head_sha: head.into(),
        author: "bob".into(),
        labels: labels.iter().map(|it| it.to_string()).collect(),
        fork: true,
        head_repository: "bob/gateway".into(),
        ..PullRequestEntry::default()
    }
}

#[test]
fn policies() {
    let of = |notes: Value| {
        let set = json!({ "metadata": { "name": "s", "annotations": notes }, "spec": {} });
        ForkPolicy::of(&ApplicationSet::parse(set).unwrap()).map_err(|error| error.to_string())
    };
    for (notes, expected) in [
        (json!({}), labeled()),
        (json!({ "lockstep.dev/preview-forks": "labeled" }), labeled()),
        (json!({ "lockstep.dev/preview-label": "ok to run" }), ForkPolicy::Labeled("ok to run".into())),
        (json!({ "lockstep.dev/preview-label": "" }), labeled()),
        (json!({ "lockstep.dev/preview-forks": "none" }), ForkPolicy::Never),
        (json!({ "lockstep.dev/preview-forks": " all " }), ForkPolicy::Always),
    ] {
        assert_eq!(of(notes.clone()), Ok(expected), "{notes}");
    }
    let said = of(json!({ "lockstep.dev/preview-forks": "yes" })).unwrap_err();
    assert_eq!(
        said,
        "metadata.annotations[lockstep.dev/preview-forks]: \"yes\" is not known; the values are labeled, none and all"
    );
}

#[test]
fn which_commit_has_a_preview_and_why_not() {
    let with = |labels: &[&str], approved: Option<&str>, fork: bool| PullRequestEntry {
        approved: approved.map(str::to_owned),
        fork,
        ..pull("2222222222", labels)
    };
    let (old, new) = ("1111111111", "2222222222");
    let from = "no preview: the pull request is from a fork";
    let to_label = "no preview: the pull request is from a fork; a maintainer sets the label \"preview\" to have one";
    let anew = "no preview: the label \"preview\" was not set for this commit; a maintainer sets it anew";
    let stays = "the preview stays at 1111111: a maintainer sets the label \"preview\" anew to have 2222222 previewed";
    for (policy, entry, commit, why) in [
        (labeled(), with(&[], None, false), Some(new), None),
        (ForkPolicy::Never, with(&[], None, false), Some(new), None),
        (labeled(), with(&[], None, true), None, Some(to_label)),
        (labeled(), with(&["preview"], None, true), None, Some(anew)),
        (labeled(), with(&["preview"], Some(new), true), Some(new), None),
        (labeled(), with(&["preview"], Some(old), true), Some(old), Some(stays)),
        (labeled(), with(&[], Some(new), true), None, Some(to_label)),
        (ForkPolicy::Never, with(&["preview"], Some(new), true), None, Some(from)),
        (ForkPolicy::Always, with(&[], None, true), Some(new), None),
    ] {
        assert_eq!(policy.commit(&entry), commit, "{policy:?} {entry:?}");
        assert_eq!(policy.why_not(&entry).as_deref(), why, "{policy:?} {entry:?}");
        assert!(why.is_none_or(|why| why.len() <= 140), "GitHub cuts a check's sentence: {why:?}");
    }
}

#[test]
fn which_events_are_a_maintainers_word() {
    let (bare, preset, other) = (pull("a1", &[]), pull("a1", &["preview"]), pull("00", &[]));
    let newer = PullRequestEntry { updated_at: 5, ..bare.clone() };
    let (none, preset, other, newer) = (Some(&bare), Some(&preset), Some(&other), Some(&newer));
    // labels, labeled, which label, sender, known before, approved
    for (name, labels, labeled_now, label, sender, before, expected) in [
        ("GitHub, the label", &["preview"][..], true, "preview", "ann", None, true),
        (
            "GitHub, the label, by the author, who needs the right for it",
            &["preview"],
            true,
            "preview",
            "bob",
            None,
            true,
        ),
        ("GitHub, another label", &["preview", "bug"], true, "bug", "ann", none, false),
        ("GitHub, opened with the label", &["preview"], false, "", "bob", None, false),
        ("Gitea, the label", &["preview"], true, "", "ann", none, true),
        ("Gitea, the label, and a push that was lost", &["preview"], true, "", "ann", other, false),
        ("Gitea, an event that comes late", &["preview"], true, "", "ann", newer, false),
        ("Gitea, opened with the label, which is an event of its own", &["preview"], true, "", "bob", none, false),
        ("Gitea, another label beside it", &["preview", "bug"], true, "", "ann", preset, false),
        ("Gitea, nothing known before", &["preview"], true, "", "ann", None, false),
        ("Gitea, nobody said to have done it", &["preview"], true, "", "", none, false),
        ("a push", &["preview"], false, "", "bob", preset, false),
    ] {
        let mut approvals = Approvals::default();
        let pull = pull("a1", labels);
        let event = LabelEvent { pull: &pull, closed: false, labeled: labeled_now, label, sender, before };
        approvals.take(&labeled(), KEY, &event);
        assert_eq!(approvals.commit(KEY).is_some(), expected, "{name}");
        assert_eq!(Approvals::parse(approvals.to_annotation().as_deref()), approvals, "{name}");
    }
}

#[test]
fn an_approval_ends() {
    let word = pull("a1", &["preview"]);
    let event = |pull, labeled, label| LabelEvent { pull, closed: false, labeled, label, sender: "ann", before: None };
    let approved = || {
        let mut approvals = Approvals::default();
        approvals.take(&labeled(), KEY, &event(&word, true, "preview"));
        assert_eq!(approvals.commit(KEY), Some("a1"));
        approvals
    };
    let (pushed, unlabelled) = (pull("b2", &["preview"]), pull("a1", &[]));
    let mut approvals = approved();
    approvals.take(&labeled(), KEY, &event(&pushed, false, ""));
    assert_eq!(approvals.commit(KEY), Some("a1"), "a push changes nothing");
    approvals.take(&labeled(), KEY, &event(&pushed, true, "preview"));
    assert_eq!(approvals.commit(KEY), Some("b2"));
    approvals.take(&labeled(), KEY, &event(&unlabelled, false, "preview"));
    assert_eq!(approvals, Approvals::default(), "without the label");
    let mut approvals = approved();
    approvals.take(&labeled(), KEY, &LabelEvent { closed: true, ..event(&word, false, "") });
    assert_eq!(approvals, Approvals::default(), "closed");
    let mut approvals = approved();
    approvals.retain("github:acme/other", &[]);
    approvals.retain("github:acme/gateway", &[7, 12]);
    assert_eq!(approvals.commit(KEY), Some("a1"));
    approvals.retain("github:acme/gateway", &[7]);
    assert_eq!(approvals.commit(KEY), None, "no longer open");
    for broken in ["", "[]", "{\"x\": 1}", "{\"x\": {\"by\": \"ann\"}}"] {
        assert_eq!(Approvals::parse(Some(broken)), Approvals::default(), "{broken}");
    }
}

#[test]
fn what_follows_a_fork() {
    let params = |fork: Value| {
        let params = json!({ "fork": fork, "number": "12", "head_repository": "Bob/Gateway", "head_sha": "a1" });
        params.as_object().unwrap().clone()
    };
    for (repository, revision, expected) in [
        ("https://github.com/acme/gateway", "a1", false),
        ("https://github.com/acme/gateway", "main", false),
        ("https://github.com/acme/gateway", "refs/pull/12/head", true),
        ("https://github.com/acme/gateway", "refs/pull/12/merge", true),
        ("https://github.com/acme/gateway", "pull/12/head", true),
        ("https://github.com/bob/gateway.git", "a1", false),
        ("https://github.com/bob/gateway.git", "fix", true),
        ("https://github.com/bob/gateway/", "", true),
        ("git@github.com:bob/gateway", "HEAD", true),
        ("https://github.com/bigbob/gateway", "fix", false),
    ] {
        for fork in [json!(true), json!("true")] {
            assert_eq!(follows_fork(&params(fork), repository, revision), expected, "{repository} {revision}");
        }
        assert!(!follows_fork(&params(json!(false)), repository, revision));
    }
}

/// What can happen around a fork's pull request.
#[derive(Clone, Debug)]
enum Step {
    /// The author opens it, on Gitea with the label if they like.
    Open {
        labelled: bool,
    },
    /// The author pushes another commit.
    Push,
    /// A maintainer sets the label.
    Label,
    /// A maintainer sets another label.
    OtherLabel,
    /// A maintainer takes the label away.
    Unlabel,
    Close,
    Reopen,
    /// The list of open pull requests is read.
    List,
    /// The worker starts anew and has only what it wrote down.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<(Step, Fate)>> {
    let step = prop_oneof![
        any::<bool>().prop_map(|labelled| Step::Open { labelled }),
        Just(Step::Push),
        Just(Step::Push),
        Just(Step::Label),
        Just(Step::Label),
        Just(Step::OtherLabel),
        Just(Step::Unlabel),
        Just(Step::Close),
        Just(Step::Reopen),
        Just(Step::List),
        Just(Step::Restart),
    ];
    let fate =
        prop_oneof![4 => Just(Fate::Arrives), 1 => Just(Fate::Lost), 1 => Just(Fate::Late), 1 => Just(Fate::Twice)];
    prop::collection::vec((step, fate), 1..40)
}

/// What becomes of the webhook of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Arrives,
    Lost,
    /// After everything else.
    Late,
    Twice,
}

/// A webhook as it arrives.
#[derive(Clone, Debug)]
struct Told {
    pull: PullRequestEntry,
    closed: bool,
    labeled: bool,
    label: String,
    sender: String,
}

/// The forge: what is there, and which commits a maintainer's label has met.
struct World {
    gitea: bool,
    pull: PullRequestEntry,
    open: bool,
    commits: u32,
    approved: HashSet<String>,
}

impl World {
    fn told(&self, labeled: bool, label: &str, sender: &str) -> Told {
        let label = if self.gitea { "" } else { label };
        Told { pull: self.pull.clone(), closed: !self.open, labeled, label: label.into(), sender: sender.into() }
    }

    fn commit(&mut self) {
        self.commits += 1;
        self.pull.head_sha = format!("{:040}", self.commits);
    }

    /// Does what the step says, and gives the webhooks that tell of it.
    fn step(&mut self, step: &Step) -> Vec<Told> {
        self.pull.updated_at += 1;
        match step {
            Step::Open { labelled } if !self.open && self.commits == 0 => {
                self.open = true;
                self.commit();
                if *labelled && self.gitea {
                    self.pull.labels.push("preview".into());
                    // Gitea tells of labels that were there from the beginning as if the author had set them.
                    return vec![self.told(false, "", "bob"), self.told(true, "preview", "bob")];
                }
                vec![self.told(false, "", "bob")]
            }
            Step::Push if self.open => {
                self.commit();
                vec![self.told(false, "", "bob")]
            }
            Step::Label if self.open && !self.pull.labels.contains(&"preview".into()) => {
                self.pull.labels.push("preview".into());
                self.approved.insert(self.pull.head_sha.clone());
                vec![self.told(true, "preview", "ann")]
            }
            Step::OtherLabel if self.open => {
                self.pull.labels.push(format!("bug-{}", self.pull.labels.len()));
                let label = self.pull.labels.last().cloned().unwrap();
                vec![self.told(true, &label, "ann")]
            }
            Step::Unlabel if self.open => {
                self.pull.labels.retain(|label| label != "preview");
                // Gitea calls every change of labels by the same name.
                vec![self.told(self.gitea, "preview", "ann")]
            }
            Step::Close if self.open => {
                self.open = false;
                vec![self.told(false, "", "bob")]
            }
            Step::Reopen if !self.open && self.commits > 0 => {
                self.open = true;
                vec![self.told(false, "", "bob")]
            }
            _ => Vec::new(),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Whatever the order in which webhooks come, are lost or come twice: no commit is previewed that no maintainer let in.
    #[test]
    fn no_commit_is_previewed_that_nobody_approved(steps in steps(), gitea in any::<bool>()) {
        let mut world = World { gitea, pull: pull("", &[]), open: false, commits: 0, approved: HashSet::new() };
        let (mut approvals, mut known, mut late) = (Approvals::default(), None::<PullRequestEntry>, Vec::new());
        let policy = labeled();
        let take = |approvals: &mut Approvals, known: &mut Option<PullRequestEntry>, told: &Told| {
            let before = known.clone();
            approvals.take(&policy, KEY, &LabelEvent {
                pull: &told.pull,
                closed: told.closed,
                labeled: told.labeled,
                label: &told.label,
                sender: &told.sender,
                before: before.as_ref(),
            });
            *known = (!told.closed).then(|| told.pull.clone());
        };
        let check = |approvals: &Approvals, known: &Option<PullRequestEntry>, world: &World| {
            if let Some(mut entry) = known.clone() {
                entry.approved = approvals.commit(KEY).map(str::to_owned);
                if let Some(commit) = policy.commit(&entry) {
                    prop_assert!(world.approved.contains(commit), "{commit} runs; approved are {:?}", world.approved);
                }
            }
            Ok(())
        };
        for (step, fate) in &steps {
            match step {
                Step::List => known = world.open.then(|| world.pull.clone()),
                Step::Restart => {
                    approvals = Approvals::parse(approvals.to_annotation().as_deref());
                    known = None;
                }
                _ => {}
            }
            for told in world.step(step) {
                match fate {
                    Fate::Arrives => take(&mut approvals, &mut known, &told),
                    Fate::Twice => {
                        take(&mut approvals, &mut known, &told);
                        take(&mut approvals, &mut known, &told);
                    }
                    Fate::Late => late.push(told),
                    Fate::Lost => {}
                }
                check(&approvals, &known, &world)?;
            }
        }
        for told in late {
            take(&mut approvals, &mut known, &told);
            check(&approvals, &known, &world)?;
        }
    }
}
