//! Who signed: with real keys, `gpg`, `ssh-keygen` and `git`.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use git::{Commit, GitError, Keys, Repository, Revision, Signature};
use support::{Mirrors, Remote, git, git_input, mirrors};
use tempfile::TempDir;

const MAIN: &str = "refs/heads/main";
/// When commits are made unless a test says otherwise: 2023-11-14.
const THEN: i64 = 1_700_000_000;

/// People with secret keys, and a folder that vanishes with them.
struct People {
    folder: TempDir,
}

impl Drop for People {
    fn drop(&mut self) {
        // The agent that gpg has started for this folder.
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.home()).args(["--kill", "all"]).status();
    }
}

fn run(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let started = command.spawn();
    let mut child = started.unwrap_or_else(|error| {
        panic!("these tests need {program} on PATH (packages gnupg and openssh-client): {error}")
    });
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

impl People {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let people = Self { folder };
        std::fs::create_dir(people.home()).unwrap();
        std::fs::set_permissions(people.home(), std::fs::Permissions::from_mode(0o700)).unwrap();
        people
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("gnupg")
    }

    fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let home = self.home();
        let fixed = ["--homedir", home.to_str().unwrap(), "--batch", "--quiet", "--passphrase", ""];
        run("gpg", &[&fixed, arguments].concat(), input)
    }

    /// The fingerprints of a user's main key and subkeys.
    fn fingerprints(&self, who: &str) -> Vec<String> {
        let listing = String::from_utf8(self.gpg(&["--with-colons", "--list-keys", who], b"")).unwrap();
        let lines = listing.lines().filter_map(|line| line.strip_prefix("fpr:"));
        lines.map(|line| line.trim_matches(':').to_owned()).collect()
    }

    /// A new GPG key. `more` are options of gpg, such as another time.
    fn gpg_key(&self, who: &str, validity: &str, more: &[&str]) -> String {
        let generate = ["--quick-generate-key", &format!("{who} <{who}@example.com>"), "ed25519", "sign", validity];
        self.gpg(&[more, &generate].concat(), b"");
        self.fingerprints(who).remove(0)
    }

    fn public(&self, key: &str) -> String {
        String::from_utf8(self.gpg(&["--armor", "--export", key], b"")).unwrap()
    }

    /// Public keys as the ConfigMap has them.
    fn keys(&self, keys: &[&str]) -> Keys {
        let data = keys.iter().map(|key| (key[24..].to_owned(), self.public(key)));
        Keys::from_config_map(data.collect()).unwrap()
    }

    fn gpg_sign(&self, key: &str, payload: &[u8], more: &[&str]) -> String {
        let sign = ["--local-user", key, "--armor", "--detach-sign"];
        String::from_utf8(self.gpg(&[more, &sign].concat(), payload)).unwrap()
    }

    /// A new SSH key: its secret file and the public line without a comment.
    fn ssh_key(&self, name: &str, kind: &[&str]) -> (String, String) {
        let file = self.folder.path().join(name).to_str().unwrap().to_owned();
        run("ssh-keygen", &[&["-q", "-N", "", "-C", "", "-f", &file], kind].concat(), b"");
        let public = std::fs::read_to_string(format!("{file}.pub")).unwrap().trim().to_owned();
        (file, public)
    }

    fn ssh_sign(&self, file: &str, payload: &[u8], namespace: &str) -> String {
        let arguments = ["-q", "-Y", "sign", "-n", namespace, "-f", file];
        String::from_utf8(run("ssh-keygen", &arguments, payload)).unwrap()
    }

    /// The fingerprint as `ssh-keygen` shows it.
    fn ssh_fingerprint(&self, file: &str) -> String {
        let shown = String::from_utf8(run("ssh-keygen", &["-l", "-f", file], b"")).unwrap();
        shown.split(' ').nth(1).unwrap().to_owned()
    }

    /// A program for `gpg.program` that uses our keys.
    fn wrapper(&self) -> String {
        let file = self.folder.path().join("gpg.sh");
        std::fs::write(&file, format!("#!/bin/sh\nexec gpg --homedir '{}' \"$@\"\n", self.home().display())).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

fn ssh(entries: &[(&str, &str)]) -> Keys {
    let data: BTreeMap<String, String> = entries.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Keys::default().with_ssh(data).unwrap()
}

fn good(key: &str, signer: &str) -> Signature {
    Signature::Good { key: key.into(), subkey: None, signer: signer.into() }
}

/// A commit as it is signed.
fn payload(remote: &Remote, parents: &[&Commit], message: &str, seconds: i64) -> Vec<u8> {
    let tree = git_input(&remote.bare(), &["mktree"], b"");
    let parents: String = parents.iter().map(|parent| format!("parent {parent}\n")).collect();
    let who = format!("Joe <joe@example.com> {seconds} +0100");
    format!("tree {tree}\n{parents}author {who}\ncommitter {who}\n\n{message}\n").into_bytes()
}

/// Stores a commit with these signatures; what git itself would not store too.
fn store(remote: &Remote, payload: &[u8], signatures: &[&[u8]]) -> Commit {
    let end = payload.windows(2).position(|pair| pair == b"\n\n").unwrap() + 1;
    let mut data = payload[..end].to_vec();
    for signature in signatures {
        data.extend_from_slice(b"gpgsig ");
        for (number, line) in signature.strip_suffix(b"\n").unwrap_or(signature).split(|b| *b == b'\n').enumerate() {
            data.extend_from_slice(if number == 0 { b"" } else { b" " });
            data.extend_from_slice(line);
            data.push(b'\n');
        }
    }
    data.extend_from_slice(&payload[end..]);
    let id = git_input(&remote.bare(), &["hash-object", "-t", "commit", "-w", "--literally", "--stdin"], &data);
    Commit::parse(&id).unwrap()
}

async fn fetched(remote: &Remote, mirrors: &Mirrors, commit: &Commit) -> Arc<Repository> {
    git(&remote.bare(), &["update-ref", MAIN, commit.as_str()]);
    let repository = mirrors.git.repository(&remote.url());
    assert!(repository.fetch_pushed(commit, MAIN).await.unwrap().reachable);
    repository
}

#[track_caller]
fn bad(signature: Signature, want: &str) {
    match signature {
        Signature::Bad { reason } if reason.contains(want) => {}
        other => panic!("{other:?}, and not bad because {want:?}"),
    }
}

#[tokio::test]
async fn what_git_signs_is_good() {
    let (people, remote, mirrors) = (People::new(), Remote::new(), mirrors());
    let gpg = people.gpg_key("joe", "never", &[]);
    let (file, public) = people.ssh_key("id", &["-t", "ed25519"]);
    let with_gpg = ["-c", &format!("gpg.program={}", people.wrapper()), "-c", &format!("user.signingKey={gpg}")];
    let with_ssh = ["-c", "gpg.format=ssh", "-c", &format!("user.signingKey={file}")];
    remote.commit(&[("a", "unsigned")]);
    for (name, with) in [("gpg", with_gpg), ("ssh", with_ssh)] {
        let commit = ["commit", "--quiet", "--allow-empty", "-S", "-m", "subject\n\n-----BEGIN PGP SIGNATURE-----"];
        git(&remote.work(), &[&with[..], &commit].concat());
        git(&remote.work(), &[&with[..], &["tag", "-s", "-m", "notes", name]].concat());
        remote.push(&format!("refs/tags/{name}"));
    }
    remote.push(&format!("HEAD:{MAIN}"));
    let allowed = format!("joe@example.com {public}");
    let keys = people.keys(&[&gpg]).with_ssh([("allowed_signers".to_owned(), allowed)].into()).unwrap();

    let repository = mirrors.git.repository(&remote.url());
    let head = repository.resolve(&Revision::Head).await.unwrap().commit;
    let by_gpg = good(&gpg, "joe <joe@example.com>");
    let by_ssh = good(&people.ssh_fingerprint(&file), "joe@example.com");
    assert_eq!(repository.verify(&head, &keys).await.unwrap(), by_ssh);
    assert_eq!(repository.verify(&remote.id("HEAD~1"), &keys).await.unwrap(), by_gpg);
    assert_eq!(repository.verify(&remote.id("HEAD~2"), &keys).await.unwrap(), Signature::None);
    for (name, want) in [("gpg", &by_gpg), ("ssh", &by_ssh)] {
        let revision = Revision::parse(name).unwrap();
        let commit = repository.resolve(&revision).await.unwrap().commit;
        assert_eq!(&repository.verify_revision(&revision, &commit, &keys).await.unwrap(), want, "{name}");
        let tag = remote.id(&format!("refs/tags/{name}"));
        assert!(tag != commit);
        assert_eq!(&repository.verify(&tag, &keys).await.unwrap(), want, "{name}");
    }
    let unknown = Commit::parse(&"1".repeat(40)).unwrap();
    assert!(matches!(repository.verify(&unknown, &keys).await, Err(GitError::NotFetched { .. })));
    let tree = remote.id("HEAD^{tree}");
    assert!(matches!(repository.verify(&tree, &keys).await, Err(GitError::NotACommit { .. })));
}

#[tokio::test]
async fn gpg_signatures_of_every_kind() {
    let (people, remote, mirrors) = (People::new(), Remote::new(), mirrors());
    let joe = people.gpg_key("joe", "never", &["--faked-system-time", "20240101T000000!"]);
    people.gpg(&["--quick-add-key", &joe, "ed25519", "sign", "never"], b"");
    let subkey = people.fingerprints("joe").remove(1);
    let rsa = people.gpg_key("stranger", "never", &[]);
    let old = people.gpg_key("old", "30d", &["--faked-system-time", "20200101T000000!"]);
    let revoked = people.gpg_key("revoked", "never", &[]);

    let work = payload(&remote, &[], "work", THEN);
    let by_revoked = people.gpg_sign(&revoked, &work, &[]);
    let certificate = people.home().join(format!("openpgp-revocs.d/{revoked}.rev"));
    let certificate = std::fs::read_to_string(certificate).unwrap().replace("\n:-----BEGIN", "\n-----BEGIN");
    people.gpg(&["--import"], certificate.as_bytes());
    let keys = people.keys(&[&joe, &old, &revoked]);

    let by_joe = people.gpg_sign(&format!("{joe}!"), &work, &[]);
    let by_subkey = people.gpg_sign(&format!("{subkey}!"), &work, &[]);
    let by_old = people.gpg_sign(&old, &work, &["--faked-system-time", "20200102T000000!"]);
    let by_stranger = people.gpg_sign(&rsa, &work, &[]);
    let over_other = people.gpg_sign(&joe, &payload(&remote, &[], "other", THEN), &[]);
    let over_text = people.gpg_sign(&joe, &work, &["--textmode"]);
    let brief = people.gpg_sign(&joe, &work, &["--faked-system-time", "20240102T000000!", "--default-sig-expire", "7"]);
    // One armor with two signatures, and messages that hold their own content.
    let packets = |armored: &str| people.gpg(&["--dearmor"], armored.as_bytes());
    let armor = |bytes: &[u8]| {
        String::from_utf8(people.gpg(&["--enarmor"], bytes)).unwrap().replace("ARMORED FILE", "SIGNATURE")
    };
    let both = armor(&[packets(&by_joe), packets(&by_subkey)].concat());
    let inline = people.gpg(&["--local-user", &joe, "--sign"], &work);
    let plain = people.gpg(&["--local-user", &joe, "--compress-algo", "none", "--sign"], &work);
    let clear = String::from_utf8(people.gpg(&["--local-user", &joe, "--clear-sign"], &work)).unwrap();

    let store = |signatures: &[&str]| {
        store(&remote, &work, &signatures.iter().map(|signature| signature.as_bytes()).collect::<Vec<_>>())
    };
    let place = people.folder.path().join("touched").display().to_string();
    let shell = format!("$(touch {place}); `touch {place}`; ' ; touch {place} #\n{by_joe}");
    let within = by_joe.replace("\n\n", &format!("\nComment: $(touch {place})`touch {place}`\n\n"));
    let huge = by_joe.replace("\n\n", &format!("\nComment: {}\n\n", "x".repeat(5 << 20)));
    let stored = [
        (store(&[&by_joe]), Ok(good(&joe, "joe <joe@example.com>"))),
        (
            store(&[&by_subkey]),
            Ok(Signature::Good { key: joe.clone(), subkey: Some(subkey), signer: "joe <joe@example.com>".into() }),
        ),
        (store(&[]), Ok(Signature::None)),
        (store(&[&by_stranger]), Ok(Signature::UnknownKey { key: rsa })),
        (store(&[&by_old]), Ok(Signature::Expired { key: old })),
        (store(&[&by_revoked]), Ok(Signature::Revoked { key: revoked })),
        (store(&[&over_other]), Err("signed something else")),
        (store(&[&over_text]), Err("overlooks white space")),
        (store(&[&brief]), Err("it has expired")),
        (store(&[&by_joe, &by_joe]), Err("several signatures")),
        (store(&[&by_stranger, &by_joe]), Err("several signatures")),
        (store(&[&format!("{by_joe}{by_subkey}")]), Err("several signatures")),
        (store(&[&both]), Err("several signatures")),
        (store(&[&armor(&inline)]), Err("no detached GPG signature")),
        (store(&[&armor(&plain)]), Err("no detached GPG signature")),
        (store(&[&clear]), Err("neither a GPG nor an SSH signature")),
        (store(&[&by_joe[..by_joe.len() / 2]]), Err("cut off")),
        (store(&[&shell]), Err("neither a GPG nor an SSH signature")),
        (store(&[&within]), Ok(good(&joe, "joe <joe@example.com>"))),
        (store(&[&huge]), Err("bytes, and at most")),
        (store(&["-----BEGIN PGP SIGNATURE-----\n\niHUEABYK\n-----END PGP SIGNATURE-----"]), Err("cut off")),
        (store(&["--output=/tmp/x"]), Err("neither a GPG nor an SSH signature")),
    ];
    // The message altered after it was signed.
    let evil = payload(&remote, &[], "evil", THEN);
    let altered = self::store(&remote, &evil, &[by_joe.as_bytes()]);
    for (number, (commit, want)) in stored.into_iter().chain([(altered, Err("signed something else"))]).enumerate() {
        let repository = fetched(&remote, &mirrors, &commit).await;
        let signature = repository.verify(&commit, &keys).await.unwrap();
        match want {
            Ok(want) => assert_eq!(signature, want, "{number}"),
            Err(want) => bad(signature, want),
        }
    }
    assert!(!Path::new(&place).exists());

    // A commit whose message is no honest one is not even read.
    let endless = payload(&remote, &[], &"x".repeat(17 << 20), THEN);
    let endless = self::store(&remote, &endless, &[by_joe.as_bytes()]);
    let repository = fetched(&remote, &mirrors, &endless).await;
    assert!(matches!(repository.verify(&endless, &keys).await, Err(GitError::TooLarge { .. })));
}

#[tokio::test]
async fn ssh_signatures_of_every_kind() {
    let (people, remote, mirrors) = (People::new(), Remote::new(), mirrors());
    let work = payload(&remote, &[], "work", THEN);
    let names = ["joe", "rsa", "ec", "over", "early", "later", "file", "gone", "stranger"];
    let made: BTreeMap<&str, (String, String)> = names
        .into_iter()
        .map(|name| {
            let kind: &[&str] = match name {
                "rsa" => &["-t", "rsa", "-b", "2048"],
                "ec" => &["-t", "ecdsa"],
                _ => &["-t", "ed25519"],
            };
            (name, people.ssh_key(name, kind))
        })
        .collect();
    let public = |name: &str| made[name].1.clone();
    let lines = [
        "# people".to_owned(),
        format!("joe@example.com,joe@example.org {}", public("joe")),
        format!("*@rsa.example {}", public("rsa")),
        format!("\"ec@example.com\" namespaces=\"file,git\" {} comment", public("ec")),
        format!("over valid-before=\"20230101\" {}", public("over")),
        format!("early valid-after=\"20240101\" {}", public("early")),
        // Valid when the commit was made, and no longer today.
        format!("later valid-after=\"20231114\",valid-before=\"20231115000000Z\" {}", public("later")),
        format!("file namespaces=\"file\" {}", public("file")),
        format!("gone {}", public("gone")),
    ];
    let keys = ssh(&[("allowed_signers", &lines.join("\n")), ("revoked_keys", &public("gone"))]);
    let sign = |name: &str| people.ssh_sign(&made[name].0, &work, "git");
    let print = |name: &str| people.ssh_fingerprint(&made[name].0);
    let other = people.ssh_sign(&made["joe"].0, &payload(&remote, &[], "other", THEN), "git");
    let elsewhere = people.ssh_sign(&made["joe"].0, &work, "file");
    let empty = "-----BEGIN SSH SIGNATURE-----\nU1NIU0lH\n-----END SSH SIGNATURE-----".to_owned();
    for (what, signatures, want) in [
        ("joe", vec![sign("joe")], Ok(good(&print("joe"), "joe@example.com"))),
        ("rsa", vec![sign("rsa")], Ok(good(&print("rsa"), "*@rsa.example"))),
        ("ec", vec![sign("ec")], Ok(good(&print("ec"), "ec@example.com"))),
        ("later", vec![sign("later")], Ok(good(&print("later"), "later"))),
        ("over", vec![sign("over")], Ok(Signature::Expired { key: print("over") })),
        ("gone", vec![sign("gone")], Ok(Signature::Revoked { key: print("gone") })),
        ("stranger", vec![sign("stranger")], Ok(Signature::UnknownKey { key: print("stranger") })),
        ("early", vec![sign("early")], Err("may not sign for git, or not at the time")),
        ("file", vec![sign("file")], Err("may not sign for git, or not at the time")),
        ("over another commit", vec![other], Err("it does not fit")),
        ("for another purpose", vec![elsewhere], Err("was not made for git")),
        ("two", vec![sign("joe"), sign("joe")], Err("several signatures")),
        ("two in one", vec![format!("{}{}", sign("joe"), sign("ec"))], Err("several signatures")),
        ("nothing inside", vec![empty], Err("it does not fit")),
    ] {
        let commit = store(&remote, &work, &signatures.iter().map(String::as_bytes).collect::<Vec<_>>());
        let repository = fetched(&remote, &mirrors, &commit).await;
        let signature = repository.verify(&commit, &keys).await.unwrap();
        match want {
            Ok(want) => assert_eq!(signature, want, "{what}"),
            Err(want) => bad(signature, want),
        }
    }
    // Without a date nobody can say whether the key was valid then.
    let undated = String::from_utf8(work).unwrap().replace(&THEN.to_string(), "long ago").into_bytes();
    let commit = store(&remote, &undated, &[people.ssh_sign(&made["joe"].0, &undated, "git").as_bytes()]);
    let repository = fetched(&remote, &mirrors, &commit).await;
    bad(repository.verify(&commit, &keys).await.unwrap(), "date cannot be read");
}

#[tokio::test]
async fn a_result_is_kept_as_long_as_the_keys_are_the_same() {
    let (people, remote, mirrors) = (People::new(), Remote::new(), mirrors());
    let (joe, eve) = (people.gpg_key("joe", "never", &[]), people.gpg_key("eve", "never", &[]));
    let (file, public) = people.ssh_key("id", &["-t", "ed25519"]);
    let work = payload(&remote, &[], "work", THEN);
    let by_gpg = store(&remote, &work, &[people.gpg_sign(&joe, &work, &[]).as_bytes()]);
    let by_ssh = store(&remote, &work, &[people.ssh_sign(&file, &work, "git").as_bytes()]);
    let (of_gpg, of_ssh) = (good(&joe, "joe <joe@example.com>"), good(&people.ssh_fingerprint(&file), "joe"));
    let make = |keys: &[&str]| {
        people.keys(keys).with_ssh([("allowed_signers".to_owned(), format!("joe {public}"))].into()).unwrap()
    };
    let keys = make(&[&joe, &eve]);
    fetched(&remote, &mirrors, &by_ssh).await;
    let repository = fetched(&remote, &mirrors, &by_gpg).await;
    let cost = async |commit: &Commit, keys: &Keys, want: &Signature| {
        let before = mirrors.git.processes_started();
        assert_eq!(&repository.verify(commit, keys).await.unwrap(), want);
        mirrors.git.processes_started() - before
    };
    // Two imports, a listing, and the signature. SSH: whose key it is, and the signature.
    assert_eq!(cost(&by_gpg, &keys, &of_gpg).await, 4);
    assert_eq!(cost(&by_ssh, &keys, &of_ssh).await, 2);
    for (commit, want) in [(&by_gpg, &of_gpg), (&by_ssh, &of_ssh)] {
        assert_eq!(cost(commit, &make(&[&eve, &joe]), want).await, 0);
    }
    // A key that was taken out counts no longer, at once; and is back as fast.
    let unknown = Signature::UnknownKey { key: joe.clone() };
    assert_eq!(cost(&by_gpg, &make(&[&eve]), &unknown).await, 3);
    assert_eq!(cost(&by_gpg, &make(&[&eve]), &unknown).await, 0);
    assert_eq!(cost(&by_gpg, &keys, &of_gpg).await, 0);
    // Somebody has cleared the folder: the keys are written anew.
    std::fs::remove_dir_all(mirrors.folder.path().join("git/keys")).unwrap();
    assert_eq!(cost(&by_gpg, &keys, &of_gpg).await, 4);

    // The same commit in another repository is the same commit.
    let fork = Remote::new();
    git(&fork.bare(), &["fetch", "--quiet", remote.bare().to_str().unwrap(), MAIN]);
    let fork = fetched(&fork, &mirrors, &by_gpg).await;
    let before = mirrors.git.processes_started();
    assert_eq!(fork.verify(&by_gpg, &keys).await.unwrap(), of_gpg);
    assert_eq!(mirrors.git.processes_started(), before);
}

#[tokio::test]
async fn a_key_that_expires_is_noticed() {
    let (people, remote, mirrors) = (People::new(), Remote::new(), mirrors());
    let brief = people.gpg_key("brief", "seconds=5", &[]);
    let work = payload(&remote, &[], "work", THEN);
    let commit = store(&remote, &work, &[people.gpg_sign(&brief, &work, &[]).as_bytes()]);
    let keys = people.keys(&[&brief]);
    let repository = fetched(&remote, &mirrors, &commit).await;
    assert_eq!(repository.verify(&commit, &keys).await.unwrap(), good(&brief, "brief <brief@example.com>"));
    let started = mirrors.git.processes_started();
    assert!(matches!(repository.verify(&commit, &keys).await.unwrap(), Signature::Good { .. }));
    assert_eq!(mirrors.git.processes_started(), started);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let signature = repository.verify(&commit, &keys).await.unwrap();
        if signature == (Signature::Expired { key: brief.clone() }) {
            break;
        }
        assert!(Instant::now() < deadline && matches!(signature, Signature::Good { .. }), "{signature:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_key_that_is_no_key_is_named() {
    let (people, remote, mirrors) = (People::new(), Remote::new(), mirrors());
    let joe = people.gpg_key("joe", "never", &[]);
    let work = payload(&remote, &[], "work", THEN);
    let commit = store(&remote, &work, &[people.gpg_sign(&joe, &work, &[]).as_bytes()]);
    let repository = fetched(&remote, &mirrors, &commit).await;
    let block =
        |body: &str| format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n");
    let cut = people.public(&people.gpg_key("eve", "never", &[]));
    for text in [block("aGVsbG8="), block(""), block("!"), cut[..cut.len() / 3].to_owned()] {
        let data = [(joe.clone(), people.public(&joe)), ("WRONG".into(), text.clone())];
        let keys = Keys::from_config_map(data.into()).unwrap();
        let error = repository.verify(&commit, &keys).await.unwrap_err();
        assert!(
            matches!(&error, GitError::InvalidKey { key, .. } if key == "WRONG in argocd-gpg-keys-cm"),
            "{text}: {error}"
        );
        assert!(!error.is_transient());
    }
    let private = String::from_utf8(people.gpg(&["--armor", "--export-secret-keys", &joe], b"")).unwrap();
    let error = Keys::from_config_map([("JOE".to_owned(), private)].into()).unwrap_err().to_string();
    assert!(error.contains("JOE in argocd-gpg-keys-cm") && error.contains("private key"), "{error}");
    // Without any key every signature is a stranger's.
    let none = Keys::from_config_map(BTreeMap::new()).unwrap();
    let mut costs = Vec::new();
    for _ in 0..2 {
        let before = mirrors.git.processes_started();
        assert_eq!(repository.verify(&commit, &none).await.unwrap(), Signature::UnknownKey { key: joe.clone() });
        costs.push(mirrors.git.processes_started() - before);
    }
    assert_eq!(costs, [2, 0]);
}

#[tokio::test]
async fn an_annotated_tag_is_verified_by_its_own_name() {
    let (people, remote, mirrors) = (People::new(), Remote::new(), mirrors());
    let (file, public) = people.ssh_key("id", &["-t", "ed25519"]);
    let keys = ssh(&[("allowed_signers", &format!("joe {public}"))]);
    let joe = good(&people.ssh_fingerprint(&file), "joe");
    let with = ["-c", "gpg.format=ssh", "-c", &format!("user.signingKey={file}")];
    let unsigned = remote.pushed(&[("a", "1")]);
    git(&remote.work(), &[&with[..], &["tag", "-s", "-m", "x", "v1.0.0", unsigned.as_str()]].concat());
    git(&remote.work(), &[&with[..], &["commit", "--quiet", "--allow-empty", "-S", "-m", "x"]].concat());
    let signed = remote.id("HEAD");
    git(&remote.work(), &["tag", "-m", "unsigned", "v1.1.0"]);
    git(&remote.work(), &["tag", "light"]);
    // The tag of the old release, pushed as a new one.
    let old = remote.id("refs/tags/v1.0.0");
    git(&remote.work(), &["update-ref", "refs/tags/v1.2.0", old.as_str()]);
    git(&remote.work(), &["branch", "both"]);
    git(&remote.work(), &[&with[..], &["tag", "-s", "-m", "x", "both", unsigned.as_str()]].concat());
    for refspec in ["HEAD:refs/heads/main", "refs/heads/both", "refs/tags/*:refs/tags/*"] {
        remote.push(refspec);
    }

    let repository = mirrors.git.repository(&remote.url());
    for (revision, commit, want) in [
        ("v1.0.0", &unsigned, Ok(&joe)),
        ("refs/tags/v1.0.0", &unsigned, Ok(&joe)),
        ("tags/v1.0.0", &unsigned, Ok(&joe)),
        ("~1.0.0", &unsigned, Ok(&joe)),
        ("main", &signed, Ok(&joe)),
        ("HEAD", &signed, Ok(&joe)),
        ("light", &signed, Ok(&joe)),
        ("both", &signed, Ok(&joe)),
        (signed.as_str(), &signed, Ok(&joe)),
        (unsigned.as_str(), &unsigned, Ok(&Signature::None)),
        (old.as_str(), &unsigned, Ok(&joe)),
        ("v1.1.0", &signed, Ok(&Signature::None)),
        ("~1.1.0", &signed, Ok(&Signature::None)),
        ("v1.2.0", &unsigned, Err("the tag was signed as \"v1.0.0\" and stands at \"v1.2.0\"")),
        ("1.*", &unsigned, Err("the tag was signed as \"v1.0.0\" and stands at \"v1.2.0\"")),
    ] {
        let parsed = Revision::parse(revision).unwrap();
        assert_eq!(&repository.resolve(&parsed).await.unwrap().commit, commit, "{revision}");
        let signature = repository.verify_revision(&parsed, commit, &keys).await.unwrap();
        match want {
            Ok(want) => assert_eq!(&signature, want, "{revision}"),
            Err(want) => bad(signature, want),
        }
    }
    // A pushed tag is known without asking again; where the revision no longer means the commit, the commit counts.
    let pushed = remote.commit(&[("b", "2")]);
    git(&remote.work(), &[&with[..], &["tag", "-f", "-s", "-m", "x", "v1.1.0"]].concat());
    remote.push("refs/tags/v1.1.0");
    let moved = Revision::parse("v1.1.0").unwrap();
    repository.fetch_pushed(&pushed, "refs/tags/v1.1.0").await.unwrap();
    assert_eq!(repository.verify_revision(&moved, &pushed, &keys).await.unwrap(), joe);
    assert_eq!(repository.verify_revision(&moved, &signed, &keys).await.unwrap(), joe);
    assert_eq!(repository.verify_revision(&moved, &unsigned, &keys).await.unwrap(), Signature::None);
}

/// A history to be verified: commits by letters.
struct History {
    people: People,
    remote: Remote,
    mirrors: Mirrors,
    keys: Keys,
    commits: BTreeMap<&'static str, Commit>,
}

const SEAL: &str = "\n\nArgocd-gpg-seal: reviewed";

impl History {
    fn new() -> Self {
        let people = People::new();
        let lines = ["joe", "eve"].map(|name| format!("{name} {}", people.ssh_key(name, &["-t", "ed25519"]).1));
        let keys = ssh(&[("allowed_signers", &lines.join("\n"))]);
        Self { people, remote: Remote::new(), mirrors: mirrors(), keys, commits: BTreeMap::new() }
    }

    /// Adds commits: name, parents, who signs (or nobody), message. Each a second after the one before.
    fn add(&mut self, commits: &[(&'static str, &[&str], &str, &str)]) {
        for (name, parents, who, message) in commits {
            self.add_at(name, parents, who, message, THEN + self.commits.len() as i64);
        }
    }

    fn add_at(&mut self, name: &'static str, parents: &[&str], who: &str, message: &str, seconds: i64) {
        let parents: Vec<&Commit> = parents.iter().map(|parent| &self.commits[parent]).collect();
        let data = payload(&self.remote, &parents, &format!("{name}{message}"), seconds);
        let signature = if who.is_empty() {
            None
        } else {
            let file = self.people.folder.path().join(who);
            Some(self.people.ssh_sign(file.to_str().unwrap(), &data, "git"))
        };
        let signatures: Vec<&[u8]> = signature.iter().map(|signature| signature.as_bytes()).collect();
        self.commits.insert(name, store(&self.remote, &data, &signatures));
    }

    /// How many commits are looked at, and the names of those that are refused; only Joe is trusted.
    async fn verified(&self, from: &str, to: &str) -> (usize, Vec<&'static str>) {
        let repository = fetched(&self.remote, &self.mirrors, &self.commits[to]).await;
        let from = self.commits.get(from);
        let by_joe = |signature: &Signature| matches!(signature, Signature::Good { signer, .. } if signer == "joe");
        let verified = repository.verify_range(from, &self.commits[to], &self.keys, by_joe).await.unwrap();
        let name = |commit: &Commit| *self.commits.iter().find(|(_, known)| *known == commit).unwrap().0;
        (verified.commits, verified.refused.iter().map(|(commit, _)| name(commit)).collect())
    }
}

#[tokio::test]
async fn every_commit_since_the_last_is_verified() {
    let mut history = History::new();
    history.add(&[
        ("a", &[], "", ""),
        ("b", &["a"], "joe", ""),
        ("c", &["b"], "eve", ""),
        ("d", &["c"], "joe", ""),
        ("e", &["d"], "joe", ""),
        // A branch that was merged, with a commit of somebody else.
        ("f", &["b"], "", ""),
        ("g", &["f"], "joe", ""),
        ("h", &["e", "g"], "joe", ""),
    ]);
    for (from, to, count, refused) in [
        ("", "e", 5, vec!["c", "a"]),
        ("a", "e", 4, vec!["c"]),
        ("c", "e", 2, vec![]),
        ("d", "e", 1, vec![]),
        // Nothing new, or back to what was before: the commit itself all the same.
        ("e", "e", 1, vec![]),
        ("e", "c", 1, vec!["c"]),
        ("e", "a", 1, vec!["a"]),
        ("e", "h", 3, vec!["f"]),
        ("g", "h", 4, vec!["c"]),
        ("c", "h", 5, vec!["f"]),
        ("", "h", 8, vec!["f", "c", "a"]),
    ] {
        assert_eq!(history.verified(from, to).await, (count, refused), "{from}..{to}");
    }
    // A commit that is no longer there, since somebody has rewritten history, vouches for nothing.
    history.commits.insert("gone", Commit::parse(&"1".repeat(40)).unwrap());
    assert_eq!(history.verified("gone", "e").await, (5, vec!["c", "a"]));
    let repository = history.mirrors.git.repository(&history.remote.url());
    let error = repository.verify_range(None, &history.commits["gone"], &history.keys, |_| true).await.unwrap_err();
    assert!(matches!(error, GitError::NotFetched { .. }), "{error}");
}

#[tokio::test]
async fn a_seal_vouches_for_what_is_before_it_if_it_is_trusted_itself() {
    let mut history = History::new();
    history.add(&[
        ("a", &[], "", ""),
        ("b", &["a"], "", ""),
        ("seal", &["b"], "joe", SEAL),
        ("c", &["seal"], "joe", ""),
        ("eve", &["b"], "eve", SEAL),
        ("d", &["eve"], "joe", ""),
        ("none", &["b"], "", SEAL),
        ("e", &["none"], "joe", ""),
        // A branch from before the seal: what it has in common with the sealed part is sealed.
        ("f", &["a"], "joe", ""),
        ("g", &["c", "f"], "joe", ""),
        ("second", &["g"], "joe", SEAL),
        ("h", &["second"], "", ""),
    ]);
    for (from, to, count, refused) in [
        ("", "seal", 1, vec![]),
        ("", "c", 2, vec![]),
        ("", "d", 4, vec!["eve", "b", "a"]),
        ("", "e", 4, vec!["none", "b", "a"]),
        ("b", "d", 2, vec!["eve"]),
        ("", "g", 4, vec![]),
        ("", "h", 2, vec!["h"]),
        ("seal", "h", 2, vec!["h"]),
    ] {
        assert_eq!(history.verified(from, to).await, (count, refused), "{from}..{to}");
    }
}

#[tokio::test]
async fn clocks_that_are_wrong_never_hide_a_commit() {
    let mut history = History::new();
    history.add(&[("a", &[], "joe", "")]);
    // The last verified commit is dated long before, and what lies before it long after: both ends of the walk are misled.
    history.add_at("b", &["a"], "", "", THEN + 9_000);
    history.add_at("last", &["b"], "joe", "", 5);
    history.add_at("evil", &["last"], "", "", 1);
    history.add_at("c", &["evil"], "joe", "", THEN);
    history.add_at("future", &["c"], "joe", "", i64::MAX);
    history.add_at("d", &["future"], "joe", "", THEN + 1);
    let (count, refused) = history.verified("last", "d").await;
    // The commit from the future is signed with a date that ssh-keygen cannot be asked about.
    assert_eq!((count, refused), (4, vec!["future", "evil"]));
    assert_eq!(history.verified("", "d").await.1, ["future", "evil", "b"]);
}

#[tokio::test]
async fn a_history_without_end_is_refused_and_a_long_one_takes_seconds() {
    let history = History::new();
    let script: String =
        (0..3_100).map(|n| format!("commit {MAIN}\ncommitter Joe <joe> {} +0000\ndata 1\nx\n\n", THEN + n)).collect();
    git_input(&history.remote.bare(), &["fast-import", "--quiet"], script.as_bytes());
    let newest = Commit::parse(&git(&history.remote.bare(), &["rev-parse", MAIN])).unwrap();
    let before = Commit::parse(&git(&history.remote.bare(), &["rev-parse", &format!("{MAIN}~2900")])).unwrap();
    let repository = fetched(&history.remote, &history.mirrors, &newest).await;
    let error = repository.verify_range(None, &newest, &history.keys, |_| true).await.unwrap_err();
    assert!(matches!(&error, GitError::HistoryTooLong { limit: 3_000, .. }), "{error}");
    assert!(error.to_string().contains("Argocd-gpg-seal"), "{error}");
    let verified = repository.verify_range(Some(&before), &newest, &history.keys, |_| true).await.unwrap();
    assert_eq!((verified.commits, verified.refused.len()), (2_900, 0));
    let verified = repository.verify_range(Some(&before), &newest, &history.keys, |_| false).await.unwrap();
    assert_eq!((verified.commits, verified.refused.len()), (64, 10));

    // Signed ones cost processes, once.
    let mut parent = newest.clone();
    for number in 0..100 {
        let data = payload(&history.remote, &[&parent], &format!("{number}"), THEN + 4_000 + number);
        let file = history.people.folder.path().join("joe");
        let signature = history.people.ssh_sign(file.to_str().unwrap(), &data, "git");
        parent = store(&history.remote, &data, &[signature.as_bytes()]);
    }
    let repository = fetched(&history.remote, &history.mirrors, &parent).await;
    let started = Instant::now();
    let range = || repository.verify_range(Some(&newest), &parent, &history.keys, |s| s.good_keys().count() == 1);
    let verified = range().await.unwrap();
    let first = started.elapsed();
    assert_eq!((verified.commits, verified.refused.len()), (100, 0));
    let (started, processes) = (Instant::now(), history.mirrors.git.processes_started());
    assert_eq!(range().await.unwrap(), verified);
    println!("100 signed commits: {first:?}, the second time {:?}", started.elapsed());
    assert_eq!(history.mirrors.git.processes_started(), processes);
}
