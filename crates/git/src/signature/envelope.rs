//! A signed object taken apart: what was signed, and the signature.
//!
//! Git's way of doing it, read strictly: one signature, of a kind that is known, and nothing beside it. So the programs behind
//! never see several signatures, compressed data or a message with content of its own, each of which has fooled somebody once.

use base64::Engine as _;

/// Commits and tags hold a message, not files. Kept in memory while they are verified.
pub(super) const MAX_OBJECT: u64 = 16 << 20;
/// RSA with 16,384 bits takes about 3 kB.
const MAX_SIGNATURE: usize = 64 << 10;

const OPENPGP: (&str, &str) = ("-----BEGIN PGP SIGNATURE-----", "-----END PGP SIGNATURE-----");
const SSH: (&str, &str) = ("-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----");
/// What git takes for the beginning of a tag's signature.
const BEGINNINGS: [&str; 4] = [OPENPGP.0, SSH.0, "-----BEGIN PGP MESSAGE-----", "-----BEGIN SIGNED MESSAGE-----"];
/// With this an SSH signature begins.
const SSH_MAGIC: &[u8] = b"SSHSIG";

#[derive(Debug)]
pub(super) struct Envelope {
    /// What was signed.
    pub payload: Vec<u8>,
    pub block: Block,
    /// When it was made, by its own account.
    pub seconds: Option<i64>,
    /// What a tag says it is called.
    pub name: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    Absent,
    Unusable(String),
    /// One signature packet, without armor.
    OpenPgp(Vec<u8>),
    /// One armored signature.
    Ssh(String),
}

impl Envelope {
    /// A commit's signature is a header (`gpgsig`, also for SSH) whose further lines begin with a space.
    pub(super) fn of_commit(data: &[u8]) -> Self {
        #[derive(PartialEq)]
        enum Within {
            Signed,
            Signature,
            /// The signature over the commit's form with the other hash, which git does not count as signed either.
            Other,
        }
        let mut payload = Vec::with_capacity(data.len());
        let mut signatures: Vec<Vec<u8>> = Vec::new();
        let mut within = Within::Signed;
        let mut rest = data;
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.iter().position(|b| *b == b'\n').map_or(rest.len(), |at| at + 1));
            if line == b"\n" {
                payload.extend_from_slice(rest);
                break;
            }
            rest = after;
            let mut text = line;
            if let Some(continued) = line.strip_prefix(b" ") {
                if within != Within::Signed {
                    text = continued;
                }
            } else if let Some(first) = line.strip_prefix(b"gpgsig ") {
                (within, text) = (Within::Signature, first);
                signatures.push(Vec::new());
            } else {
                within = if line.starts_with(b"gpgsig-sha256 ") { Within::Other } else { Within::Signed };
            }
            match (&within, signatures.last_mut()) {
                (Within::Signature, Some(signature)) => signature.extend_from_slice(text),
                (Within::Other, _) => {}
                _ => payload.extend_from_slice(text),
            }
        }
        let block = match signatures.as_slice() {
            [] => Block::Absent,
            [one] => Block::read(one),
            _ => Block::Unusable("it carries several signatures".into()),
        };
        let seconds = seconds(&payload, b"committer ");
        Self { payload, block, seconds, name: None }
    }

    /// A tag's signature stands at the end of its message. The last line that begins one counts, as for git.
    pub(super) fn of_tag(data: &[u8]) -> Self {
        let mut start = data.len();
        let mut at = 0;
        for line in data.split_inclusive(|b| *b == b'\n') {
            if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning.as_bytes())) {
                start = at;
            }
            at += line.len();
        }
        let (payload, signature) = data.split_at(start);
        let block = if signature.is_empty() { Block::Absent } else { Block::read(signature) };
        let name = header(payload, b"tag ").map(|name| String::from_utf8_lossy(name).into_owned());
        Self { payload: payload.to_vec(), block, seconds: seconds(payload, b"tagger "), name }
    }
}

/// The first header of this name. It ends with a space.
fn header<'a>(data: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let headers = data.split(|b| *b == b'\n').take_while(|line| !line.is_empty());
    headers.into_iter().find_map(|line| line.strip_prefix(name))
}

/// The time in a header like `committer Joe <joe@example.com> 1700000000 +0100`.
pub(super) fn seconds(data: &[u8], name: &[u8]) -> Option<i64> {
    let line = header(data, name)?;
    let after = line.get(line.iter().rposition(|b| *b == b'>')? + 1..)?;
    std::str::from_utf8(after).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

impl Block {
    fn read(text: &[u8]) -> Self {
        if text.len() > MAX_SIGNATURE {
            return Self::Unusable(format!("it has {} bytes, and at most {MAX_SIGNATURE} are taken", text.len()));
        }
        let read = std::str::from_utf8(text).map_err(|_| "it is not text".to_owned()).and_then(Self::read_text);
        read.unwrap_or_else(Self::Unusable)
    }

    fn read_text(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.starts_with(OPENPGP.0) {
            let packet = armored(text, OPENPGP)?;
            one_signature(&packet)?;
            return Ok(Self::OpenPgp(packet));
        }
        if text.starts_with(SSH.0) {
            if !armored(text, SSH)?.starts_with(SSH_MAGIC) {
                return Err("it is no SSH signature inside".into());
            }
            return Ok(Self::Ssh(format!("{text}\n")));
        }
        let first: String =
            text.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(60).collect();
        Err(match first.as_str() {
            "-----BEGIN SIGNED MESSAGE-----" => "X.509 signatures cannot be verified here; sign with GPG or SSH".into(),
            "-----BEGIN PGP MESSAGE-----" => "it is a message with content of its own and no detached signature".into(),
            _ => format!("it is neither a GPG nor an SSH signature and begins with {first:?}"),
        })
    }
}

/// The content of an armor that reaches from the text's beginning to its end.
fn armored(text: &str, (begin, end): (&str, &str)) -> Result<Vec<u8>, String> {
    let body = text.strip_prefix(begin).and_then(|body| body.strip_suffix(end));
    let body = body.ok_or("it is cut off, or something follows it")?;
    if body.contains("-----") {
        return Err("it carries several signatures".into());
    }
    let lines = body.lines().map(str::trim);
    // `Version:` and the like before, and a checksum after; base64 has no colon, and no line of it begins with `=`.
    let lines = lines.filter(|line| !line.contains(':') && !line.starts_with('='));
    let packed: String = lines.collect();
    base64::engine::general_purpose::STANDARD.decode(packed).map_err(|_| "it is not readable (base64)".into())
}

/// Checks that the bytes are exactly one OpenPGP packet, and that it is a signature (RFC 9580, section 4.2).
fn one_signature(packet: &[u8]) -> Result<(), String> {
    let number = |from: usize, bytes: usize| {
        let bytes = packet.get(from..from + bytes)?;
        Some(bytes.iter().fold(0usize, |number, byte| number << 8 | usize::from(*byte)))
    };
    let (first, second) = (number(0, 1).unwrap_or(0), number(1, 1).unwrap_or(0));
    let kind = if first & 0x40 == 0 { first >> 2 & 0xf } else { first & 0x3f };
    let whole = match (first & 0x40 == 0, first & 3, second) {
        (true, 0, _) => Some(2 + second),
        (true, 1, _) => number(1, 2).map(|length| 3 + length),
        (true, 2, _) => number(1, 4).map(|length| 5 + length),
        (false, _, 0..192) => Some(2 + second),
        (false, _, 192..224) => number(2, 1).map(|low| 3 + ((second - 192) << 8) + low + 192),
        (false, _, 255) => number(2, 4).map(|length| 6 + length),
        // Lengths that are only known at the end.
        _ => None,
    };
    if first & 0x80 == 0 || kind != 2 {
        return Err("it is no detached GPG signature inside".into());
    }
    match whole {
        Some(whole) if whole == packet.len() => Ok(()),
        Some(whole) if whole < packet.len() => Err("it carries several signatures, or something beside one".into()),
        _ => Err("it is cut off".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: &str = "tree 1\nparent 2\nauthor J <j> 5 +0000\ncommitter J <j> 1700000000 +0100\n";

    fn armor(bytes: &[u8]) -> String {
        let body = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("{}\nVersion: x\n\n{body}\n=abcd\n{}", OPENPGP.0, OPENPGP.1)
    }

    fn unusable(block: &Block) -> &str {
        match block {
            Block::Unusable(reason) => reason,
            Block::Absent => "absent",
            Block::OpenPgp(_) | Block::Ssh(_) => "usable",
        }
    }

    #[test]
    fn a_commit_without_its_signature_is_what_was_signed() {
        let packet = [0x88, 2, 4, 0];
        let header = format!("gpgsig {}\n", armor(&packet).replace('\n', "\n "));
        let message = "\nsubject\n\ngpgsig of the message\n continued\n";
        let other = "gpgsig-sha256 -----BEGIN\n rest\n";
        let kept = "mergetag object 3\n gpgsig inside\n";
        let commit = format!("{HEADERS}{kept}{header}{other}encoding x\n{message}");
        let envelope = Envelope::of_commit(commit.as_bytes());
        assert_eq!(String::from_utf8(envelope.payload).unwrap(), format!("{HEADERS}{kept}encoding x\n{message}"));
        assert_eq!(envelope.block, Block::OpenPgp(packet.to_vec()));
        assert_eq!(envelope.seconds, Some(1_700_000_000));

        let twice = format!("{HEADERS}{header}{header}{message}");
        assert_eq!(unusable(&Envelope::of_commit(twice.as_bytes()).block), "it carries several signatures");
        for unsigned in [format!("{HEADERS}{message}"), HEADERS.into(), String::new(), format!("{HEADERS}\n{header}")] {
            let envelope = Envelope::of_commit(unsigned.as_bytes());
            assert_eq!((envelope.block, envelope.payload), (Block::Absent, unsigned.into_bytes()));
        }
    }

    #[test]
    fn a_tag_is_signed_up_to_the_last_beginning() {
        let signature = armor(&[0x88, 1, 4]);
        let body = format!("object 1\ntype commit\ntag v1\ntagger J <j> 7 +0000\n\nnotes\n{signature}\n");
        let envelope = Envelope::of_tag(format!("{body}{signature}\n").as_bytes());
        assert_eq!(String::from_utf8(envelope.payload).unwrap(), body);
        assert_eq!((envelope.seconds, envelope.name.as_deref()), (Some(7), Some("v1")));
        assert_eq!(envelope.block, Block::OpenPgp(vec![0x88, 1, 4]));
        assert_eq!(Envelope::of_tag(b"object 1\n\nnotes\n").block, Block::Absent);
    }

    #[test]
    fn only_one_signature_and_nothing_else_is_passed_on() {
        let long = |length: usize| {
            let mut packet = vec![0xc2, 255, 0, 0, (length >> 8) as u8, length as u8];
            packet.resize(6 + length, 7);
            packet
        };
        let two_bytes = [&[0xc2, 193, 0][..], &[1; 448]].concat();
        for (what, packet, want) in [
            ("old, one byte", vec![0x88, 1, 4], "usable"),
            ("old, two bytes", vec![0x89, 0, 1, 4], "usable"),
            ("old, four bytes", vec![0x8a, 0, 0, 0, 1, 4], "usable"),
            ("old, unknown", vec![0x8b, 1, 4], "it is cut off"),
            ("new, one byte", vec![0xc2, 1, 4], "usable"),
            ("new, two bytes", two_bytes, "usable"),
            ("new, five bytes", long(300), "usable"),
            ("new, in parts", vec![0xc2, 0xe1, 4, 4], "it is cut off"),
            ("two", vec![0x88, 1, 4, 0x88, 1, 4], "it carries several signatures, or something beside one"),
            ("cut off", vec![0x88, 9, 4], "it is cut off"),
            ("no length", vec![0x89, 0], "it is cut off"),
            ("compressed", vec![0xa3, 1, 2], "it is no detached GPG signature inside"),
            ("one-pass, as messages begin", vec![0x90, 1, 4], "it is no detached GPG signature inside"),
            ("a public key", vec![0x98, 1, 4], "it is no detached GPG signature inside"),
            ("no packet", vec![0x08, 1, 4], "it is no detached GPG signature inside"),
            ("nothing", vec![], "it is no detached GPG signature inside"),
        ] {
            assert_eq!(unusable(&Block::read(armor(&packet).as_bytes())), want, "{what}");
        }
        let good = armor(&[0x88, 1, 4]);
        let ssh = |body: &str| format!("{}\n{body}\n{}\n", SSH.0, SSH.1);
        for (text, want) in [
            (format!("{good}\n{good}"), "it carries several signatures"),
            (format!("{good}\nmore"), "it is cut off, or something follows it"),
            (good.replace("=abcd", "!"), "it is not readable (base64)"),
            (
                format!("$(touch /tmp/x); `id`\n{good}"),
                "it is neither a GPG nor an SSH signature and begins with \"$(touch",
            ),
            (good.replace("SIGNATURE", "MESSAGE"), "it is a message with content"),
            ("-----BEGIN SIGNED MESSAGE-----\nabc".into(), "X.509 signatures cannot be verified here"),
            (ssh("U1NIU0lH"), "usable"),
            (ssh("U1NIU0lI"), "it is no SSH signature inside"),
            ("a".repeat(MAX_SIGNATURE + 1), "it has 65537 bytes"),
        ] {
            let block = Block::read(text.as_bytes());
            assert!(unusable(&block).starts_with(want), "{text}: {block:?}");
        }
        assert_eq!(unusable(&Block::read(&[0xff, 0xfe])), "it is not text");
    }
}
