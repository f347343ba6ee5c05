//! Which commits a project takes: those that one of its keys has signed (`sourceIntegrity`, and its older form `signatureKeys`).
//!
//! ```
//! use engine::signatures::{Mode, Signature, signature_permitted, signature_policy};
//! # let project = resources::AppProject::parse(serde_json::json!({
//! #     "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team"},
//! #     "spec": {"sourceIntegrity": {"git": {"policies": [{
//! #         "repos": [{"url": "https://git.example.com/acme/*"}], "gpg": {"mode": "head", "keys": ["D56C4FCA57A46444"]},
//! #     }]}}},
//! # })).unwrap();
//! let repository = "https://git.example.com/acme/gitops.git";
//! // What has to be verified before anything is rendered: nothing, the commit, or what lies before it too.
//! let policy = signature_policy(&project, repository).unwrap();
//! assert_eq!(policy.mode, Mode::Head);
//! let error = signature_permitted(&project, repository, "4f2a9c1d00", &Signature::None).unwrap_err();
//! assert!(error.message.starts_with("project team does not permit commit 4f2a9c1 of https://git.example.com/acme/gitops.git, which \
//!                                    is not signed"));
//! ```

use address::{comparable, without_user};
use resources::AppProject;

use crate::glob::Pattern;
use crate::project::{Violation, violation};

/// What verifying a commit's signature came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    /// There is none.
    None,
    /// It is right.
    Good {
        /// Whose: the id or the fingerprint of a GPG key, or `SHA256:…` of an SSH key.
        key: String,
    },
    /// It is not right, or the key has expired or was revoked.
    Bad,
    /// The key is not among those that are known, so nobody can tell.
    UnknownKey {
        /// Which.
        key: String,
    },
}

/// How far back signatures count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They do not.
    None,
    /// The commit (or the annotated tag that names it).
    Head,
    /// The commit and everything that it is built on, back to the last seal.
    Strict,
}

/// The policy that counts for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy<'a> {
    /// How far back.
    pub mode: Mode,
    /// The keys, as the project writes them.
    pub keys: Vec<&'a str>,
    /// The field that says so.
    pub field: &'static str,
}

const INTEGRITY: &str = "spec.sourceIntegrity.git.policies";
const KEYS: &str = "spec.signatureKeys";

/// The policy of a project for a repository: the first whose patterns fit; with `signatureKeys` alone, the commit itself everywhere.
/// A repository that no policy fits needs no signature. A mode or an address that cannot be understood permits nothing.
pub fn signature_policy<'a>(project: &'a AppProject, repository: &str) -> Result<Policy<'a>, Violation> {
    let spec = &project.spec;
    if let Some(integrity) = &spec.source_integrity {
        let policies = integrity.git.as_ref().map_or(&[][..], |git| &git.policies);
        let Some(address) = comparable(repository).or_else(|| policies.is_empty().then(String::new)) else {
            let what = format!("commits of {}", without_user(repository));
            let fix = format!("its {INTEGRITY} cannot be held against that address; correct the repository's URL");
            return Err(violation(project, INTEGRITY, &what, &fix));
        };
        let patterns = |policy: &'a resources::IntegrityPolicy| policy.repos.iter().map(|repo| repo.url.as_str());
        let found = policies.iter().find(|policy| fits(patterns(policy), &address));
        let Some(gpg) = found.and_then(|policy| policy.gpg.as_ref()) else {
            return Ok(Policy { mode: Mode::None, keys: vec![], field: INTEGRITY });
        };
        let mode = match gpg.mode.as_str() {
            "none" => Mode::None,
            "head" => Mode::Head,
            "strict" => Mode::Strict,
            other => {
                let what = format!("commits of {repository}");
                let fix = format!("the mode {other:?} in its {INTEGRITY} is not known; use none, head or strict");
                return Err(violation(project, INTEGRITY, &what, &fix));
            }
        };
        return Ok(Policy { mode, keys: gpg.keys.iter().map(String::as_str).collect(), field: INTEGRITY });
    }
    let keys: Vec<&str> = spec.signature_keys.iter().map(|key| key.key_id.as_str()).collect();
    let mode = if keys.is_empty() { Mode::None } else { Mode::Head };
    Ok(Policy { mode, keys, field: KEYS })
}

/// Whether the project takes a commit with this signature. In the mode [`Mode::Strict`] each commit is asked for.
pub fn signature_permitted(
    project: &AppProject,
    repository: &str,
    commit: &str,
    signature: &Signature,
) -> Result<(), Violation> {
    let policy = signature_policy(project, repository)?;
    if policy.mode == Mode::None {
        return Ok(());
    }
    let problem = match signature {
        Signature::Good { key } if policy.keys.iter().any(|own| is_same_key(own, key)) => return Ok(()),
        Signature::Good { key } => format!("is signed by {key}, which is not one of the project's keys"),
        Signature::None => "is not signed".into(),
        Signature::Bad => "has a signature that is not valid".into(),
        Signature::UnknownKey { key } => format!("is signed by {key}, a key that is not known here"),
    };
    let short = commit.get(..7).unwrap_or(commit);
    let what = format!("commit {short} of {repository}, which {problem}");
    let fix = match signature {
        Signature::Good { .. } | Signature::UnknownKey { .. } => {
            format!("add the key to the project's {}, or sign with another", policy.field)
        }
        _ => format!("sign it with one of the keys in the project's {}", policy.field),
    };
    Err(violation(project, policy.field, &what, &fix))
}

/// Whether patterns take an address: one does, and none with `!` does.
fn fits<'p>(patterns: impl Iterator<Item = &'p str>, address: &str) -> bool {
    let mut fits = false;
    for pattern in patterns {
        let (pattern, excludes) = pattern.strip_prefix('!').map_or((pattern, false), |pattern| (pattern, true));
        // In these patterns a star crosses slashes.
        if Pattern::new(&address::pattern(pattern)).matches(address) {
            if excludes {
                return false;
            }
            fits = true;
        }
    }
    fits
}

/// A GPG key may be written as its long id or its fingerprint, of which the id is the end. Shorter ids can be forged.
fn is_same_key(own: &str, signed_by: &str) -> bool {
    let hex = |text: &str| -> Option<String> {
        let text = text.trim();
        let text = text.strip_prefix("0x").or(text.strip_prefix("0X")).unwrap_or(text).replace(' ', "");
        let hex = text.len() >= 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        hex.then(|| text.to_ascii_uppercase())
    };
    match (hex(own), hex(signed_by)) {
        (Some(own), Some(signed_by)) => own.ends_with(&signed_by) || signed_by.ends_with(&own),
        // An SSH key by its fingerprint.
        (None, None) => !own.trim().is_empty() && own.trim() == signed_by.trim() && own.trim().starts_with("SHA256:"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn project(spec: Value) -> AppProject {
        AppProject::parse(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": {"name": "team"}, "spec": spec,
        }))
        .unwrap()
    }

    fn policies(policies: &[(&[&str], &str, &[&str])]) -> Value {
        let policies: Vec<Value> = policies
            .iter()
            .map(|(repos, mode, keys)| {
                let repos: Vec<Value> = repos.iter().map(|url| json!({"url": url})).collect();
                json!({"repos": repos, "gpg": {"mode": mode, "keys": keys}})
            })
            .collect();
        json!({"sourceIntegrity": {"git": {"policies": policies}}})
    }

    const LONG: &str = "D56C4FCA57A46444";
    const PRINT: &str = "0123456789ABCDEF01234567D56C4FCA57A46444";
    const OTHER: &str = "4AEE18F83AFDEB23";
    const SSH: &str = "SHA256:b64b64b64b64b64b64b64b64b64b64b64b64b64b64";

    #[test]
    fn which_policy_counts() {
        let secure = "https://git.example.com/acme/secure";
        for (spec, repository, want) in [
            (json!({}), secure, Some(Mode::None)),
            (json!({"signatureKeys": [{"keyID": LONG}]}), secure, Some(Mode::Head)),
            (policies(&[(&["*"], "head", &[LONG])]), secure, Some(Mode::Head)),
            (
                policies(&[(&["https://git.example.com/*"], "strict", &[])]),
                "https://GIT.example.com/acme/secure.git",
                Some(Mode::Strict),
            ),
            (policies(&[(&[secure], "strict", &[]), (&["*"], "head", &[])]), secure, Some(Mode::Strict)),
            (policies(&[(&["*"], "head", &[]), (&[secure], "strict", &[])]), secure, Some(Mode::Head)),
            (policies(&[(&[secure], "none", &[]), (&["*"], "head", &[])]), secure, Some(Mode::None)),
            (policies(&[(&["*", "!https://git.example.com/acme/*"], "head", &[])]), secure, Some(Mode::None)),
            (policies(&[(&["!https://git.example.com/acme/*", "*"], "head", &[])]), secure, Some(Mode::None)),
            (policies(&[(&["!https://git.example.com/other/*"], "head", &[])]), secure, Some(Mode::None)),
            (policies(&[(&["https://other/*"], "head", &[])]), secure, Some(Mode::None)),
            (policies(&[(&["*"], "haed", &[])]), secure, None),
            (
                policies(&[(&[secure], "strict", &[])]),
                "https://x@git.example.com:443//acme/x/../s%65cure.git",
                Some(Mode::Strict),
            ),
            (
                policies(&[(&["git@git.example.com:acme/*"], "head", &[])]),
                "ssh://git.example.com/acme/a",
                Some(Mode::Head),
            ),
            (policies(&[(&["https://other/*"], "head", &[])]), "https://git.example.com/../secure", None),
            (policies(&[]), "https://git.example.com/../secure", Some(Mode::None)),
            (json!({"sourceIntegrity": {"git": {"policies": [{"repos": [{"url": "*"}]}]}}}), secure, Some(Mode::None)),
            (json!({"sourceIntegrity": {}, "signatureKeys": [{"keyID": LONG}]}), secure, Some(Mode::None)),
        ] {
            let project = project(spec.clone());
            assert_eq!(signature_policy(&project, repository).ok().map(|policy| policy.mode), want, "{spec}");
        }
    }

    #[test]
    fn which_signatures_are_taken() {
        let good = |key: &str| Signature::Good { key: key.into() };
        for (keys, signature, want) in [
            (vec![LONG], good(LONG), ""),
            (vec![LONG], good(PRINT), ""),
            (vec![PRINT], good(LONG), ""),
            (vec!["0xd56c4fca57a46444"], good(PRINT), ""),
            (vec!["0123 4567 89AB CDEF 0123  4567 D56C 4FCA 57A4 6444"], good(PRINT), ""),
            (vec![OTHER, LONG], good(LONG), ""),
            (vec![SSH], good(SSH), ""),
            (vec!["57A46444"], good(PRINT), "is signed by 0123456789ABCDEF01234567D56C4FCA57A46444, which is not one"),
            (
                vec![OTHER],
                good(LONG),
                "is signed by D56C4FCA57A46444, which is not one of the project's keys: add the key to",
            ),
            (vec![SSH], good(LONG), "which is not one"),
            (vec![LONG], good(SSH), "which is not one"),
            (vec![""], good(""), "which is not one"),
            (vec![], good(LONG), "which is not one"),
            (
                vec![LONG],
                Signature::None,
                "is not signed: sign it with one of the keys in the project's spec.sourceIntegrity.git.policies",
            ),
            (vec![LONG], Signature::Bad, "has a signature that is not valid: sign it"),
            (vec![LONG], Signature::UnknownKey { key: LONG.into() }, "a key that is not known here: add the key to"),
        ] {
            for mode in ["head", "strict"] {
                let project = project(policies(&[(&["*"], mode, &keys)]));
                let got = signature_permitted(&project, "https://git.example.com/a", "4f2a9c1d00", &signature);
                match (got, want) {
                    (Ok(()), "") => {}
                    (Err(error), want) if !want.is_empty() => assert!(error.message.contains(want), "{error}"),
                    (got, _) => panic!("{keys:?} {signature:?} {got:?}"),
                }
            }
            let none = project(policies(&[(&["*"], "none", &keys)]));
            assert!(signature_permitted(&none, "https://git.example.com/a", "4f2a", &signature).is_ok());
        }
        let older = project(json!({"signatureKeys": [{"keyID": LONG}]}));
        let error =
            signature_permitted(&older, "https://git.example.com/a", "4f2a9c1d00", &Signature::None).unwrap_err();
        assert_eq!(error.field, "spec.signatureKeys");
    }
}
