//! An address taken apart and normalized, whatever its scheme.

use url::Host;

/// Hosts that offer SSH on port 443 under a second name, and the name that everybody writes.
const SECOND_NAMES: &[(&str, &str)] = &[
    ("ssh.github.com", "github.com"),
    ("altssh.gitlab.com", "gitlab.com"),
    ("altssh.bitbucket.org", "bitbucket.org"),
    ("ssh.dev.azure.com", "dev.azure.com"),
];

/// What an address consists of. Two texts that come to the same parts are the same address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Parts {
    /// In lower case; `file` for a folder on this machine, and then there is no host.
    pub scheme: String,
    /// Decoded.
    pub user: Option<String>,
    /// Decoded.
    pub password: Option<String>,
    /// In lower case, without a dot at the end.
    pub host: String,
    /// Only if it is not the scheme's own.
    pub port: Option<u16>,
    /// Without `/` at either end, without `.`, `..` and empty segments; percent-encoded where a URL needs it and nowhere else.
    pub path: String,
    /// The path begins at the remote user's home (`host:path`), not at the root.
    pub relative: bool,
}

/// The name that people write for a host that is a second name of it.
pub(crate) fn first_name(host: &str) -> Option<&'static str> {
    SECOND_NAMES.iter().find(|(second, _)| *second == host).map(|(_, name)| *name)
}

/// The port that a scheme has without saying so.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" | "oci" => Some(443),
        "http" => Some(80),
        "ssh" => Some(22),
        _ => None,
    }
}

impl Parts {
    /// Takes an address apart: `scheme://[user[:password]@]host[:port]/path`, `[user@]host:path`, `/path`.
    pub(crate) fn read(text: &str) -> Result<Self, &'static str> {
        let text = text.trim();
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("it contains white space");
        }
        // Some programs take it for a slash and others do not.
        if text.contains('\\') {
            return Err("it contains a backslash");
        }
        if text.starts_with('/') {
            return Self::local(text, false);
        }
        if text.contains("://") { Self::with_scheme(text) } else { Self::short_form(text) }
    }

    fn local(path: &str, encoded: bool) -> Result<Self, &'static str> {
        let path = normal_path(path, encoded)?;
        let scheme = "file".to_owned();
        Ok(Self { scheme, user: None, password: None, host: String::new(), port: None, path, relative: false })
    }

    fn with_scheme(text: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("it has no scheme")?;
        let scheme = scheme.to_ascii_lowercase();
        let first = scheme.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
        if !first || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'.' | b'-')) {
            return Err("it cannot be read as a URL");
        }
        if rest.contains(['?', '#']) {
            return Err("it must not have a query or a fragment");
        }
        let scheme = if matches!(scheme.as_str(), "git+ssh" | "ssh+git") { "ssh".to_owned() } else { scheme };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if scheme == "file" {
            let here = authority.is_empty() || authority.eq_ignore_ascii_case("localhost");
            return if here { Self::local(path, true) } else { Err("a file has no host") };
        }
        let (login, place) = authority.rsplit_once('@').unwrap_or(("", authority));
        let (host, port) = host_and_port(place)?;
        let port = port.filter(|port| default_port(&scheme) != Some(*port));
        let (user, password) = match login.split_once(':') {
            Some((user, password)) => (user, Some(text_of(password)?)),
            None => (login, None),
        };
        let user = Some(text_of(user)?).filter(|user| !user.is_empty());
        let path = normal_path(path, true)?;
        Self { scheme, user, password, host, port, path, relative: false }.checked()
    }

    /// The short form of ssh, in which nothing is encoded.
    fn short_form(text: &str) -> Result<Self, &'static str> {
        let unknown = "it must begin with https://, ssh:// or user@host:";
        let (authority, path) = text.split_once(':').ok_or(unknown)?;
        // `ext::program` and its like would start a program, and `user:password@host` is no form of ssh's.
        let password = path.split('/').next().is_some_and(|first| first.contains('@'));
        if path.starts_with(':') || authority.contains(['/', '[']) || password || path.contains(['?', '#']) {
            return Err(unknown);
        }
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user.to_owned()).filter(|u| !u.is_empty()), host),
            None => (None, authority),
        };
        if host.is_empty() || host.contains('%') {
            return Err(unknown);
        }
        let host = normal_host(host)?;
        let (port, path) = match path.split_once('/') {
            // `git@ssh.github.com:443/acme/shop.git`: not a form that ssh knows, but one that forges show.
            Some(("443", rest)) if first_name(&host).is_some() => (Some(443), rest),
            _ => (None, path),
        };
        let relative = port.is_none() && !path.starts_with('/');
        let path = normal_path(path, false)?;
        Self { scheme: "ssh".into(), user, password: None, host, port, path, relative }.checked()
    }

    /// Nothing that a program on the way could take for an option, or for another address than this.
    fn checked(self) -> Result<Self, &'static str> {
        let user = self.user.as_deref().unwrap_or_default();
        if self.host.starts_with('-') || user.starts_with('-') || (self.relative && self.path.starts_with('-')) {
            return Err("host, path and user must not begin with a dash");
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+');
        if self.scheme == "ssh" && !user.bytes().all(plain) {
            return Err("the user contains characters that no user of ssh has");
        }
        Ok(self)
    }

    /// The path without `.git`.
    pub(crate) fn plain_path(&self) -> &str {
        plain(&self.path)
    }

    /// The path as whoever reads no percent signs must have it.
    pub(crate) fn decoded_path(&self) -> String {
        text_of(&self.path).unwrap_or_else(|_| self.path.clone())
    }
}

/// A path without the ending that forges give to repositories.
pub(crate) fn plain(path: &str) -> &str {
    let path = path.trim_matches('/');
    path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/')
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inside, rest)) => (&place[..inside.len() + 2], rest.strip_prefix(':').or(rest.is_empty().then_some(""))),
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, Some("")),
        },
    };
    let digits = |port: &&str| port.bytes().all(|b| b.is_ascii_digit());
    let port = port.filter(digits).ok_or("its port is not a number")?;
    let port = if port.is_empty() { None } else { Some(port.parse().map_err(|_| "there is no such port")?) };
    Ok((normal_host(host)?, port))
}

/// A host as every program would write it: in lower case, in ASCII, numbers as dotted quads.
pub(crate) fn normal_host(host: &str) -> Result<String, &'static str> {
    if host.is_empty() {
        return Err("it has no host");
    }
    let unusual = "the host contains characters that no host has";
    let host = match Host::parse(host).map_err(|_| unusual)? {
        Host::Domain(name) => {
            let name = name.strip_suffix('.').unwrap_or(&name).to_ascii_lowercase();
            let usual = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            if !name.bytes().all(usual) || name.split('.').any(str::is_empty) {
                return Err(unusual);
            }
            name
        }
        number => number.to_string(),
    };
    Ok(host)
}

/// A path without detours. `encoded`: percent signs mean what they mean in a URL.
fn normal_path(path: &str, encoded: bool) -> Result<String, &'static str> {
    let mut kept: Vec<String> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            // Where servers go from here differs.
            ".." => drop(kept.pop().ok_or("its path leads above the root with ..")?),
            _ => {
                let bytes = if encoded { decoded(segment)? } else { segment.as_bytes().to_vec() };
                let hidden = bytes.iter().any(|b| matches!(b, b'/' | b'\\' | 0x7f) || *b < 0x20);
                if hidden || matches!(bytes.as_slice(), b"." | b"..") {
                    return Err("its path hides a slash, a dot or a control character behind percent signs");
                }
                kept.push(encoded_text(&bytes));
            }
        }
    }
    Ok(kept.join("/"))
}

/// Takes percent signs away.
pub(crate) fn decoded(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        if first != b'%' {
            bytes.push(first);
            rest = tail;
            continue;
        }
        let digits = tail.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.ok_or("a percent sign needs two hexadecimal digits after it")?);
        rest = &tail[2..];
    }
    Ok(bytes)
}

fn text_of(text: &str) -> Result<String, &'static str> {
    Ok(String::from_utf8_lossy(&decoded(text)?).into_owned())
}

/// What may stand in a path as it is, stands there as it is; everything else is encoded. So there is one way to write it.
fn encoded_text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}
