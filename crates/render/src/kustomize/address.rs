//! Which texts are addresses for Kustomize, and which addresses programs may use at all.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether Kustomize of any version would fetch it: a URL, `host/owner/repository`, the short form of SSH. What it does not
/// fetch is a path.
pub(crate) fn is_address(reference: &str) -> bool {
    let lower = reference.trim().to_ascii_lowercase();
    let plain = lower.strip_prefix("git::").unwrap_or(&lower);
    let schemes = ["http:", "https:", "ssh:", "file:", "git:", "gh:", "oci:", "s3:", "gs:", "hg:", "gcs:"];
    let user = plain.split_once('@').is_some_and(|(user, _)| {
        user.starts_with(|c: char| c.is_ascii_alphabetic())
            && user.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    });
    plain.len() < lower.len()
        || plain.contains("://")
        || schemes.iter().any(|scheme| plain.starts_with(scheme))
        || user
        || plain.starts_with("github.com/")
        || plain.starts_with("github.com:")
        || has_query(plain)
}

/// Whether it looks like an address that has its scheme left out, for the words that tell what is wrong where there is no such
/// path.
pub(crate) fn looks_like_address(reference: &str) -> bool {
    let host = reference.split('/').next().unwrap_or_default();
    let extension = [".yaml", ".yml", ".json"].iter().any(|extension| reference.ends_with(extension));
    reference.contains(".git/")
        || reference.ends_with(".git")
        || (host.contains('.') && !host.starts_with('.') && reference.matches('/').count() >= 2 && !extension)
}

fn has_query(text: &str) -> bool {
    text.split_once('?').is_some_and(|(_, query)| query.split('&').any(|part| part.contains('=')))
}

/// An address without user name, password and query.
pub(crate) fn without_credentials(reference: &str) -> String {
    match reference.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or(authority))
        }
        None => reference.to_owned(),
    }
}

/// Why an address may not be used, even where programs may use the network.
pub(crate) fn forbidden(reference: &str) -> Option<&'static str> {
    if reference.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Some("it has a space or a control character in it");
    }
    let (address, query) = reference.split_once('?').unwrap_or((reference, ""));
    if query.split('&').any(|part| decoded(part.split_once('=').map_or(part, |(_, value)| value)).starts_with('-')) {
        return Some("git would take a value in it for an option");
    }
    let lower = address.to_ascii_lowercase();
    let (host, known) = match lower.split_once("://") {
        Some((scheme, rest)) => {
            let authority = rest.split('/').next().unwrap_or_default();
            let host = authority.rsplit('@').next().unwrap_or_default();
            (without_port(host), matches!(scheme, "https" | "http" | "ssh" | "oci"))
        }
        None => {
            let place = lower.split_once('@').map_or(lower.as_str(), |(_, place)| place);
            (place.split([':', '/']).next().unwrap_or_default(), !lower.contains("::"))
        }
    };
    if !known {
        return Some("only https, http, ssh and oci may be used");
    }
    (!is_public_host(host)).then_some("its host is not one of the public network")
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !authority.ends_with(']') && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Whether a host is named as one of the public network is. What a name leads to is not asked here: the sandbox decides what is
/// reached.
fn is_public_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return inner.parse().is_ok_and(|address| is_public(IpAddr::V6(address)));
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return is_public(IpAddr::V4(address));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let labels: Vec<&str> = name.split('.').collect();
    let Some(last) = labels.last() else { return false };
    let plain = |label: &&str| {
        !label.is_empty()
            && !label.starts_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    labels.len() > 1
        && labels.iter().all(plain)
        // `127.1` and `0x7f.0.0.1` are addresses for some.
        && last.starts_with(|c: char| c.is_ascii_alphabetic())
        && !matches!(*last, "localhost" | "local" | "internal" | "svc" | "lan" | "home" | "corp" | "intranet" | "test" | "invalid")
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => match v6.to_ipv4() {
            Some(v4) => is_public_v4(v4),
            None => is_public_v6(v6),
        },
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, ..] = v4.octets();
    !(v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_multicast()
        || v4.is_broadcast()
        || v4.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0)
        || (a == 198 && (18..20).contains(&b)))
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let first = v6.segments()[0];
    // Global unicast, without what stands for an IPv4 address in another way.
    (0x2000..0x4000).contains(&first) && first != 0x2002 && !(first == 0x2001 && v6.segments()[1] < 0x200)
}

/// `%2D` and `+`, as a query has them.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut found = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                found.push(byte);
                at += 3;
            }
            (b'+', _) => {
                found.push(b' ');
                at += 1;
            }
            (byte, _) => {
                found.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&found).trim_start().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let table = [
            ("https://github.com/o/r//path?ref=v1", true),
            ("HTTPS://github.com/o/r", true),
            ("http:foo", true),
            ("github.com/o/r/path", true),
            ("GitHub.com:o/r", true),
            ("git@github.com:o/r.git", true),
            ("me@host/o/r", true),
            ("ssh://git@host/r", true),
            ("git::https://host/r", true),
            ("git::./base", true),
            ("file:///x//y?ref=--upload-pack=sh", true),
            ("File:x", true),
            ("base?ref=x", true),
            ("s3://bucket", true),
            ("../base", false),
            ("base", false),
            ("v1.2/base/x.yaml", false),
            ("./a.b/c/d", false),
            ("./github.com/o/r", false),
            ("a@b/c.yaml", true),
            ("patches/user@1.yaml", false),
        ];
        for (reference, expected) in table {
            assert_eq!(is_address(reference), expected, "{reference}");
        }
        assert_eq!(without_credentials("https://me:secret@host/r"), "https://host/r");
    }

    #[test]
    fn what_may_never_be_used() {
        for allowed in [
            "https://forge.example.com/o/r//x?ref=v1&timeout=30",
            "git@forge.example.com:o/r.git",
            "github.com/o/r?ref=main",
            "ssh://git@forge.example.com:2222/o/r",
            "https://93.184.216.34/r",
            "https://[2606:4700::1111]/r",
            "oci://registry.example.com/charts",
        ] {
            assert_eq!(forbidden(allowed), None, "{allowed}");
        }
        for refused in [
            "file:///x//y",
            "git::https://h.example.com/r",
            "ext::sh -c x",
            "ext::sh",
            "https://h.example.com/r?ref=--upload-pack=sh",
            "https://h.example.com/r?ref=%2d-upload-pack=sh",
            "https://h.example.com/r?version=-x",
            "https://localhost/r",
            "https://me:pw@127.0.0.1:8080/r",
            "http://127.1/r",
            "http://0x7f.0.0.1/r",
            "http://2130706433/r",
            "http://0/r",
            "http://10.0.0.1/r",
            "http://169.254.169.254/latest",
            "http://[::1]/r",
            "http://[::ffff:127.0.0.1]/r",
            "http://[fe80::1]/r",
            "http://[fd00::1]/r",
            "http://kubernetes/r",
            "http://kubernetes.default.svc/r",
            "http://metadata.google.internal/r",
            "git@localhost:o/r",
            "git@-oProxyCommand=x:o/r",
            "https:///r",
        ] {
            assert!(forbidden(refused).is_some(), "{refused}");
        }
    }
}
