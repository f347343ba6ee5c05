//! How rules see addresses: what a project permits, which signatures it wants.

use crate::parts::{Parts, decoded, default_port, first_name, normal_host, plain};

/// What a pattern means something by, and what is encoded nowhere else.
const SPECIAL: [char; 8] = ['*', '?', '[', ']', '{', '}', ',', '\\'];

/// An address as rules compare it: `scheme://host[:port]/path` in lower case, without user information and `.git`. Whatever
/// leads to the same repository over the same scheme and port is the same text, however it is written. Nothing for what
/// cannot be read: no rule can speak of that.
///
/// Charts have addresses of their own, `oci://host/path` or `host/path`; these are the same text, too.
#[must_use]
pub fn comparable(text: &str) -> Option<String> {
    let parts = Parts::read(text).or_else(|reason| Parts::read(&of_chart(text).ok_or(reason)?)).ok()?;
    let Parts { scheme, host, port, .. } = &parts;
    let (host, port) = match first_name(host) {
        Some(name) if scheme == "ssh" => (name, port.filter(|port| *port != 443)),
        _ => (host.as_str(), *port),
    };
    let port = port.map_or(String::new(), |port| format!(":{port}"));
    let slash = if scheme != "file" && parts.plain_path().is_empty() { "" } else { "/" };
    Some(format!("{scheme}://{host}{port}{slash}{}", parts.plain_path()).to_lowercase())
}

/// A pattern over addresses, brought into the form of [`comparable`] as far as that can be told with `*`, `?`, `[…]` and
/// `{…}` in it.
#[must_use]
pub fn pattern(text: &str) -> String {
    let text = text.trim().to_lowercase();
    if matches!(text.as_str(), "*" | "**") {
        return text;
    }
    if text.starts_with('/') {
        return format!("file:///{}", path(&text, false));
    }
    if let Some((scheme, rest)) = text.split_once("://") {
        let scheme = if matches!(scheme, "git+ssh" | "ssh+git") { "ssh" } else { scheme };
        let (authority, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let rest = path(rest, true);
        let slash = if rest.is_empty() { "" } else { "/" };
        return format!("{scheme}://{}{slash}{rest}", place(scheme, authority));
    }
    match text.split_once(':') {
        Some((authority, rest)) if !authority.contains('/') && (authority.contains('@') || !is_special(authority)) => {
            let host = place("ssh", authority);
            let rest = rest.strip_prefix("443/").filter(|_| second_name(authority)).unwrap_or(rest);
            format!("ssh://{host}/{}", path(rest, false))
        }
        _ => match of_chart(&text) {
            Some(text) => pattern(&text),
            None => text,
        },
    }
}

/// `host/path`, as charts are written, with the scheme that it means.
fn of_chart(text: &str) -> Option<String> {
    let (host, _) = text.trim().split_once('/')?;
    let plain = !host.is_empty() && !text.contains("://") && !host.contains(['@', ':']) && host.contains('.');
    plain.then(|| format!("oci://{}", text.trim()))
}

fn is_special(text: &str) -> bool {
    text.contains(SPECIAL)
}

fn second_name(authority: &str) -> bool {
    first_name(authority.rsplit('@').next().unwrap_or_default()).is_some()
}

/// Host and port without user information.
fn place(scheme: &str, authority: &str) -> String {
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (authority, ""),
    };
    let host = if is_special(host) && !host.starts_with('[') {
        host.strip_suffix('.').unwrap_or(host).to_owned()
    } else {
        normal_host(host).unwrap_or_else(|_| host.to_owned())
    };
    let own = default_port(scheme).is_some_and(|own| port.parse() == Ok(own));
    match first_name(&host) {
        Some(name) if scheme == "ssh" && (own || matches!(port, "" | "443")) => name.to_owned(),
        _ if own || port.is_empty() => escaped_host(&host),
        _ => format!("{}:{port}", escaped_host(&host)),
    }
}

/// The brackets of an address of IPv6 are no choice of letters.
fn escaped_host(host: &str) -> String {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inside) if inside.contains(':') => format!("[[]{inside}[]]"),
        _ => host.to_owned(),
    }
}

/// The path of a pattern without detours, as far as its segments can be told apart.
fn path(text: &str, encoded: bool) -> String {
    let mut kept: Vec<String> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." if kept.last().is_some_and(|last| last != ".." && !is_special(last)) => drop(kept.pop()),
            _ => kept.push(literal(segment, encoded)),
        }
    }
    plain(&kept.join("/")).to_owned()
}

/// A segment as [`comparable`] writes it; what means something to a pattern stays as it is.
fn literal(segment: &str, encoded: bool) -> String {
    let mut text = String::new();
    let mut rest = segment;
    while let Some(first) = rest.chars().next() {
        let length =
            if first == '%' && encoded && rest.is_char_boundary(3) && rest.len() >= 3 { 3 } else { first.len_utf8() };
        let (part, tail) = rest.split_at(length);
        rest = tail;
        if length != 3 || first != '%' {
            match first {
                '%' | '#' => text.push_str(&format!("%{:02x}", u32::from(first))),
                _ if first.is_ascii() => text.push(first),
                _ => part.bytes().for_each(|byte| text.push_str(&format!("%{byte:02x}"))),
            }
            continue;
        }
        match decoded(part).as_deref() {
            Ok([byte]) if byte.is_ascii_alphanumeric() || b"-._~!$&'()+;=:@".contains(byte) => {
                text.push(char::from(byte.to_ascii_lowercase()));
            }
            // A star that is written like this is a star, and a comma a comma.
            Ok([byte @ (b'*' | b',')]) => text.push_str(&format!("[{}]", char::from(*byte))),
            _ => text.push_str(part),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_repository_is_one_text() {
        let private = "https://host.example/acme/private";
        for text in [
            "https://host.example/acme/private",
            " https://host.example/acme/private.git ",
            "https://x@host.example/acme/private",
            "https://x:y@host.example/acme/private",
            "https://other.example@host.example/acme/private",
            "https://host.example/acme/./private",
            "https://host.example//acme///private//",
            "https://host.example/acme/lib/../private",
            "https://host.example./acme/private",
            "https://host.example:443/acme/private",
            "https://host.example:0443/acme/private",
            "https://host.example:/acme/private",
            "HTTPS://HOST.EXAMPLE/Acme/PRIVATE",
            "https://h%6Fst.example/acme/private",
            "https://host.example/acme/priv%61te",
            "https://host.example/acme/priv%61te%2Egit",
            "https://host.example/acme/private/.git",
            "https://ｈｏｓｔ.example/acme/private",
        ] {
            assert_eq!(comparable(text).as_deref(), Some(private), "{text}");
        }
        let ssh = "ssh://host.example/acme/private";
        for text in [
            "git@host.example:acme/private",
            "host.example:acme/private.git",
            "git@host.example:/acme/private",
            "git@HOST.example.:acme//private",
            "ssh://git@host.example/acme/private.git",
            "ssh://host.example:22/acme/private",
            "git+ssh://git@host.example/acme/private",
            "ssh://eve@host.example/acme/x/../private",
        ] {
            assert_eq!(comparable(text).as_deref(), Some(ssh), "{text}");
        }
        for (text, same) in [
            ("git@ssh.github.com:443/acme/shop.git", "git@github.com:acme/shop"),
            ("ssh://git@ssh.github.com:443/acme/shop.git", "git@github.com:acme/shop"),
            ("http://127.1/acme/shop", "http://127.0.0.1/acme/shop"),
            ("http://0x7f000001:80/acme/shop", "http://127.0.0.1/acme/shop"),
            ("https://[0:0::1]/acme/shop", "https://[::1]/acme/shop"),
            ("https://h.example/c%2B%2b", "https://h.example/c++"),
            ("https://h.example/My%20Project/x", "https://h.example/my%20project/x"),
            ("https://h.example/gr%c3%bcn", "https://h.example/grün"),
            ("https://charts.example/", "https://charts.example"),
            ("registry.example/charts/x", "oci://registry.example:443/charts/x"),
            ("/srv/git//x.git", "file:///srv/git/./x"),
        ] {
            assert!(
                comparable(text).is_some() && comparable(text) == comparable(same),
                "{text} {:?}",
                comparable(text)
            );
        }
    }

    #[test]
    fn other_ways_in_are_other_texts() {
        let texts = [
            "https://host.example/acme/x",
            "http://host.example/acme/x",
            "ssh://host.example/acme/x",
            "https://host.example:8443/acme/x",
            "https://host.example/acme/y",
            "https://host.example/acme/x/y",
            "https://host2.example/acme/x",
        ];
        let different: std::collections::BTreeSet<_> = texts.iter().filter_map(|text| comparable(text)).collect();
        assert_eq!(different.len(), texts.len());
    }

    #[test]
    fn of_what_leads_elsewhere_no_rule_can_speak() {
        for text in [
            "https://host.example/../private",
            "https://host.example/acme/../../private",
            "https://host.example/acme/..%2fprivate",
            "https://host.example/acme%2fprivate",
            "https://host.example/acme/%2e%2e/private",
            "https://host.example/acme/.%2e/private",
            "https://host.example/acme/%2e/private",
            "https://host.example/acme\\private",
            "https://host.example/acme%5cprivate",
            "https://host.example/acme/private%00",
            "https://host.example/acme/private%0a",
            "https://host.example/acme/private%",
            "https://host.example/acme/private%2",
            "https://host.example/acme/private?x",
            "https://host.example/acme/private#x",
            "https://ho st.example/acme/private",
            "https://host.example:44 3/acme/private",
            "https://host.example:443:443/acme/private",
            "https://host..example/acme/private",
            "https://.host.example/acme/private",
            "https://host.example../acme/private",
            "https://host$.example/acme/private",
            "ssh://a%2Fb@host.example/acme/private",
            "ssh://a%40b@host.example/acme/private",
            "git@host.example:../private",
            "https:///acme/private",
            "file://host/acme/private",
            "",
        ] {
            assert_eq!(comparable(text), None, "{text}");
        }
    }

    #[test]
    fn patterns_take_the_same_form() {
        for (text, wanted) in [
            ("*", "*"),
            ("**", "**"),
            (" https://Host.Example/acme/* ", "https://host.example/acme/*"),
            ("https://x@host.example:443/acme/*.git", "https://host.example/acme/*"),
            ("https://host.example./acme//./x/", "https://host.example/acme/x"),
            ("https://host.example/acme/y/../x", "https://host.example/acme/x"),
            ("https://host.example/acme/*/../x", "https://host.example/acme/*/../x"),
            ("https://host.example/%61cme/%2A/g%C3%BC", "https://host.example/acme/[*]/g%c3%bc"),
            ("https://charts.example/", "https://charts.example"),
            ("https://host.example/gü", "https://host.example/g%c3%bc"),
            ("https://*.example.:443/**", "https://*.example/**"),
            ("https://{a,b}.example/x", "https://{a,b}.example/x"),
            ("https://[::1]:443/acme/x", "https://[[]::1[]]/acme/x"),
            ("git@host.example:acme/*", "ssh://host.example/acme/*"),
            ("host.example:/acme/x.git", "ssh://host.example/acme/x"),
            ("git@*:acme/*", "ssh://*/acme/*"),
            ("git+ssh://git@host.example:22/acme/*", "ssh://host.example/acme/*"),
            ("git@ssh.github.com:443/acme/*", "ssh://github.com/acme/*"),
            ("ssh://git@ssh.github.com:443/acme/*", "ssh://github.com/acme/*"),
            ("registry.example/charts/*", "oci://registry.example/charts/*"),
            ("/srv/git/*.git", "file:///srv/git/*"),
            ("*/acme/x", "*/acme/x"),
            ("*://host.example/acme/x", "*://host.example/acme/x"),
        ] {
            assert_eq!(pattern(text), wanted, "{text}");
        }
    }

    proptest! {
        /// Whatever is written, the form is a fixed point, and a pattern without special characters is the address itself.
        #[test]
        fn the_form_is_stable(text in "(https|http|ssh)://([a-z]{1,3}@)?[a-cA-C]{1,3}\\.?(:(22|80|443|9))?(/(\\.|\\.\\.|[a-c%2e61]{0,5}|a\\.git|)){0,5}") {
            if let Some(once) = comparable(&text) {
                prop_assert_eq!(comparable(&once), Some(once.clone()));
                prop_assert_eq!(pattern(&once), once);
            }
        }

        #[test]
        fn nothing_panics(text in "\\PC{0,40}") {
            let _ = comparable(&text);
            let _ = pattern(&text);
        }
    }
}
