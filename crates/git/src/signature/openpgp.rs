//! GPG signatures, by `gpg`.
//!
//! Every key of the ring is trusted as such (`--trust-model always`), as in Argo CD: webs of trust are not for machines. What
//! the program found out is read from its status lines (GnuPG's `doc/DETAILS`); its words are only shown.

use std::ffi::OsString;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use super::keys::{Keys, invalid};
use super::{Signature, Verdict};
use crate::GitError;
use crate::process::{Answer, Program};

const GPG: &str = "gpg";
/// A signature over bytes as they are. Git makes no other kind, and text signatures overlook white space.
const BINARY: &str = "00";
/// Why a signature could not be checked: there is no such key.
const NO_SUCH_KEY: &str = "9";

/// A folder with the keys as `gpg` stores them.
pub(super) struct Home {
    pub(super) path: PathBuf,
    /// Whether there was a file with keys at the end; without keys there may be none.
    stored: bool,
    /// When keys expire or have expired, in seconds since 1970.
    pub(super) expiries: Vec<u64>,
}

impl Home {
    pub(super) fn is_there(&self) -> bool {
        self.path.is_dir() && self.stored == stored(&self.path)
    }
}

fn stored(home: &Path) -> bool {
    home.join("pubring.kbx").is_file()
}

fn arguments(home: &Path, more: &[&str]) -> Vec<OsString> {
    let fixed = [
        "--no-options",
        "--batch",
        "--no-tty",
        "--status-fd=1",
        "--no-autostart",
        "--disable-dirmngr",
        "--no-auto-key-retrieve",
        "--no-auto-check-trustdb",
        "--trust-model=always",
        "--lock-never",
        "--no-random-seed-file",
        "--homedir",
    ];
    let fixed = fixed.iter().map(OsString::from).chain([home.into()]);
    fixed.chain(more.iter().map(OsString::from)).collect()
}

/// Imports the keys, one by one, so that one that is none can be named.
pub(super) async fn prepare(program: &Program, folder: &Path, keys: &Keys) -> Result<Home, GitError> {
    let home = folder.join("gnupg");
    if let Err(error) = std::fs::DirBuilder::new().mode(0o700).create(&home)
        && error.kind() != std::io::ErrorKind::AlreadyExists
    {
        return Err(GitError::disk("creating the folder for gpg")(error));
    }
    for (entry, armored) in keys.openpgp() {
        let answer = program.ask(GPG, arguments(&home, &["--import"]), armored.as_bytes()).await?;
        if !status(&answer.output).any(|(word, _)| word == "IMPORT_OK") {
            let reason = format!("gpg finds no public key in it ({})", answer.words());
            return Err(invalid(&format!("{entry} in {}", Keys::GPG_CONFIG_MAP), &reason));
        }
    }
    let answer = program.ask(GPG, arguments(&home, &["--with-colons", "--list-keys"]), b"").await?;
    if !answer.success {
        return Err(GitError::NotVerified { what: "the GPG keys".into(), message: answer.words() });
    }
    Ok(Home { stored: stored(&home), path: home, expiries: expiries(&answer.output) })
}

/// When main keys and subkeys expire, from a listing with colons.
fn expiries(listing: &str) -> Vec<u64> {
    let fields = listing.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let keys = fields.filter(|fields| matches!(fields.first(), Some(&("pub" | "sub"))));
    keys.filter_map(|fields| fields.get(6)?.parse().ok()).collect()
}

pub(super) async fn verify(program: &Program, home: &Path, packet: &[u8], payload: &[u8]) -> Result<Verdict, GitError> {
    let failed = || GitError::disk("writing a signature");
    let file = tempfile::NamedTempFile::new_in(home).map_err(failed())?;
    std::fs::write(file.path(), packet).map_err(failed())?;
    let mut arguments = arguments(home, &["--verify"]);
    arguments.extend([file.path().into(), "-".into()]);
    Ok(judge(&program.ask(GPG, arguments, payload).await?))
}

/// The status lines, each as its keyword and the rest.
fn status(output: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = output.lines().filter_map(|line| line.strip_prefix("[GNUPG:] "));
    lines.map(|line| line.split_once(' ').unwrap_or((line, "")))
}

/// What the status lines come to. Only a single good signature, and not one word against it, is good.
fn judge(answer: &Answer) -> Verdict {
    let (mut good, mut valid, mut trouble) = (Vec::new(), Vec::new(), Vec::new());
    for (word, rest) in status(&answer.output) {
        match word {
            "GOODSIG" => good.push(rest),
            "VALIDSIG" => valid.push(rest),
            "BADSIG" | "ERRSIG" | "EXPSIG" | "EXPKEYSIG" | "REVKEYSIG" => trouble.push((word, rest)),
            _ => {}
        }
    }
    let fields: Vec<&str> = valid.first().map(|rest| rest.split(' ').collect()).unwrap_or_default();
    let field = |number: usize| fields.get(number).copied().unwrap_or_default();
    // Fingerprints of the key that signed and of its main key; the signature's class and its end.
    let (signed_by, main, class, end) = (field(0), field(9), field(8), field(3));
    let until = end.parse().ok().filter(|end| *end != 0);
    let named = |rest: &str| if main.is_empty() { first(rest) } else { main.to_owned() };
    let signature = match (good.as_slice(), valid.as_slice(), trouble.as_slice()) {
        ([_], [_], []) if class != BINARY => Signature::bad("it was made over text and overlooks white space"),
        ([who], [_], []) if answer.success && is_fingerprint(main) && is_fingerprint(signed_by) => Signature::Good {
            key: main.to_owned(),
            subkey: (signed_by != main).then(|| signed_by.to_owned()),
            signer: readable(who.split_once(' ').map_or("", |(_, name)| name)),
        },
        ([], _, [("EXPKEYSIG", rest)]) => Signature::Expired { key: named(rest) },
        ([], _, [("REVKEYSIG", rest)]) => Signature::Revoked { key: named(rest) },
        ([], _, [("EXPSIG", rest)]) => Signature::bad(format!("it has expired (by {})", named(rest))),
        ([], _, [("BADSIG", rest)]) => {
            Signature::bad(format!("it does not fit: {} signed something else, or this was altered", named(rest)))
        }
        ([], _, [("ERRSIG", rest)]) => {
            let fields: Vec<&str> = rest.split(' ').collect();
            let fingerprint = fields.get(6).filter(|text| is_fingerprint(text));
            if fields.get(5) == Some(&NO_SUCH_KEY) {
                Signature::UnknownKey { key: fingerprint.map_or_else(|| first(rest), |f| (*f).to_owned()) }
            } else {
                Signature::bad(format!("gpg cannot check it ({})", answer.words()))
            }
        }
        ([_, _, ..], ..) | (_, [_, _, ..], _) | (_, _, [_, _, ..]) => Signature::bad("it carries several signatures"),
        _ => Signature::bad(format!("gpg does not take it ({})", answer.words())),
    };
    Verdict { signature, until }
}

fn is_fingerprint(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn first(rest: &str) -> String {
    rest.split(' ').next().unwrap_or_default().chars().filter(char::is_ascii_alphanumeric).take(64).collect()
}

/// A user id as a person reads it: `gpg` writes what would disturb its lines as `%0A`.
fn readable(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => (bytes.push(byte), rest = &after[2..]).1,
            None => (bytes.push(*first), rest = after).1,
        }
    }
    String::from_utf8_lossy(&bytes).chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = "5667A015A046E71C5E513E14F4726A5173C4C59B";
    const SUB: &str = "CBFD37508E8276E6A70F4A854A501D399A005A28";

    fn judged(success: bool, lines: &str) -> Verdict {
        let output: String = lines.lines().map(|line| format!("[GNUPG:] {}\n", line.trim())).collect();
        judge(&Answer { success, output, complaint: "gpg: some words".into() })
    }

    #[test]
    fn status_lines_are_read() {
        let valid = |by: &str, class: &str| format!("VALIDSIG {by} 2026-11-25 1795638699 0 4 0 22 8 {class} {MAIN}");
        let (by_main, by_sub) = (valid(MAIN, "00"), valid(SUB, "00"));
        let good = |key: &str, subkey: Option<&str>, signer: &str| Signature::Good {
            key: key.into(),
            subkey: subkey.map(str::to_owned),
            signer: signer.into(),
        };
        let joe = "GOODSIG F4726A5173C4C59B Joe <joe@example.com>";
        let bad = Signature::bad;
        for (success, lines, want) in [
            (true, format!("NEWSIG\n{joe}\n{by_main}"), good(MAIN, None, "Joe <joe@example.com>")),
            (true, format!("NEWSIG\n{joe}\n{by_sub}"), good(MAIN, Some(SUB), "Joe <joe@example.com>")),
            (true, format!("GOODSIG F4726A5173C4C59B J%C3%B6%0A%25 %zz\n{by_main}"), good(MAIN, None, "Jö% %zz")),
            (false, format!("{joe}\n{by_main}"), bad("gpg does not take it (gpg: some words)")),
            (true, joe.into(), bad("gpg does not take it (gpg: some words)")),
            (true, by_main.clone(), bad("gpg does not take it (gpg: some words)")),
            (true, format!("{joe}\n{}", valid(MAIN, "01")), bad("it was made over text and overlooks white space")),
            (true, format!("{joe}\n{by_main}\n{joe}\n{by_sub}"), bad("it carries several signatures")),
            (true, format!("{joe}\n{by_main}\nBADSIG 1 x"), bad("gpg does not take it (gpg: some words)")),
            (true, format!("KEYEXPIRED 1\nEXPKEYSIG F4 Joe\n{by_sub}"), Signature::Expired { key: MAIN.into() }),
            (true, format!("REVKEYSIG F4 Joe\n{by_main}"), Signature::Revoked { key: MAIN.into() }),
            (true, format!("EXPSIG F4 Joe\n{by_main}"), bad(&format!("it has expired (by {MAIN})"))),
            (
                false,
                "BADSIG F4726A5173C4C59B Joe <joe>".into(),
                bad("it does not fit: F4726A5173C4C59B signed something else, or this was altered"),
            ),
            (false, format!("ERRSIG 59 22 8 00 17 9 {SUB}\nNO_PUBKEY 59"), Signature::UnknownKey { key: SUB.into() }),
            (false, "ERRSIG 5978 22 8 00 17 9 -".into(), Signature::UnknownKey { key: "5978".into() }),
            (false, "ERRSIG 5978 22 8 00 17 9".into(), Signature::UnknownKey { key: "5978".into() }),
            (false, format!("ERRSIG 59 22 8 00 17 4 {SUB}"), bad("gpg cannot check it (gpg: some words)")),
            (false, "NODATA 4".into(), bad("gpg does not take it (gpg: some words)")),
            (true, String::new(), bad("gpg does not take it (gpg: some words)")),
        ] {
            assert_eq!(judged(success, &lines).signature, want, "{lines}");
        }
        // Lines that are not gpg's own do not count.
        let forged = Answer { success: true, output: format!("{joe}\n{by_main}\n"), complaint: String::new() };
        assert!(matches!(judge(&forged).signature, Signature::Bad { .. }));
    }

    #[test]
    fn a_signature_that_ends_says_when() {
        let until = |end: &str| {
            judged(true, &format!("GOODSIG F4 J\nVALIDSIG {MAIN} 2026-11-25 1795638699 {end} 4 0 22 8 00 {MAIN}")).until
        };
        assert_eq!((until("1795639999"), until("0"), until("x")), (Some(1_795_639_999), None, None));
    }

    #[test]
    fn a_listing_says_when_keys_expire() {
        let listing = "tru::1:17:0:3:1:5\npub:e:255:22:5EC2:1577836800:1580428800::-:::sc:\nfpr:::::::::D8:\n\
                       uid:e::::1577836800:99::CC::Old:\nsub:-:255:22:4A50:1795638699:1795639999:::::s:\npub:-:255:22:F4:17:::-:";
        assert_eq!(expiries(listing), [1_580_428_800, 1_795_639_999]);
    }
}
