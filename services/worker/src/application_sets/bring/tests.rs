use generators::ExpandError;
use resources::Invalid;

use super::*;

fn set() -> ApplicationSet {
    let set = json!({ "metadata": { "name": "previews", "namespace": "argocd", "uid": "u-1" }, "spec": {} });
    ApplicationSet::parse(set).unwrap()
}

#[test]
fn whose_an_application_is() {
    let owner = |name: &str, uid: &str, controller: bool| json!([{ "apiVersion": "argoproj.io/v1alpha1", "kind": "ApplicationSet", "name": name, "uid": uid, "controller": controller }]);
    let offered = json!({ "lockstep.dev/adopt-by": "previews" });
    let uid = || "a-1".to_owned();
    let foreign = "Application prod-gateway is not of this ApplicationSet and is left alone: delete it, or annotate it \
                   lockstep.dev/adopt-by: previews";
    let other = |owner: &str| {
        Found::Foreign(format!(
            "Application prod-gateway belongs to another {owner} and is left alone; give one of the two another name"
        ))
    };
    for (owners, notes, expected) in [
        (owner("previews", "u-1", true), json!({}), Found::Ours { uid: uid() }),
        (json!([]), json!({}), Found::Foreign(foreign.into())),
        (json!([]), json!({ "lockstep.dev/adopt-by": "others" }), Found::Foreign(foreign.into())),
        (json!([]), offered.clone(), Found::Offered { uid: uid() }),
        // An owner that does not control it does not make it ours.
        (owner("previews", "u-1", false), json!({}), Found::Foreign(foreign.into())),
        // The set was made anew, in this cluster or another.
        (owner("previews", "u-0", true), json!({}), other("ApplicationSet (previews)")),
        (owner("services", "u-2", true), offered, other("ApplicationSet (services)")),
    ] {
        let live = json!({ "name": "prod-gateway", "uid": "a-1", "ownerReferences": owners, "annotations": notes });
        let live: ObjectMeta = serde_json::from_value(live).unwrap();
        assert_eq!(found(&set(), Some(&live)), expected, "{owners} {notes}");
    }
    assert_eq!(found(&set(), None), Found::Nothing);
    assert!(foreign.len() <= 140, "GitHub cuts a check's sentence");
}

fn refusal(name: Option<&str>, impossible_name: bool) -> Refused {
    let error = ExpandError::InvalidSet(Invalid::new("x", "y"));
    Refused { name: name.map(str::to_owned), impossible_name, error }
}

#[test]
fn what_may_be_removed() {
    let ids: Vec<AppId> = (0..20).map(|number| AppId::new("argocd", format!("app-{number:02}"))).collect();
    let nothing: &[String] = &["spec.generators[0].git.directories[0].path: no folder fits \"/apps/*\"".to_owned()];
    let (held, unsure) = ("held", "unsure");
    let named = || vec![refusal(Some("app-00"), false)];
    let impossible = || vec![refusal(None, true)];
    let unknown = || vec![refusal(None, false)];
    // existing, surplus, refused, lost, previews, allowed
    for (name, existing, surplus, refused, lost, previews, allowed, expected) in [
        ("nothing", 3, 0, vec![], &[][..], false, false, Ok(0)),
        ("one of three", 3, 1, vec![], &[], false, false, Ok(1)),
        ("all of one", 1, 1, vec![], &[], false, false, Err(held)),
        ("all of five", 5, 5, vec![], &[], false, false, Err(held)),
        ("all of five, allowed", 5, 5, vec![], &[], false, true, Ok(5)),
        ("five of nine", 9, 5, vec![], &[], false, false, Ok(5)),
        ("six of eleven", 11, 6, vec![], &[], false, false, Err(held)),
        ("six of twelve", 12, 6, vec![], &[], false, false, Ok(6)),
        ("one of many, by a pattern that finds nothing", 9, 1, vec![], nothing, false, false, Err(held)),
        ("the same, allowed", 9, 1, vec![], nothing, false, true, Ok(1)),
        ("a pattern that finds nothing, and nothing to remove", 9, 0, vec![], nothing, false, false, Ok(0)),
        ("the only preview", 1, 1, vec![], &[], true, false, Ok(1)),
        ("all of five previews", 5, 5, vec![], &[], true, false, Ok(5)),
        ("all of six previews", 6, 6, vec![], &[], true, false, Err(held)),
        ("previews by folders that are gone", 2, 1, vec![], nothing, true, false, Err(held)),
        ("what cannot be made stays as it is", 3, 2, named(), &[], false, false, Ok(1)),
        ("nobody knows which one cannot be made", 3, 1, unknown(), &[], false, false, Err(unsure)),
        ("the same, allowed", 3, 1, unknown(), &[], false, true, Err(unsure)),
        ("a name that no Application can have", 3, 1, impossible(), &[], false, false, Err(unsure)),
        ("a branch's impossible name does not keep others' previews", 3, 1, impossible(), &[], true, false, Ok(1)),
        ("a preview that cannot be made for another reason", 3, 1, unknown(), &[], true, false, Err(unsure)),
    ] {
        let surplus = ids.iter().take(surplus).collect();
        let decided = Removal { existing, surplus, refused: &refused, lost, previews, allowed }.decide();
        let told = match &decided {
            Ok(removed) => Ok(removed.len()),
            Err(SetError::MassDeletion { .. }) => Err(held),
            Err(SetError::Unsure { .. }) => Err(unsure),
            Err(other) => panic!("{other}"),
        };
        assert_eq!(told, expected, "{name}");
    }
    let surplus = ids.iter().take(7).collect();
    let removal = Removal { existing: 9, surplus, refused: &[], lost: nothing, previews: false, allowed: false };
    assert_eq!(
        removal.decide().unwrap_err().to_string(),
        "would remove 7 of 9 Applications at once (app-00, app-01, app-02, app-03, app-04 and 2 more); if that is meant, set the \
         annotation lockstep.dev/allow-mass-deletion: \"true\" on the ApplicationSet. spec.generators[0].git.directories[0].path: \
         no folder fits \"/apps/*\""
    );
}
