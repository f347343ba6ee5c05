//! *Compare*: what is desired with what is live.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use cluster::ApplyOptions;
use engine::compare::{CompareOptions, CompareRules, Difference, compare as differ, compare_predicted};
use engine::health::{Health, ResourceHealth, aggregate, ignores_health_check};
use engine::ownership::owner_of;
use engine::plan::Part;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use resources::{Object, ObjectKey, SyncStatus, annotations, option};

use super::render::spec_hash;
use super::{Cause, Pass, Stop, hooks, shared};
use crate::customizations::Settings;
use crate::registry::Desired;

/// So many reads of one application are under way at once.
const READS: usize = 16;

/// One object of the application, desired, live or both.
#[derive(Clone, Debug)]
pub struct Resource {
    /// What it is.
    pub key: ObjectKey,
    /// Its version, as desired or else as live.
    pub version: String,
    /// As Git wants it; `None`: it is to go.
    pub desired: Option<Arc<Object>>,
    /// As the cluster has it.
    pub live: Option<Arc<Object>>,
    /// What differs; `None` where there is nothing to compare.
    pub difference: Option<Difference>,
    /// How well it is.
    pub health: Option<Health>,
    /// In sync or not.
    pub status: SyncStatus,
    /// A hook is run by an operation and says nothing about sync.
    pub hook: bool,
    /// The live object is not desired and nothing forbids to prune it.
    pub requires_pruning: bool,
    /// The live object is this application's.
    pub owned: bool,
    /// Another application has it and wants it too, or wants it while this one no longer does: it is left to that one.
    pub held_by: Option<String>,
}

/// What a comparison came to, kept for the next one: of an object that has not changed on either side the answer is known, so a
/// change of one object costs what that one costs.
#[derive(Debug)]
pub struct Compared {
    desired: Arc<Desired>,
    settings: Arc<Settings>,
    /// The Application's own compare options.
    options: Option<String>,
    comparison: Comparison,
    /// Where each object stands, by the hash of its key.
    places: Places,
    /// How many of the desired objects are the application's own.
    owned: usize,
    /// Nothing but its own objects decides, and it has none that are not desired: with those that were touched it can be brought up
    /// to date.
    closed: bool,
}

/// The application as a whole.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Each of its objects, desired ones first, in the order of the render.
    pub resources: Arc<Vec<Arc<Resource>>>,
    /// The places of those that are out of sync.
    out: BTreeSet<usize>,
    /// How well it is.
    pub health: Health,
    /// It has nothing but hooks, and these have not run as they are now.
    pub hooks_due: bool,
}

impl Comparison {
    fn new(resources: Vec<Arc<Resource>>) -> Self {
        let health = aggregated(&resources);
        let out = (0..resources.len()).filter(|&place| is_out(&resources[place])).collect();
        Self { resources: Arc::new(resources), out, health, hooks_due: false }
    }

    /// One object is another one now.
    fn replace(&mut self, place: usize, resource: Arc<Resource>) {
        if is_out(&resource) {
            self.out.insert(place);
        } else {
            self.out.remove(&place);
        }
        Arc::make_mut(&mut self.resources)[place] = resource;
    }

    /// In sync or not.
    pub fn sync(&self) -> SyncStatus {
        if self.out.is_empty() && !self.hooks_due { SyncStatus::Synced } else { SyncStatus::OutOfSync }
    }

    /// Judges the application again, after more is known of an object's health.
    pub fn judge(&mut self) {
        self.health = aggregated(&self.resources);
    }

    /// The objects that are out of sync.
    pub fn out(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.out.iter().filter_map(|&place| self.resources.get(place))
    }

    /// How many objects are left to be pruned, if nothing else is out of sync.
    pub fn only_unpruned(&self) -> Option<usize> {
        let all = !self.out.is_empty() && self.out().all(|resource| resource.requires_pruning);
        all.then_some(self.out.len())
    }

    /// The first object that is out of sync and how, in a sentence.
    pub fn first_difference(&self) -> String {
        let Some(first) = self.out().next() else {
            return if self.hooks_due { hooks::NOT_RUN.to_owned() } else { String::new() };
        };
        match &first.difference {
            _ if first.requires_pruning => format!("{} is not in Git", first.key),
            Some(difference) => format!("{} {difference}", first.key),
            None => first.key.to_string(),
        }
    }

    /// What is said of objects that another application wants too, a sentence each.
    pub fn shared(&self) -> impl Iterator<Item = String> {
        self.resources.iter().filter(|resource| resource.desired.is_some()).filter_map(|resource| {
            let owner = resource.held_by.as_ref()?;
            Some(format!(
                "{} is also part of application {owner}, which keeps it; remove it from one of the two",
                resource.key
            ))
        })
    }

    /// Why the application cannot be as Git wants it: another one has an object and wants it otherwise.
    pub fn contested(&self) -> Option<String> {
        let out = self.out().find(|resource| resource.held_by.is_some())?;
        let owner = out.held_by.as_ref()?;
        let difference = out.difference.as_ref().map(|difference| format!(": {difference}")).unwrap_or_default();
        Some(format!(
            "{} belongs to application {owner}, which wants it otherwise; remove it from one of the two{difference}",
            out.key
        ))
    }

    #[cfg(test)]
    pub(crate) fn for_test(sync: SyncStatus, status: resources::HealthStatus, message: &str) -> Self {
        let out = BTreeSet::from_iter((sync == SyncStatus::OutOfSync).then_some(0));
        Self { resources: Arc::default(), out, health: Health::new(status, message), hooks_due: false }
    }
}

fn is_out(resource: &Resource) -> bool {
    resource.status == SyncStatus::OutOfSync
}

/// What the last render wanted, if nothing but live objects has changed since.
pub fn remembered(pass: &Pass<'_>) -> Option<Arc<Desired>> {
    if !pass.causes.only_live() || pass.application.operation.is_some() {
        return None;
    }
    let desired = {
        let state = pass.managed.state();
        // A commit that is still on its way is looked for.
        let desired = state.desired.clone()?;
        if state.wanted.iter().any(|wanted| wanted.is_pending() && !desired.commits.contains(&wanted.commit)) {
            return None;
        }
        desired
    };
    (desired.spec == spec_hash(pass)).then_some(desired)
}

/// Compares the objects of the application: all of them, or where the rest is known only those that were touched since.
pub async fn compare(pass: &Pass<'_>, desired: &Arc<Desired>) -> Result<Comparison, Stop> {
    let settings = pass.ctx.customizations.get();
    let owner = pass.tracking_name();
    // Before anything is looked at, so that what is touched from now on is for the next time.
    let touched = pass.ctx.live.take_touched(&owner);
    let mut known = pass.managed.state().compared.take();
    if let Some(compared) = &mut known
        && let Some(touched) = touched
        && compared.is_of(pass, desired, &settings)
        && update(pass, &owner, compared, touched).await?
    {
        judge_again(pass, &mut compared.comparison, Timestamp::now());
        let comparison = compared.comparison.clone();
        pass.managed.state().compared = known;
        return Ok(comparison);
    }
    let earlier = known.as_ref().map(|compared| compared.earlier(pass, desired, &settings)).unwrap_or_default();
    drop(known);
    let mut compared = whole(pass, desired, settings, &owner, earlier).await?;
    judge_again(pass, &mut compared.comparison, Timestamp::now());
    let comparison = compared.comparison.clone();
    let mut state = pass.managed.state();
    let shared = |resource: &Arc<Resource>| resource.desired.is_some() && resource.held_by.is_some();
    state.shares = comparison.resources.iter().any(shared);
    state.compared = Some(Box::new(compared));
    Ok(comparison)
}

/// What was new when it was judged, and has stayed as it was, may by now be late.
fn judge_again(pass: &Pass<'_>, comparison: &mut Comparison, now: Timestamp) {
    let late = late(&comparison.resources, now);
    for &place in &late {
        let mut resource = (*comparison.resources[place]).clone();
        resource.health = resource.live.as_deref().and_then(|live| pass.ctx.health(live));
        comparison.replace(place, Arc::new(resource));
    }
    if !late.is_empty() {
        comparison.judge();
    }
}

/// The objects whose health is not up to date any more by time alone.
fn late(resources: &[Arc<Resource>], now: Timestamp) -> Vec<usize> {
    let until = |place: usize| resources[place].health.as_ref().and_then(|health| health.until);
    (0..resources.len()).filter(|&place| until(place).is_some_and(|until| until <= now)).collect()
}

/// Compares what was touched; `false`: not everything can be told from that.
async fn update(
    pass: &Pass<'_>,
    owner: &str,
    compared: &mut Compared,
    touched: HashSet<ObjectKey>,
) -> Result<bool, Stop> {
    let mut judged = false;
    for key in touched {
        let Some(place) = place_of(&compared.places, &compared.comparison.resources, &key) else { return Ok(false) };
        let before = compared.comparison.resources[place].clone();
        let Some(desired) = &before.desired else { return Ok(false) };
        let live = pass.ctx.live.get(&key);
        if live.is_none() && may_be_unowned(pass, desired) {
            return Ok(false);
        }
        let after = compare_one(pass, owner, key, desired, live, pass.rules()).await?;
        if after.held_by.is_some() {
            return Ok(false);
        }
        judged |= before.part_of_health() != after.part_of_health();
        compared.owned = compared.owned + usize::from(after.owned) - usize::from(before.owned);
        compared.comparison.replace(place, Arc::new(after));
    }
    if judged {
        compared.comparison.judge();
    }
    Ok(compared.owned == pass.ctx.live.count_owned_by(owner))
}

/// Compares everything that is desired or owned.
async fn whole(
    pass: &Pass<'_>,
    desired: &Arc<Desired>,
    settings: Arc<Settings>,
    owner: &str,
    earlier: Earlier,
) -> Result<Compared, Stop> {
    if !pass.scope.remembered || earlier.is_empty() {
        watch_kinds(pass, desired).await?;
    }
    let rules = pass.rules();
    let mut resources = Vec::with_capacity(desired.objects.len());
    let (unowned, asked) = unowned(pass, desired).await?;
    for object in &desired.objects {
        if let Some(known) = earlier.get(&place(object)).filter(|known| is_unchanged(pass, known, &unowned)) {
            resources.push((*known).clone());
            continue;
        }
        if pass.ctx.is_excluded(object.group(), object.kind()) {
            continue;
        }
        let key = object.key();
        let live = pass.ctx.live.get(&key).or_else(|| unowned.get(&key).cloned());
        resources.push(Arc::new(compare_one(pass, owner, key, object, live, rules).await?));
    }
    drop(earlier);
    let mut closed = !asked && resources.iter().all(|resource| resource.held_by.is_none());
    let owned = resources.iter().filter(|resource| resource.owned).count();
    // Those that are desired are all that it owns, most of the time.
    if owned != pass.ctx.live.count_owned_by(owner) {
        closed = false;
        let wanted: HashSet<ObjectKey> = resources.iter().map(|resource| resource.key.clone()).collect();
        let mut left: Vec<(ObjectKey, Arc<Object>)> =
            pass.ctx.live.owned_by(owner).into_iter().map(|live| (live.key(), live)).collect();
        left.retain(|(key, _)| !wanted.contains(key) && !pass.ctx.is_excluded(&key.group, &key.kind));
        let keys: Vec<&ObjectKey> = left.iter().map(|(key, _)| key).collect();
        let mut heirs = shared::heirs(pass.ctx, &pass.managed.id, &keys);
        for (key, live) in left {
            let heir = heirs.remove(&key);
            resources.push(Arc::new(extraneous(pass, key, live, heir)));
        }
    }
    Ok(Compared {
        desired: desired.clone(),
        settings,
        options: options(pass).map(str::to_owned),
        places: places(&resources),
        owned,
        closed,
        comparison: Comparison::new(resources),
    })
}

type Earlier = HashMap<usize, Arc<Resource>>;

impl Compared {
    /// Whether what was touched since is all that may be otherwise now.
    fn is_of(&self, pass: &Pass<'_>, desired: &Arc<Desired>, settings: &Arc<Settings>) -> bool {
        let looked = pass.scope.remembered || pass.scope.compared;
        self.closed
            && looked
            && !pass.causes.has(Cause::HardRefresh)
            && Arc::ptr_eq(&self.desired, desired)
            && self.holds(pass, settings)
    }

    /// Whether it was made by the same rules.
    fn holds(&self, pass: &Pass<'_>, settings: &Arc<Settings>) -> bool {
        Arc::ptr_eq(&self.settings, settings) && self.options.as_deref() == options(pass)
    }

    /// What was known of each desired object, if the same rules hold.
    fn earlier(&self, pass: &Pass<'_>, desired: &Desired, settings: &Arc<Settings>) -> Earlier {
        let same = self.desired.spec == desired.spec && self.holds(pass, settings);
        if !same || pass.causes.has(Cause::HardRefresh) {
            return Earlier::new();
        }
        let known = self.comparison.resources.iter();
        known.filter_map(|resource| Some((place(resource.desired.as_ref()?), resource.clone()))).collect()
    }
}

type Places = Box<[(u64, usize)]>;

fn places(resources: &[Arc<Resource>]) -> Places {
    let mut places: Places =
        resources.iter().enumerate().map(|(place, resource)| (hash(&resource.key), place)).collect();
    places.sort_unstable();
    places
}

fn place_of(places: &Places, resources: &[Arc<Resource>], key: &ObjectKey) -> Option<usize> {
    let hash = hash(key);
    let first = places.partition_point(|(known, _)| *known < hash);
    let mut same = places[first..].iter().take_while(|(known, _)| *known == hash).map(|(_, place)| *place);
    same.find(|&place| resources[place].key == *key)
}

fn hash(key: &ObjectKey) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}

/// Tells a desired object from every other one for as long as somebody holds it.
fn place(object: &Arc<Object>) -> usize {
    Arc::as_ptr(object) as usize
}

fn is_unchanged(pass: &Pass<'_>, known: &Resource, unowned: &HashMap<ObjectKey, Arc<Object>>) -> bool {
    if known.held_by.is_some() {
        return false;
    }
    match (&known.live, pass.ctx.live.get(&known.key)) {
        (Some(before), Some(now)) => Arc::ptr_eq(before, &now),
        (None, None) => !unowned.contains_key(&known.key),
        _ => false,
    }
}

fn aggregated(resources: &[Arc<Resource>]) -> Health {
    aggregate(resources.iter().filter(|resource| !resource.hook).map(|resource| resource.part_of_health()))
}

impl Resource {
    /// What it adds to the application's health, if it is no hook.
    fn part_of_health(&self) -> ResourceHealth<'_> {
        ResourceHealth {
            key: &self.key,
            health: self.health.as_ref(),
            missing: self.live.is_none(),
            ignored: self.live.as_deref().is_some_and(ignores_health_check)
                || is_child_application(&self.key)
                || (self.desired.is_none() && self.live.is_none()),
        }
    }
}

/// A child Application speaks for itself, on the same commit: as in Argo CD, its health does not count for its parent, so
/// that production waiting for approval does not make the root unhealthy.
fn is_child_application(key: &ObjectKey) -> bool {
    key.group == crate::context::GROUP && (key.kind == "Application" || key.kind == "ApplicationSet")
}

/// Each kind that is desired, or that the application had before, is watched.
async fn watch_kinds(pass: &Pass<'_>, desired: &Desired) -> Result<(), Stop> {
    let desired = desired.objects.iter().map(|object| (object.group(), object.version(), object.kind()));
    let had = pass.application.status.iter().flat_map(|status| &status.resources);
    let had = had.map(|resource| (resource.group.as_str(), resource.version.as_str(), resource.kind.as_str()));
    // Each kind once, in the first version that is named.
    let mut asked: HashSet<(&str, &str)> = HashSet::new();
    let mut kinds: Vec<(&str, &str, &str)> = desired.chain(had).collect();
    kinds.retain(|&(group, _, kind)| asked.insert((group, kind)));
    kinds.retain(|(group, _, kind)| !pass.ctx.is_excluded(group, kind));
    Ok(pass.ctx.watch_kinds(&kinds).await?)
}

/// Objects that exist and that no application owns yet: the store drops them, so they are asked for, where it matters. Tells, too,
/// whether any was asked for.
async fn unowned(pass: &Pass<'_>, desired: &Desired) -> Result<(HashMap<ObjectKey, Arc<Object>>, bool), Stop> {
    let mut gets = Vec::new();
    let compared = |object: &Object| !pass.ctx.is_excluded(object.group(), object.kind());
    for object in desired.objects.iter().filter(|object| may_be_unowned(pass, object) && compared(object)) {
        let key = object.key();
        if !key.name.is_empty() && pass.ctx.live.get(&key).is_none() {
            gets.push(read(pass, key, object.version().to_owned()));
        }
    }
    let asked = !gets.is_empty();
    let found: Vec<_> = stream::iter(gets).buffer_unordered(READS).try_collect().await?;
    Ok((found.into_iter().flatten().collect(), asked))
}

/// Whether it matters that an object may exist that nobody owns: an apply that follows anyway takes it over as it is, and spares
/// the question.
fn may_be_unowned(pass: &Pass<'_>, object: &Object) -> bool {
    let spec = &pass.application.spec;
    spec.automated().is_none()
        // What a sync failed to take over is still there.
        || pass.scope.failed
        || is_rewritten(spec.sync_options().iter().map(String::as_str))
        || object.annotation(annotations::SYNC_OPTIONS).is_some_and(|own| is_rewritten(own.split(',')))
}

/// Whether an object with these options is not applied to but replaced.
fn is_rewritten<'o>(options: impl Iterator<Item = &'o str> + Clone) -> bool {
    ["Replace", "Force"].iter().any(|name| option(options.clone(), name) == Some("true"))
}

async fn read(pass: &Pass<'_>, key: ObjectKey, version: String) -> Result<Option<(ObjectKey, Arc<Object>)>, Stop> {
    // A kind that the cluster does not know yet has no objects.
    if super::render::kind_of(pass, &key.group, &version, &key.kind).await?.is_none() {
        return Ok(None);
    }
    Ok(pass.ctx.cluster.get(&key).await?.map(|live| (key, Arc::new(live))))
}

async fn compare_one(
    pass: &Pass<'_>,
    owner: &str,
    key: ObjectKey,
    desired: &Arc<Object>,
    live: Option<Arc<Object>>,
    rules: &CompareRules,
) -> Result<Resource, Stop> {
    let held_by = live.as_deref().and_then(|live| shared::holder(pass, live));
    let theirs;
    let desired_as_held = match (&held_by, &live) {
        (Some(_), Some(live)) => {
            theirs = shared::as_theirs(pass, desired, live);
            &theirs
        }
        _ => &**desired,
    };
    let mut difference = differ(desired_as_held, live.as_deref(), rules);
    if let Some(live) = &live
        && (is_asked(pass, desired, live, &difference) || is_misjudged(pass, &key, &difference))
    {
        difference = predicted(pass, desired_as_held, live, rules, difference).await?;
    }
    let hook = !Part::of(desired).is_resource();
    let status = if hook || difference.is_empty() { SyncStatus::Synced } else { SyncStatus::OutOfSync };
    let health = live.as_deref().and_then(|live| pass.ctx.health(live));
    let owned = live.as_deref().and_then(|live| owner_of(live, &pass.ctx.tracking)).as_deref() == Some(owner);
    Ok(Resource {
        owned,
        version: desired.version().to_owned(),
        key,
        desired: Some(desired.clone()),
        live,
        difference: Some(difference),
        health,
        status,
        hook,
        requires_pruning: false,
        held_by,
    })
}

/// Whether the API server's own dry-run apply decides. Where nobody says otherwise: if the structural comparison sees a difference or
/// has a doubt, and no apply follows anyway. Where self-heal or a sync follows, the apply itself is the answer and the call is spared.
fn is_asked(pass: &Pass<'_>, desired: &Object, live: &Object, structural: &Difference) -> bool {
    let own = CompareOptions::of(desired).server_side_diff;
    if let Some(said) = own.or_else(|| CompareOptions::parse(options(pass)?).server_side_diff) {
        return said;
    }
    let heals = pass.application.spec.automated().is_some_and(|automated| automated.self_heal);
    // Of another version than the live object's not even a field that differs is certain.
    let other_version = desired.version() != live.version();
    !structural.is_certainly_empty() && (!heals || structural.is_empty() || other_version)
}

/// Whether the structural comparison was wrong about this object before.
fn is_misjudged(pass: &Pass<'_>, key: &ObjectKey, structural: &Difference) -> bool {
    !structural.is_certainly_empty() && pass.managed.state().misjudged.contains(key)
}

fn options<'p>(pass: &'p Pass<'_>) -> Option<&'p str> {
    pass.application.annotation(annotations::COMPARE_OPTIONS)
}

/// What a dry-run apply says of the difference.
async fn predicted(
    pass: &Pass<'_>,
    desired: &Object,
    live: &Object,
    rules: &CompareRules,
    structural: Difference,
) -> Result<Difference, Stop> {
    let options = ApplyOptions { dry_run: true, ..ApplyOptions::default() };
    match pass.writer.apply(desired, &options).await {
        Ok(applied) => Ok(compare_predicted(&applied.object, live, rules)),
        Err(error) if error.is_transient() => Err(Stop::Later(error.to_string())),
        // A dry run that is refused says nothing about the difference; the sync will say why.
        Err(_) => Ok(structural),
    }
}

fn extraneous(pass: &Pass<'_>, key: ObjectKey, live: Arc<Object>, heir: Option<String>) -> Resource {
    let ignored = CompareOptions::of(&live).ignore_extraneous || heir.is_some();
    let hook = !Part::of(&live).is_resource();
    Resource {
        owned: true,
        version: live.version().to_owned(),
        key,
        desired: None,
        difference: None,
        health: pass.ctx.health(&live),
        status: if ignored || hook { SyncStatus::Synced } else { SyncStatus::OutOfSync },
        hook,
        requires_pruning: !ignored && !hook,
        live: Some(live),
        held_by: heir,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(name: &str, status: SyncStatus) -> Arc<Resource> {
        Arc::new(Resource {
            key: ObjectKey::new("", "ConfigMap", "demo", name),
            version: "v1".into(),
            desired: None,
            live: None,
            difference: None,
            health: None,
            status,
            hook: false,
            requires_pruning: status == SyncStatus::OutOfSync,
            owned: true,
            held_by: None,
        })
    }

    #[test]
    fn what_was_new_is_judged_again_when_its_time_is_up() {
        let resource = |name: &str, until: Option<&str>| {
            let mut resource = (*resource(name, SyncStatus::Synced)).clone();
            let until = until.map(|until| until.parse().unwrap());
            resource.health = Some(Health { until, ..Health::new(resources::HealthStatus::Progressing, "no metrics") });
            Arc::new(resource)
        };
        let all = [
            resource("always", None),
            resource("new", Some("2026-01-01T12:05:00Z")),
            resource("old", Some("2026-01-01T12:00:00Z")),
        ];
        assert_eq!(late(&all, "2026-01-01T11:59:59Z".parse().unwrap()), [0_usize; 0]);
        assert_eq!(late(&all, "2026-01-01T12:00:00Z".parse().unwrap()), [2]);
        assert_eq!(late(&all, "2026-01-01T13:00:00Z".parse().unwrap()), [1, 2]);
    }

    #[test]
    fn what_is_out_of_sync_follows_each_object() {
        use SyncStatus::{OutOfSync, Synced};
        let mut comparison = Comparison::new(vec![resource("a", Synced), resource("b", OutOfSync)]);
        assert_eq!(
            (comparison.sync(), comparison.first_difference().as_str()),
            (OutOfSync, "ConfigMap demo/b is not in Git")
        );
        comparison.replace(1, resource("b", Synced));
        assert_eq!((comparison.sync(), comparison.out().count()), (Synced, 0));
        comparison.replace(0, resource("a", OutOfSync));
        assert_eq!((comparison.sync(), comparison.only_unpruned()), (OutOfSync, Some(1)));
    }

    #[test]
    fn an_object_is_found_by_its_key() {
        let resources: Vec<_> = (0..500).map(|number| resource(&format!("o-{number}"), SyncStatus::Synced)).collect();
        let places = places(&resources);
        for (place, resource) in resources.iter().enumerate() {
            assert_eq!(place_of(&places, &resources, &resource.key), Some(place));
        }
        assert_eq!(place_of(&places, &resources, &ObjectKey::new("", "Secret", "demo", "o-1")), None);
    }
}
