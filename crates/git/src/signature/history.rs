//! Verifying a piece of history: every commit that has come since the last one, back to a seal.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use gix::ObjectId;
use tokio::task::JoinSet;

use super::envelope::seconds;
use super::{Signature, Verifier};
use crate::mirror::Mirror;
use crate::repository::blocking;
use crate::{Commit, GitError, Keys, Repository};

/// Commits that are verified at most. At 4 ms each, as measured on two cores, that is 12 s.
const MAX_COMMITS: usize = 3_000;
/// Commits that are read at most to find out which those are.
const MAX_READ: usize = 200_000;
/// Commits that are named.
const MAX_REFUSED: usize = 10;
/// Between two looks at whether enough have been refused.
const AT_ONCE: usize = 64;
/// Argo CD's: whoever signs a commit with this trailer vouches for everything before it.
const SEAL: &str = "argocd-gpg-seal:";

/// What verifying a piece of history came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// How many commits were looked at.
    pub commits: usize,
    /// The newest ones (at most ten) that are not trusted, and why. Empty: all is well.
    pub refused: Vec<(Commit, Signature)>,
}

impl Repository {
    /// Verifies a commit and everything before it, except what comes before `from` (the commit that was verified last) and
    /// before a seal: a commit with the trailer `Argocd-gpg-seal: WHY` whose own signature is trusted. Without `from`, or
    /// when `from` is no longer there because history was rewritten, back to the beginning.
    ///
    /// `trusted` decides on a signature, usually by the keys of the policy. The commit itself is always verified. Merged
    /// branches count with all their commits.
    ///
    /// # Errors
    /// [`GitError::HistoryTooLong`] for more than 3,000 commits; otherwise see [`verify`](Self::verify).
    pub async fn verify_range(
        &self,
        from: Option<&Commit>,
        to: &Commit,
        keys: &Keys,
        trusted: impl Fn(&Signature) -> bool + Sync,
    ) -> Result<Verified, GitError> {
        let verifier = self.verifier(keys)?;
        let absent = || GitError::NotFetched { repository: self.url().to_string(), commit: to.to_string() };
        let newest = self.mirror().peel(to.id()?)?.ok_or_else(absent)?;
        let mut walk = Walk::new(Arc::clone(self.mirror()), newest);
        if let Some(from) = from
            && let Some(from) = self.mirror().peel(from.id()?)?
        {
            walk.add(from, true)?;
        }
        let too_long = || GitError::HistoryTooLong {
            repository: self.url().to_string(),
            commit: to.to_string(),
            limit: MAX_COMMITS,
        };
        loop {
            let (walked, stop) = blocking(move || {
                let stop = walk.go_on()?;
                Ok((walk, stop))
            })
            .await?;
            walk = walked;
            match stop {
                Stop::AtSeal(seal) => {
                    let vouched = trusted(&verifier.object(seal).await?);
                    walk.pass(seal, vouched)?;
                }
                Stop::TooLong => return Err(too_long()),
                Stop::AtEnd => break,
            }
        }
        let mut wanted = walk.found();
        if !wanted.contains(&newest) {
            wanted.insert(0, newest);
        }
        let mut verified = Verified { commits: 0, refused: Vec::new() };
        for part in wanted.chunks(AT_ONCE) {
            verified.commits += part.len();
            for (id, signature) in verifier.all(part).await? {
                if !trusted(&signature) && verified.refused.len() < MAX_REFUSED {
                    verified.refused.push((Commit::from_id(id), signature));
                }
            }
            if verified.refused.len() == MAX_REFUSED {
                break;
            }
        }
        Ok(verified)
    }
}

impl Verifier {
    /// Verifies several objects side by side and returns them in their order.
    async fn all(&self, ids: &[ObjectId]) -> Result<Vec<(ObjectId, Signature)>, GitError> {
        let mut running = JoinSet::new();
        for (place, id) in ids.iter().copied().enumerate() {
            let this = self.clone();
            running.spawn(async move { this.object(id).await.map(|signature| (place, id, signature)) });
        }
        let mut done = Vec::with_capacity(ids.len());
        while let Some(finished) = running.join_next().await {
            let interrupted =
                |_| GitError::NotVerified { what: "the history".into(), message: "the work was interrupted".into() };
            done.push(finished.map_err(interrupted)??);
        }
        done.sort_unstable_by_key(|(place, ..)| *place);
        Ok(done.into_iter().map(|(_, id, signature)| (id, signature)).collect())
    }
}

/// Why a walk has stopped.
enum Stop {
    /// At a commit that seals what is before it, if its signature is trusted: [`Walk::pass`] says so.
    AtSeal(ObjectId),
    TooLong,
    AtEnd,
}

/// Walks back through history, the newest first, with two colours: what has to be verified, and what lies before a commit that
/// vouches for it. A commit gets the second colour only along the lines of its children, so wrong dates can lead to more being
/// verified and never to less.
struct Walk {
    mirror: Arc<Mirror>,
    seen: HashMap<ObjectId, Seen>,
    ahead: BinaryHeap<(i64, Reverse<ObjectId>)>,
    /// How many in `ahead` have to be verified.
    open: usize,
    wanted: Vec<ObjectId>,
    oldest_wanted: i64,
}

struct Seen {
    parents: Vec<ObjectId>,
    seconds: i64,
    seals: bool,
    vouched: bool,
    passed: bool,
}

impl Walk {
    fn new(mirror: Arc<Mirror>, newest: ObjectId) -> Self {
        let (seen, ahead) = (HashMap::new(), BinaryHeap::new());
        let mut walk = Self { mirror, seen, ahead, open: 0, wanted: Vec::new(), oldest_wanted: i64::MAX };
        // Read by the first step, where errors have a place to go.
        walk.ahead.push((i64::MAX, Reverse(newest)));
        walk.open = 1;
        walk
    }

    /// Puts a commit ahead, or gives one that was seen the colour of what is vouched for.
    fn add(&mut self, id: ObjectId, vouched: bool) -> Result<(), GitError> {
        if let Some(seen) = self.seen.get_mut(&id) {
            if vouched && !seen.vouched {
                seen.vouched = true;
                if seen.passed {
                    // Its parents have to learn of it.
                    seen.passed = false;
                    self.ahead.push((seen.seconds, Reverse(id)));
                } else {
                    self.open -= 1;
                }
            }
            return Ok(());
        }
        let seen = Seen::read(&self.mirror, id, vouched)?;
        self.ahead.push((seen.seconds, Reverse(id)));
        self.seen.insert(id, seen);
        self.open += usize::from(!vouched);
        Ok(())
    }

    fn go_on(&mut self) -> Result<Stop, GitError> {
        while let Some((time, Reverse(id))) = self.ahead.pop() {
            if time == i64::MAX && !self.seen.contains_key(&id) {
                self.open -= 1;
                self.add(id, false)?;
                continue;
            }
            let Some(seen) = self.seen.get_mut(&id).filter(|seen| !seen.passed) else { continue };
            seen.passed = true;
            if seen.vouched {
                if self.open == 0 && (seen.seconds < self.oldest_wanted || self.seen.len() > MAX_READ) {
                    // Nothing that is wanted can lie further back.
                    return Ok(Stop::AtEnd);
                }
                self.pass(id, true)?;
            } else {
                self.open -= 1;
                self.oldest_wanted = self.oldest_wanted.min(seen.seconds);
                let seals = seen.seals;
                self.wanted.push(id);
                if self.wanted.len() > MAX_COMMITS || self.seen.len() > MAX_READ {
                    return Ok(Stop::TooLong);
                }
                if seals {
                    return Ok(Stop::AtSeal(id));
                }
                self.pass(id, false)?;
            }
        }
        Ok(Stop::AtEnd)
    }

    /// Goes on to a commit's parents.
    fn pass(&mut self, id: ObjectId, vouched: bool) -> Result<(), GitError> {
        let parents = self.seen.get(&id).map(|seen| seen.parents.clone()).unwrap_or_default();
        parents.into_iter().try_for_each(|parent| self.add(parent, vouched))
    }

    /// What has to be verified, the newest first.
    fn found(self) -> Vec<ObjectId> {
        let Self { wanted, seen, .. } = self;
        wanted.into_iter().filter(|id| seen.get(id).is_some_and(|seen| !seen.vouched)).collect()
    }
}

impl Seen {
    fn read(mirror: &Mirror, id: ObjectId, vouched: bool) -> Result<Self, GitError> {
        mirror.with(|repository| {
            let commit = repository.find_commit(id).map_err(|e| mirror.damage(e))?;
            let parents = commit.parent_ids().map(gix::Id::detach).collect();
            // Old repositories have dates that cannot be read.
            let seconds = seconds(&commit.data, b"committer ").unwrap_or(0).min(i64::MAX - 1);
            Ok(Self { parents, seconds, seals: seals(&commit.data), vouched, passed: false })
        })
    }
}

/// Whether the commit's message ends with the trailer of a seal: in its last paragraph, which is not the subject.
fn seals(commit: &[u8]) -> bool {
    let Some(start) = commit.windows(2).position(|pair| pair == b"\n\n") else { return false };
    let message = String::from_utf8_lossy(&commit[start + 2..]);
    let lines: Vec<&str> = message.trim().lines().map(str::trim_end).collect();
    let Some(gap) = lines.iter().rposition(|line| line.is_empty()) else { return false };
    lines[gap..].iter().any(|line| line.get(..SEAL.len()).is_some_and(|start| start.eq_ignore_ascii_case(SEAL)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_is_a_trailer() {
        for (message, want) in [
            ("approve\n\nArgocd-gpg-seal: reviewed\n", true),
            ("approve\n\nwhy\n\nSigned-off-by: Joe\nArgoCD-GPG-Seal: reviewed\n\n\n", true),
            ("approve\r\n\r\nArgocd-gpg-seal: reviewed\r\n", true),
            ("Argocd-gpg-seal: as a subject\n", false),
            ("approve\n\nArgocd-gpg-seal: reviewed\n\nmore words\n", false),
            ("approve\n\n Argocd-gpg-seal: indented\n", false),
            ("approve\n\nwe want Argocd-gpg-seal: here\n", false),
            ("approve\n\nArgocd-gpg-sealed\n", false),
            ("", false),
        ] {
            assert_eq!(seals(format!("tree 1\ncommitter J\n\n{message}").as_bytes()), want, "{message:?}");
        }
        assert!(!seals(b"tree 1\nargocd-gpg-seal: x"));
    }
}
