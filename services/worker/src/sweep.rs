//! The other half of the answer to lost webhooks (G6): GitHub sends a webhook once, so its list of failed deliveries is read
//! now and then, and it is asked to send them again. What the poll finds first is no harm: a delivery that tells nothing new
//! changes nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use forge::redelivery::{Hook, Ledger, Redeliveries};
use forge::{Account, FeedbackError, RepositoryRef};
use jiff::{SignedDuration, Timestamp};
use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use crate::{Context, poll};

/// The first round: what was lost while the worker or the receiver was away shall not wait for a whole interval.
const FIRST: Duration = Duration::from_secs(15);
/// How long it is believed which webhooks there are, and that one may not ask.
const BELIEVED: SignedDuration = SignedDuration::from_hours(1);
/// Deliveries of one webhook that one round asks for; the rest have time until the next.
const MOST_AT_ONCE: usize = 50;
/// GitHub wants at least a second between requests that change something:
/// <https://docs.github.com/rest/using-the-rest-api/best-practices-for-using-the-rest-api>
const BETWEEN: Duration = Duration::from_secs(1);
/// Calls that may fail in one round before the forge is taken for broken; one repository alone shall not end it.
const MOST_BROKEN: usize = 3;

/// Sweeps until the worker is stopped.
pub async fn run(ctx: Arc<Context>, shutdown: CancellationToken) {
    let interval = ctx.config.options.redelivery_interval;
    if interval.is_zero() {
        // Not wanted. A task that ends is a worker that cannot go on, so this one waits.
        return shutdown.cancelled().await;
    }
    let mut sweeps: HashMap<String, Sweep> = HashMap::new();
    let mut pause = interval.min(FIRST);
    loop {
        let round = async {
            tokio::time::sleep(poll::jittered(pause)).await;
            let followed = followed(&ctx);
            sweeps.retain(|account, _| followed.contains_key(account));
            for (name, (account, repositories)) in followed {
                let Some(client) = account.client().redeliveries() else { continue };
                let sweep = sweeps.entry(name.clone()).or_insert_with(|| Sweep::new(&ctx.metrics.redeliveries));
                sweep.round(client, &repositories, Timestamp::now(), interval).await.tell(&name);
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = round => {}
        }
        pause = interval;
    }
}

/// The repositories that somebody follows, by the account that may ask for their deliveries.
fn followed(ctx: &Context) -> BTreeMap<String, (Account, Vec<RepositoryRef>)> {
    let mut followed: BTreeMap<String, (Account, Vec<RepositoryRef>)> = BTreeMap::new();
    for url in ctx.addresses() {
        if let Some((account, repository)) = ctx.application_sets.forges.for_url(&url.to_string(), None)
            && account.client().redeliveries().is_some()
        {
            let name = account.name().to_owned();
            let repositories = &mut followed.entry(name).or_insert_with(|| (account.clone(), Vec::new())).1;
            if !repositories.contains(&repository) {
                repositories.push(repository);
            }
        }
    }
    followed
}

/// What is known of one account's webhooks. Nothing of it is needed: without it the forge's whole list is read.
struct Sweep {
    looked: HashMap<RepositoryRef, Looked>,
    /// By path: several repositories may have the same one.
    ledgers: HashMap<String, Ledger>,
    /// Webhooks that may not be asked about.
    refused: HashMap<String, Timestamp>,
    /// The forge wants to be left alone until then.
    not_before: Timestamp,
    redeliveries: Counter,
}

/// The webhooks of a repository, and when that was found out.
struct Looked {
    at: Timestamp,
    hooks: Vec<Hook>,
}

/// What a person should know of a round.
#[derive(Default)]
struct Round {
    /// Where nothing may be asked for, and why.
    refused: Vec<(String, FeedbackError)>,
    broken: usize,
    /// Why it ended early.
    ended: Option<FeedbackError>,
}

impl Round {
    /// Says it in one line each.
    fn tell(&self, account: &str) {
        if let Some((place, reason)) = self.refused.first() {
            let places = self.refused.len();
            tracing::info!(account, place, places, %reason, "sweep.refused: failed deliveries are not asked for again");
        }
        if let Some(error) = &self.ended {
            tracing::warn!(account, %error, "sweep.ended: going on in the next round");
        }
    }

    /// Takes note of an error, and tells whether it will be so for a while. The round ends if the next call would fail too.
    fn failed(&mut self, place: &str, error: FeedbackError) -> Result<bool, FeedbackError> {
        match error {
            FeedbackError::RateLimited { .. } => return Err(error),
            FeedbackError::Transient { .. } => {
                self.broken += 1;
                if self.broken >= MOST_BROKEN {
                    return Err(error);
                }
                tracing::warn!(place, %error, "sweep.failed: trying again in the next round");
                return Ok(false);
            }
            FeedbackError::Unauthorized { .. } | FeedbackError::NotFound { .. } => {
                self.refused.push((place.to_owned(), error));
            }
            FeedbackError::Permanent { .. } => tracing::warn!(place, %error, "sweep.failed"),
        }
        Ok(true)
    }
}

impl Sweep {
    fn new(redeliveries: &Counter) -> Self {
        Self {
            looked: HashMap::new(),
            ledgers: HashMap::new(),
            refused: HashMap::new(),
            not_before: Timestamp::MIN,
            redeliveries: redeliveries.clone(),
        }
    }

    /// Reads what is new of each webhook that tells of these repositories, and asks for what has failed.
    async fn round(
        &mut self,
        client: &dyn Redeliveries,
        repositories: &[RepositoryRef],
        now: Timestamp,
        interval: Duration,
    ) -> Round {
        let mut round = Round::default();
        if now < self.not_before {
            return round;
        }
        if let Err(error) = self.sweep(client, repositories, now, interval, &mut round).await {
            if let FeedbackError::RateLimited { retry_after: Some(wait), .. }
            | FeedbackError::Transient { retry_after: Some(wait), .. } = &error
            {
                let wait = SignedDuration::try_from(*wait).unwrap_or(BELIEVED);
                self.not_before = now.checked_add(wait).unwrap_or(now);
            }
            round.ended = Some(error);
        }
        round
    }

    async fn sweep(
        &mut self,
        client: &dyn Redeliveries,
        repositories: &[RepositoryRef],
        now: Timestamp,
        interval: Duration,
        round: &mut Round,
    ) -> Result<(), FeedbackError> {
        let believed = |at: &Timestamp| now.duration_since(*at) < BELIEVED;
        self.refused.retain(|_, at| believed(at));
        self.looked.retain(|repository, looked| believed(&looked.at) && repositories.contains(repository));
        for repository in repositories {
            if self.looked.contains_key(repository) {
                continue;
            }
            let hooks = match client.hooks(repository).await {
                Ok(hooks) => hooks,
                Err(error) => match round.failed(&repository.to_string(), error)? {
                    true => Vec::new(),
                    false => continue,
                },
            };
            self.looked.insert(repository.clone(), Looked { at: now, hooks });
        }
        let hooks: BTreeMap<String, Hook> = self
            .looked
            .values()
            .flat_map(|looked| &looked.hooks)
            .map(|hook| (hook.path().to_owned(), hook.clone()))
            .collect();
        self.ledgers.retain(|path, _| hooks.contains_key(path));
        for (path, hook) in hooks {
            if self.refused.contains_key(&path) {
                continue;
            }
            if let Err(error) = self.ask_again(client, &hook, now, interval).await
                && round.failed(&path, error)?
            {
                self.refused.insert(path, now);
            }
        }
        Ok(())
    }

    /// Asks for what has failed of one webhook.
    async fn ask_again(
        &mut self,
        client: &dyn Redeliveries,
        hook: &Hook,
        now: Timestamp,
        interval: Duration,
    ) -> Result<(), FeedbackError> {
        let ledger = self.ledgers.entry(hook.path().to_owned()).or_default();
        ledger.learn(client.attempts(hook, ledger.read_from(now)).await?, now);
        for (number, attempt) in ledger.due(now, interval).into_iter().take(MOST_AT_ONCE).enumerate() {
            if number > 0 {
                tokio::time::sleep(BETWEEN).await;
            }
            ledger.asked(&attempt.guid, now);
            match client.redeliver(hook, attempt.id).await {
                Ok(()) => {}
                // It has become too old, or cannot be sent again; the others may.
                Err(error @ (FeedbackError::NotFound { .. } | FeedbackError::Permanent { .. })) => {
                    tracing::warn!(hook = hook.path(), delivery = attempt.guid, %error, "sweep.not_redelivered");
                    continue;
                }
                Err(error) => return Err(error),
            }
            self.redeliveries.inc();
            let (event, attempted) = (&attempt.event, attempt.at);
            tracing::info!(hook = hook.path(), delivery = attempt.guid, event, %attempted, "sweep.asked_again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use forge::redelivery::{Attempt, Outcome};

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(600);

    /// A forge that says what it is told to, and remembers what it was asked.
    #[derive(Default)]
    struct Fake {
        hooks: HashMap<String, Result<Vec<Hook>, FeedbackError>>,
        attempts: Mutex<HashMap<String, Result<Vec<Attempt>, FeedbackError>>>,
        redelivers: Option<FeedbackError>,
        asked: Mutex<Vec<String>>,
    }

    #[async_trait::async_trait]
    impl Redeliveries for Fake {
        async fn hooks(&self, repository: &RepositoryRef) -> Result<Vec<Hook>, FeedbackError> {
            self.asked.lock().unwrap().push(format!("hooks {repository}"));
            self.hooks.get(&repository.to_string()).cloned().unwrap_or_else(|| Ok(Vec::new()))
        }

        async fn attempts(&self, hook: &Hook, since: Timestamp) -> Result<Vec<Attempt>, FeedbackError> {
            self.asked.lock().unwrap().push(format!("attempts {}", hook.path()));
            let listed = self.attempts.lock().unwrap().get(hook.path()).cloned().unwrap_or_else(|| Ok(Vec::new()));
            listed.map(|attempts| attempts.into_iter().filter(|attempt| attempt.at >= since).collect())
        }

        async fn redeliver(&self, hook: &Hook, attempt: u64) -> Result<(), FeedbackError> {
            self.asked.lock().unwrap().push(format!("redeliver {} {attempt}", hook.path()));
            self.redelivers.clone().map_or(Ok(()), Err)
        }
    }

    impl Fake {
        /// Repositories with the webhooks that tell of them.
        fn with(hooks: &[(&str, &[&str])]) -> Self {
            let hooks = hooks.iter().map(|(repository, paths)| {
                let hooks = paths.iter().map(|path| Hook::new(*path, None)).collect();
                ((*repository).to_owned(), Ok(hooks))
            });
            Self { hooks: hooks.collect(), ..Self::default() }
        }

        fn list(&self, path: &str, attempts: &[(u64, &str, i64, Outcome)]) {
            let attempts = attempts.iter().map(|(id, guid, second, outcome)| Attempt {
                id: *id,
                guid: (*guid).to_owned(),
                event: "push".into(),
                at: time(*second),
                outcome: *outcome,
            });
            self.attempts.lock().unwrap().insert(path.to_owned(), Ok(attempts.rev().collect()));
        }

        /// What was asked since the last time.
        fn asked(&self) -> Vec<String> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }
    }

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn sweep() -> Sweep {
        Sweep::new(&Counter::default())
    }

    async fn round(sweep: &mut Sweep, fake: &Fake, repositories: &[&str], second: i64) -> Round {
        let of = |name: &&str| RepositoryRef::from_url(&format!("https://github.com/{name}")).unwrap();
        let repositories: Vec<RepositoryRef> = repositories.iter().map(of).collect();
        sweep.round(fake, &repositories, time(second), INTERVAL).await
    }

    fn refused() -> FeedbackError {
        FeedbackError::Unauthorized { message: "no".into() }
    }

    fn broken() -> FeedbackError {
        FeedbackError::Transient { retry_after: None, message: "502".into() }
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_failed_is_asked_for_again_until_it_arrives() {
        let fake = Fake::with(&[("acme/shop", &["/h/1"])]);
        let mut sweep = sweep();
        fake.list(
            "/h/1",
            &[(1, "a", -60, Outcome::Failed), (2, "b", -50, Outcome::Delivered), (3, "c", -40, Outcome::Failed)],
        );
        round(&mut sweep, &fake, &["acme/shop"], 0).await;
        assert_eq!(fake.asked(), ["hooks acme/shop", "attempts /h/1", "redeliver /h/1 1", "redeliver /h/1 3"]);
        // One has arrived, the other has not.
        fake.list(
            "/h/1",
            &[(3, "c", -40, Outcome::Failed), (4, "a", 2, Outcome::Delivered), (5, "c", 3, Outcome::Failed)],
        );
        round(&mut sweep, &fake, &["acme/shop"], 300).await;
        assert_eq!(fake.asked(), ["attempts /h/1"]);
        round(&mut sweep, &fake, &["acme/shop"], 603).await;
        assert_eq!(fake.asked(), ["attempts /h/1", "redeliver /h/1 5"]);
        assert_eq!(sweep.redeliveries.get(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_webhook_of_several_repositories_is_read_once() {
        let all: &[&str] = &["/orgs/acme/hooks/1"];
        let fake = Fake::with(&[("acme/shop", all), ("acme/gateway", all)]);
        let mut sweep = sweep();
        round(&mut sweep, &fake, &["acme/shop", "acme/gateway"], 0).await;
        assert_eq!(fake.asked(), ["hooks acme/shop", "hooks acme/gateway", "attempts /orgs/acme/hooks/1"]);
        round(&mut sweep, &fake, &["acme/gateway"], 600).await;
        assert_eq!(fake.asked(), ["attempts /orgs/acme/hooks/1"]);
        round(&mut sweep, &fake, &[], 1200).await;
        assert!(fake.asked().is_empty() && sweep.ledgers.is_empty() && sweep.looked.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_ask_is_told_so_once_an_hour() {
        let mut fake = Fake::default();
        fake.hooks.insert("acme/shop".into(), Err(refused()));
        let mut sweep = sweep();
        for (second, told) in [(0, 1), (600, 0), (3599, 0), (3600, 1), (4200, 0)] {
            let round = round(&mut sweep, &fake, &["acme/shop"], second).await;
            assert_eq!((round.refused.len(), fake.asked().len()), (told, told), "{second}");
        }
        // The list is shown, but nothing is sent again.
        let mut fake = Fake::with(&[("acme/shop", &["/h/1"])]);
        fake.redelivers = Some(refused());
        fake.list("/h/1", &[(1, "a", -60, Outcome::Failed), (2, "b", -50, Outcome::Failed)]);
        let mut sweep = self::sweep();
        for (second, told) in [(0, 1), (600, 0), (3000, 0), (3600, 1)] {
            let round = round(&mut sweep, &fake, &["acme/shop"], second).await;
            let asked = fake.asked().iter().filter(|line| line.starts_with("redeliver")).count();
            assert_eq!((round.refused.len(), asked), (told, told), "{second}");
        }
        assert_eq!(sweep.redeliveries.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delivery_that_is_gone_does_not_hold_up_the_others() {
        let mut fake = Fake::with(&[("acme/shop", &["/h/1"])]);
        fake.redelivers = Some(FeedbackError::NotFound { message: "404".into() });
        fake.list("/h/1", &[(1, "a", -60, Outcome::Failed), (2, "b", -50, Outcome::Failed)]);
        let round = round(&mut sweep(), &fake, &["acme/shop"], 0).await;
        assert!(round.refused.is_empty() && round.ended.is_none());
        assert_eq!(fake.asked()[2..], ["redeliver /h/1 1", "redeliver /h/1 2"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_forge_that_is_not_well_is_left_alone_and_asked_again() {
        let names = ["acme/a", "acme/b", "acme/c", "acme/d"];
        let mut fake = Fake::with(&[("acme/a", &["/h/1"]), ("acme/d", &["/h/4"])]);
        fake.hooks.insert("acme/b".into(), Err(broken()));
        let mut sweep = sweep();
        for second in [0, 600] {
            assert!(round(&mut sweep, &fake, &names, second).await.ended.is_none(), "one repository is not the forge");
            let asked = fake.asked();
            assert!(asked.contains(&"hooks acme/b".into()) && asked.contains(&"attempts /h/4".into()), "{asked:?}");
        }
        // Now all is broken: three calls, and no more.
        fake.attempts.lock().unwrap().insert("/h/1".into(), Err(broken()));
        fake.attempts.lock().unwrap().insert("/h/4".into(), Err(broken()));
        assert_eq!(round(&mut sweep, &fake, &names, 1200).await.ended, Some(broken()));
        assert_eq!(fake.asked(), ["hooks acme/b", "attempts /h/1", "attempts /h/4"]);

        let limited =
            FeedbackError::RateLimited { retry_after: Some(Duration::from_secs(900)), message: "slow".into() };
        fake.attempts.lock().unwrap().insert("/h/1".into(), Err(limited.clone()));
        assert_eq!(round(&mut sweep, &fake, &names, 1800).await.ended, Some(limited));
        assert_eq!(fake.asked(), ["hooks acme/b", "attempts /h/1"]);
        round(&mut sweep, &fake, &names, 2400).await;
        assert!(fake.asked().is_empty(), "it said 900 s");
        fake.attempts.lock().unwrap().clear();
        assert!(round(&mut sweep, &fake, &names, 2700).await.ended.is_none());
        assert!(fake.asked().contains(&"attempts /h/4".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn many_are_asked_for_slowly() {
        let fake = Fake::with(&[("acme/shop", &["/h/1"])]);
        let guids: Vec<String> = (0..MOST_AT_ONCE + 5).map(|number| format!("g{number}")).collect();
        let failed = guids.iter().zip(0_u64..).map(|(guid, id)| (id, guid.as_str(), id as i64 - 100, Outcome::Failed));
        fake.list("/h/1", &failed.collect::<Vec<_>>());
        let mut sweep = sweep();
        let start = tokio::time::Instant::now();
        round(&mut sweep, &fake, &["acme/shop"], 0).await;
        assert_eq!(fake.asked().len(), 2 + MOST_AT_ONCE);
        assert_eq!(start.elapsed(), BETWEEN * (MOST_AT_ONCE as u32 - 1));
        round(&mut sweep, &fake, &["acme/shop"], 300).await;
        assert_eq!(fake.asked().len(), 1 + 5);
    }
}
