//! What Applications are called. A name is enough where each side has one Application of it; where several have it, in the folders of
//! several clusters for example, it is said where each goes and where it is from.

use std::collections::{BTreeMap, HashMap, HashSet};

use resources::Destination;

use super::units::{Rendered, Unit};

/// The name that tells an Application from all others: NAMESPACE/NAME (to CLUSTER/NAMESPACE, in PLACE).
pub fn whole(name: &str, destination: &Destination, place: &Unit) -> String {
    let cluster = if destination.name.is_empty() { &destination.server } else { &destination.name };
    let namespace = &destination.namespace;
    let to = if namespace.is_empty() { cluster.clone() } else { format!("{cluster}/{namespace}") };
    format!("{name} (to {to}, in {place})")
}

/// The `number`th of those that this does not tell apart.
pub fn numbered(whole: &str, number: usize) -> String {
    if number == 0 { whole.to_owned() } else { format!("{whole}, {}", number + 1) }
}

/// Takes off both sides what no name needs.
pub fn shorten(sides: [&mut Rendered; 2]) {
    let mut short: HashMap<String, String> = HashMap::new();
    let mut several: HashSet<String> = HashSet::new();
    for side in &sides {
        let mut names: HashMap<&str, &str> = HashMap::new();
        for unit in side.applications.iter() {
            let (name, whole) = (unit.0.as_str(), unit.1.as_str());
            short.insert(whole.to_owned(), name.to_owned());
            if names.insert(name, whole).is_some() {
                several.insert(name.to_owned());
            }
        }
    }
    short.retain(|_, name| !several.contains(name));
    // A name may be part of another's place.
    let mut short: Vec<(String, String)> = short.into_iter().collect();
    short.sort_by_key(|(whole, _)| std::cmp::Reverse(whole.len()));
    // What is inside first, so that the outer name is found as it then reads.
    short.reverse();
    let said = |text: &str| {
        let mut text = text.to_owned();
        let mut known = short.clone();
        for number in 0..known.len() {
            let (whole, name) = known[number].clone();
            text = text.replace(&whole, &name);
            for (later, _) in &mut known[number + 1..] {
                *later = later.replace(&whole, &name);
            }
        }
        text
    };
    for side in sides {
        let units = std::mem::take(&mut side.units).into_iter().map(|(unit, objects)| match unit {
            Unit::Application(name) => (Unit::Application(said(&name)), objects),
            unit @ Unit::Path(_) => (unit, objects),
        });
        side.units = units.collect::<BTreeMap<_, _>>();
        side.notes = std::mem::take(&mut side.notes).iter().map(|note| said(note)).collect();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn to(cluster: &str) -> Destination {
        Destination { name: cluster.into(), namespace: "shop".into(), ..Destination::default() }
    }

    fn side(applications: &[(&str, &str, &str)]) -> Rendered {
        let mut side = Rendered::default();
        for (name, cluster, place) in applications {
            let whole = whole(name, &to(cluster), &Unit::Path((*place).into()));
            side.notes.insert(format!("application {whole} is left out"));
            side.units.insert(Unit::Application(whole.clone()), BTreeMap::new());
            side.applications.insert(((*name).into(), whole));
        }
        side
    }

    #[test]
    fn a_name_says_as_much_as_it_has_to() {
        let (mut before, mut after) = (side(&[("web", "dev", "a")]), side(&[("web", "prod", "b"), ("db", "dev", "a")]));
        shorten([&mut before, &mut after]);
        let names = |side: &Rendered| side.units.keys().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names(&before), ["application web"]);
        assert_eq!(names(&after), ["application db", "application web"]);
        let (mut before, mut after) =
            (side(&[("web", "dev", "a")]), side(&[("web", "dev", "a"), ("web", "prod", "b")]));
        shorten([&mut before, &mut after]);
        assert_eq!(names(&before), ["application web (to dev/shop, in a)"]);
        assert_eq!(names(&after), ["application web (to dev/shop, in a)", "application web (to prod/shop, in b)"]);
        let notes = BTreeSet::from(["application web (to dev/shop, in a) is left out".to_owned()]);
        assert_eq!(before.notes, notes);
        assert_eq!(numbered("web (to dev, in a)", 1), "web (to dev, in a), 2");
    }

    #[test]
    fn an_application_of_an_application_is_named_shortly_too() {
        let root = whole("root", &to("dev"), &Unit::Path("apps".into()));
        let child = whole("web", &to("dev"), &Unit::Application(root.clone()));
        let mut one = Rendered::default();
        for (name, whole) in [("root", root), ("web", child)] {
            one.units.insert(Unit::Application(whole.clone()), BTreeMap::new());
            one.applications.insert((name.into(), whole));
        }
        shorten([&mut one, &mut Rendered::default()]);
        let names: Vec<String> = one.units.keys().map(ToString::to_string).collect();
        assert_eq!(names, ["application root", "application web"]);
    }
}
