//! SSH signatures, by `ssh-keygen -Y`.

use std::ffi::{OsStr, OsString};

use super::cache::Ring;
use super::keys::Standing;
use super::{Signature, Verdict};
use crate::GitError;
use crate::process::{Answer, Program};

const SSH_KEYGEN: &str = "ssh-keygen";
/// What the signature is for. One that was made over a file, or for another program, does not count.
const NAMESPACE: &str = "git";
/// Principals of one key that are tried: each costs a process.
const PRINCIPALS: usize = 8;

pub(super) async fn verify(
    program: &Program,
    ring: &Ring,
    text: &str,
    payload: &[u8],
    seconds: i64,
) -> Result<Verdict, GitError> {
    let verdict = |signature| Ok(Verdict { signature, until: None });
    let Some(at) = written(seconds) else { return verdict(Signature::bad("the object's date is out of range")) };
    let failed = || GitError::disk("writing a signature");
    let file = tempfile::NamedTempFile::new_in(ring.folder()).map_err(failed())?;
    std::fs::write(file.path(), text).map_err(failed())?;
    let (allowed, revoked, time) = (ring.allowed_signers(), ring.revoked_keys(), format!("verify-time={at}"));
    let (allowed, revoked, time) = (("-f", allowed.as_ref()), ("-r", revoked.as_ref()), ("-O", OsStr::new(&time)));
    let (signature, namespace) = (("-s", file.path().as_ref()), ("-n", OsStr::new(NAMESPACE)));
    let arguments = |action: &str, more: &[(&str, &OsStr)]| -> Vec<OsString> {
        let all = [("-Y", OsStr::new(action)), signature].into_iter().chain(more.iter().copied());
        all.flat_map(|(name, value)| [name.into(), value.into()]).collect()
    };

    let found = program.ask(SSH_KEYGEN, arguments("find-principals", &[allowed, time]), b"").await?;
    let principals = found.output.lines().filter(|_| found.success).take(PRINCIPALS);
    let mut refused = None;
    for principal in principals {
        let arguments = arguments("verify", &[namespace, allowed, ("-I", principal.as_ref()), revoked, time]);
        let answer = program.ask(SSH_KEYGEN, arguments, payload).await?;
        if let (true, Some(key)) = (answer.success, fingerprint(&answer)) {
            let signer = principal.chars().filter(|c| !c.is_control()).take(200).collect();
            return verdict(Signature::Good { key, subkey: None, signer });
        }
        refused = Some(answer);
    }

    // Not by somebody who may: is it a signature at all, and by which key?
    let plain = program.ask(SSH_KEYGEN, arguments("check-novalidate", &[namespace]), payload).await?;
    let Some(key) = fingerprint(&plain).filter(|_| plain.success) else {
        let reason = format!("it does not fit, or was not made for git ({})", plain.words());
        return verdict(Signature::bad(reason));
    };
    verdict(match ring.keys.ssh().standing(&key, &at) {
        Standing::Unknown => Signature::UnknownKey { key },
        Standing::Revoked => Signature::Revoked { key },
        Standing::Expired => Signature::Expired { key },
        Standing::NotValid => {
            let words = refused.map(|answer| format!(" ({})", answer.words())).unwrap_or_default();
            Signature::bad(format!("{key} may not sign for git, or not at the time of the commit{words}"))
        }
    })
}

/// A time as `ssh-keygen` reads it; it runs with UTC.
fn written(seconds: i64) -> Option<String> {
    const FORM: gix::date::time::CustomFormat = gix::date::time::CustomFormat::new("%Y%m%d%H%M%S");
    let written = gix::date::Time::new(seconds, 0).format(FORM).ok()?;
    (written.len() == 14 && seconds >= 0).then_some(written)
}

/// The last words of `Good "git" signature for joe@example.com with ED25519 key SHA256:…`.
fn fingerprint(answer: &Answer) -> Option<String> {
    let line = answer.output.lines().find(|line| line.starts_with("Good "))?;
    let (_, key) = line.rsplit_once(" key ")?;
    let key = key.trim_end();
    (key.starts_with("SHA256:") && !key.contains(char::is_whitespace)).then(|| key.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_for_ssh_keygen() {
        assert_eq!(written(0).as_deref(), Some("19700101000000"));
        assert_eq!(written(1_700_000_000).as_deref(), Some("20231114221320"));
        assert_eq!((written(-1), written(i64::MAX), written(253_402_300_800)), (None, None, None));
    }

    #[test]
    fn only_what_ssh_keygen_says_is_a_fingerprint() {
        let key = |output: &str| {
            fingerprint(&Answer { success: true, output: output.into(), complaint: String::new() }).unwrap_or_default()
        };
        assert_eq!(key("Good \"git\" signature for joe with ED25519 key SHA256:abc\n"), "SHA256:abc");
        assert_eq!(key("Good \"git\" signature for x key SHA256:evil with RSA key SHA256:abc\n"), "SHA256:abc");
        for other in ["", "Bad signature with RSA key SHA256:abc", "Good signature key MD5:abc", "Good key SHA256:a b"]
        {
            assert_eq!(key(other), "", "{other}");
        }
    }
}
