//! Rules that hold for any set of resources.

use super::*;

fn any_text() -> impl Strategy<Value = String> {
    let kind = prop::sample::select(vec![
        "Namespace",
        "CustomResourceDefinition",
        "ConfigMap",
        "Secret",
        "Service",
        "Deployment",
        "Widget",
        "Job",
    ]);
    (kind, 0_u8..6, -2_i32..3).prop_map(|(kind, name, wave)| {
        let name = if kind == "Namespace" { "dev".into() } else { format!("n{name}") };
        format!("{kind} {name} sync-wave={wave}")
    })
}

fn any_states() -> impl Strategy<Value = Vec<ResourceState>> {
    let hook = prop::sample::select(vec!["", "", "", " hook=PreSync", " hook=PostSync", " hook=SyncFail"]);
    let last = prop::sample::select(vec!["", "", " sync-options=PruneLast=true"]);
    let state = (any_text(), hook, last, 0_u8..4).prop_map(|(text, hook, last, state)| match state {
        0 => wanted(&format!("{text}{hook}")),
        1 => both(&text, true),
        2 => both(&text, false),
        _ => gone(&format!("{text}{last}")),
    });
    prop::collection::vec(state, 0..20).prop_map(once)
}

/// Everything at once: what is wanted, in sync or not, and what is left over of this application, of another, of none, of a hook.
fn any_mixture() -> impl Strategy<Value = Vec<ResourceState>> {
    let hook =
        prop::sample::select(vec!["", "", "", " hook=PreSync", " hook=PostSync", " hook=SyncFail", " hook=PreDelete"]);
    let option = prop::sample::select(vec!["", "", " sync-options=PruneLast=true", " sync-options=Prune=false"]);
    let state = (any_text(), hook, option, 0_u8..8).prop_map(|(text, hook, option, state)| {
        let left_over = |owner: Option<&str>| {
            let mut object = object(&format!("{text}{option}"));
            if let Some(owner) = owner {
                stamp(&mut object, owner, "dev", &Tracking::default());
            }
            only_live(object)
        };
        match state {
            0 => wanted(&format!("{text}{hook}")),
            1 => both(&text, true),
            2 => both(&text, false),
            3 => gone(&format!("{text}{hook}")),
            4 => left_over(Some("other")),
            5 => left_over(None),
            6 => ResourceState { live: left_over(Some("other")).live, ..wanted(&text) },
            _ => left_over(Some("gateway")),
        }
    });
    prop::collection::vec(state, 0..24).prop_map(once)
}

/// An object is there once.
fn once(states: Vec<ResourceState>) -> Vec<ResourceState> {
    let by_key: std::collections::BTreeMap<ObjectKey, ResourceState> =
        states.into_iter().map(|state| (state.key.clone(), state)).collect();
    by_key.into_values().collect()
}

/// Whether a live object is a part of this application and no hook.
fn is_own(live: &Object) -> bool {
    crate::ownership::owner_of(live, &Tracking::default()).as_deref() == Some("gateway") && Part::of(live).is_resource()
}

/// Where in the plan each object is, by the number of its wave.
fn places<'p>(plan: &'p Plan, steps: impl Fn(&'p Wave) -> &'p [Step]) -> Vec<(&'p ObjectKey, usize)> {
    let in_wave =
        |(at, wave): (usize, &'p Wave)| steps(wave).iter().map(move |step| (&step.key, at)).collect::<Vec<_>>();
    plan.waves.iter().enumerate().flat_map(in_wave).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn the_same_input_in_any_order_gives_the_same_plan((states, shuffled) in any_states().prop_flat_map(|states| {
        (Just(states.clone()), Just(states).prop_shuffle())
    })) {
        prop_assert_eq!(case(plain(&[]), states).plan(), case(plain(&[]), shuffled).plan());
    }

    #[test]
    fn no_wave_overtakes_another_and_nothing_is_pruned_outside_the_sync(states in any_states()) {
        let plan = case(plain(&[]), states.clone()).plan().unwrap();
        let slots: Vec<(Phase, i32)> = plan.waves.iter().map(|wave| (wave.phase, wave.number)).collect();
        let mut sorted = slots.clone();
        sorted.sort_unstable();
        sorted.dedup();
        prop_assert_eq!(&slots, &sorted);
        let mut place = std::collections::BTreeMap::new();
        for (at, wave) in plan.waves.iter().enumerate() {
            prop_assert!(wave.prune.is_empty() || wave.phase == Phase::Sync);
            for step in &wave.apply {
                let object = step.object.as_ref().unwrap();
                place.entry(step.key.clone()).or_insert(at);
                let moves = matches!(object.kind(), "Namespace" | "CustomResourceDefinition");
                prop_assert!(moves || wave.number == super::wave(object), "{:?} is not in its wave", step);
            }
        }
        // Whatever needs a namespace or a definition does not come before it.
        for (key, at) in &place {
            let needs = [ObjectKey::new("", "Namespace", "", key.namespace.as_str())];
            for needed in needs.iter().filter_map(|needed| place.get(needed)) {
                prop_assert!(needed <= at);
            }
        }
        // Nothing is lost.
        let planned = plan.steps().filter(|step| step.hook.is_none()).count() + plan.waves.iter().map(|wave| wave.unchanged.len()).sum::<usize>();
        let resources = states.iter().filter(|state| state.desired.as_ref().is_none_or(|desired| Part::of(desired).is_resource()));
        prop_assert_eq!(planned, resources.count());
    }

    #[test]
    fn deletion_is_the_reverse_of_creation(texts in prop::collection::btree_set(any_text(), 0..16)) {
        let mut seen = std::collections::BTreeSet::new();
        let texts: Vec<String> = texts.into_iter().filter(|text| seen.insert(object(text).key())).collect();
        let created = case(plain(&[]), texts.iter().map(|text| wanted(text)).collect()).plan().unwrap();
        let pruned = case(plain(&[]), texts.iter().map(|text| gone(text)).collect()).plan().unwrap();
        let created: Vec<&ObjectKey> = created.steps().map(|step| &step.key).collect();
        let mut reverse: Vec<&ObjectKey> = pruned.steps().map(|step| &step.key).collect();
        reverse.reverse();
        prop_assert_eq!(&created, &reverse);

        let live: Vec<Arc<Object>> = texts.iter().map(|text| Arc::new(owned(text))).collect();
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let deleted = deletion(&plain(&[]), &live, &[], Propagation::Foreground, ("gateway", &Tracking::default()), ("abc", at));
        let mut reverse: Vec<&ObjectKey> = deleted.steps().map(|step| &step.key).collect();
        reverse.reverse();
        let created: Vec<&ObjectKey> = created.into_iter().filter(|key| key.kind != "CustomResourceDefinition").collect();
        prop_assert_eq!(created, reverse);
    }

    #[test]
    fn nothing_but_what_is_ours_and_no_longer_wanted_is_pruned(states in any_mixture(), prune: bool, automated: bool) {
        let plan = case(plain(&[]), states.clone())
            .with(move |input| (input.prune, input.automated) = (prune, automated))
            .plan()
            .unwrap();
        for step in plan.steps().filter(|step| step.action == Action::Prune) {
            let state = states.iter().find(|state| state.key == step.key).unwrap();
            let live = state.live.as_deref().unwrap();
            prop_assert!(prune && state.desired.is_none() && is_own(live), "{:?}", step);
            prop_assert!(step.hook.is_none() && Part::of(live).is_resource(), "a hook is pruned: {:?}", step);
            prop_assert_eq!(&step.uid, live.uid(), "something else of the same name could be deleted");
        }
        // And all of that is, unless it is to be kept.
        let kept = |live: &Object| live.annotation(annotations::SYNC_OPTIONS) == Some("Prune=false");
        let left_over = states.iter().filter(|state| state.desired.is_none()).filter_map(|state| state.live.as_deref());
        let due = left_over.filter(|live| prune && is_own(live) && !kept(live)).count();
        prop_assert_eq!(plan.counts().prune, due);
        let total = states.iter().filter(|state| state.live.as_deref().is_some_and(is_own)).count();
        let wanted = states.iter().filter_map(|state| state.desired.as_ref()).any(|object| Part::of(object).is_resource());
        prop_assert_eq!(plan.brake, Brake::on(due, total).filter(|brake| brake.total > 1 || !wanted));
    }

    #[test]
    fn nothing_is_pruned_before_its_phase(states in any_mixture()) {
        let plan = case(plain(&[]), states.clone()).plan().unwrap();
        let pruned = places(&plan, |wave| &wave.prune);
        let applied = places(&plan, |wave| &wave.apply);
        let phase = |at: usize| plan.waves[at].phase;
        for (key, at) in &pruned {
            prop_assert_eq!(phase(*at), Phase::Sync, "{}", key);
        }
        let live = |key: &ObjectKey| states.iter().find(|state| state.key == *key).and_then(|state| state.live.clone()).unwrap();
        let is_last = |key: &ObjectKey| live(key).annotation(annotations::SYNC_OPTIONS) == Some("PruneLast=true");
        let moves = |key: &ObjectKey| matches!(key.kind.as_str(), "Namespace" | "CustomResourceDefinition");
        for (key, at) in pruned.iter().filter(|(key, _)| is_last(key)) {
            for (other, before) in applied.iter().filter(|(_, at)| phase(*at) == Phase::Sync) {
                prop_assert!(before < at, "{} is pruned before {} is applied", key, other);
            }
        }
        // Of two that go without a word about when, the one that came later goes first.
        for (key, at) in pruned.iter().filter(|(key, _)| !moves(key) && !is_last(key)) {
            for (other, other_at) in pruned.iter().filter(|(key, _)| !moves(key) && !is_last(key)) {
                prop_assert!(wave(&live(key)) >= wave(&live(other)) || at >= other_at, "{} and {}", key, other);
            }
        }
    }

    #[test]
    fn any_mixture_in_any_order_gives_the_same_plan((states, shuffled) in any_mixture().prop_flat_map(|states| {
        (Just(states.clone()), Just(states).prop_shuffle())
    })) {
        let (one, other) = (case(plain(&[]), states.clone()).plan().unwrap(), case(plain(&[]), shuffled.clone()).plan().unwrap());
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.to_string(), other.to_string());
        let delete = |states: &[ResourceState]| {
            let live: Vec<Arc<Object>> = states.iter().filter_map(|state| state.live.clone()).collect();
            let hooks: Vec<Object> = states.iter().filter_map(|state| state.desired.as_deref().cloned()).collect();
            let at = "2026-01-02T03:04:05Z".parse().unwrap();
            deletion(&plain(&[]), &live, &hooks, Propagation::Foreground, ("gateway", &Tracking::default()), ("abc", at))
        };
        prop_assert_eq!(delete(&states), delete(&shuffled));
    }

    #[test]
    fn deleting_an_application_deletes_what_is_its_own(states in any_mixture(), hooks in prop::collection::vec((any_text(), any::<bool>()), 0..4)) {
        let live: Vec<Arc<Object>> = states.iter().filter_map(|state| state.live.clone()).collect();
        let hooks: Vec<Object> = hooks
            .into_iter()
            .map(|(text, before)| object(&format!("{text} hook={}", if before { "PreDelete" } else { "PostDelete" })))
            .collect();
        let at = "2026-01-02T03:04:05Z".parse().unwrap();
        let plan = deletion(&plain(&[]), &live, &hooks, Propagation::Foreground, ("gateway", &Tracking::default()), ("abc", at));
        let slots: Vec<(Phase, i32)> = plan.waves.iter().map(|wave| (wave.phase, wave.number)).collect();
        for pair in slots.windows(2) {
            let (before, after) = (pair[0], pair[1]);
            let ordered = match before.0.cmp(&after.0) {
                std::cmp::Ordering::Less => true,
                std::cmp::Ordering::Equal if before.0 == Phase::Delete => before.1 > after.1,
                std::cmp::Ordering::Equal => before.1 < after.1,
                std::cmp::Ordering::Greater => false,
            };
            prop_assert!(ordered, "{:?}", slots);
        }
        for step in plan.steps() {
            prop_assert_eq!(step.action == Action::Hook, step.hook.is_some());
            prop_assert!(step.hook.is_some() || live.iter().any(|live| live.key() == step.key && is_own(live)), "{:?}", step);
        }
        let own = live.iter().filter(|live| is_own(live) && live.kind() != "CustomResourceDefinition").count();
        prop_assert_eq!(plan.counts().prune, own);
        prop_assert_eq!(plan.counts().hooks, hooks.len());
    }
}
