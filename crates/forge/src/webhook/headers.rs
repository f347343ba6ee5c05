/// The headers that say whose webhook it is, what it is about, how it is signed and how it is packed.
const DECIDING: [&str; 7] = [
    "Content-Type",
    "X-GitHub-Event",
    "X-GitHub-Delivery",
    "X-Hub-Signature-256",
    "X-Gitea-Event",
    "X-Gitea-Delivery",
    "X-Gitea-Signature",
];

/// The headers of a request that decide something about a webhook. No other is kept.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    values: Vec<(&'static str, String)>,
    twice: Option<&'static str>,
}

/// No value that a forge sends comes near this; a longer one is kept as an empty one, which nothing takes.
const LONGEST: usize = 1024;

impl Headers {
    /// The value of a header, by its name in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first header that came more than once. Whoever reads such a request has to choose, and a proxy in front may have
    /// chosen otherwise.
    pub(super) fn twice(&self) -> Option<&'static str> {
        self.twice
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    /// A value that is not text has to be given as an empty one, so that it is known that the header came.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let mut own = Self::default();
        for (name, value) in headers {
            let Some(name) = DECIDING.into_iter().find(|known| known.eq_ignore_ascii_case(name.as_ref())) else {
                continue;
            };
            if own.get(name).is_some() {
                own.twice.get_or_insert(name);
                continue;
            }
            let value = Some(value.as_ref()).filter(|value| value.len() <= LONGEST).unwrap_or_default();
            own.values.push((name, value.to_owned()));
        }
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_named() {
        let long = "x".repeat(LONGEST + 1);
        type Case<'a> = (&'a [(&'a str, &'a str)], Option<&'a str>);
        let cases: [Case<'_>; 7] = [
            (&[("X-GitHub-Event", "push"), ("x-github-delivery", "1")], None),
            (&[("X-GitHub-Event", "push"), ("x-github-event", "push")], Some("X-GitHub-Event")),
            (&[("content-type", "text/plain"), ("Content-Type", "")], Some("Content-Type")),
            (&[("x-hub-signature-256", &long), ("x-hub-signature-256", "a")], Some("X-Hub-Signature-256")),
            (&[("x-gitea-delivery", "1"), ("x-gitea-event", "a"), ("x-gitea-delivery", "2")], Some("X-Gitea-Delivery")),
            (&[("x-gitea-signature", ""), ("x-gitea-signature", "")], Some("X-Gitea-Signature")),
            (&[("accept", "a"), ("accept", "b"), ("x-forwarded-for", "a"), ("x-forwarded-for", "b")], None),
        ];
        for (headers, expected) in cases {
            assert_eq!(headers.iter().copied().collect::<Headers>().twice(), expected, "{headers:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_there_and_empty() {
        let headers: Headers =
            [("X-GitHub-Event", "x".repeat(LONGEST + 1)), ("Accept", "a".into())].into_iter().collect();
        assert_eq!((headers.get("x-github-event"), headers.get("accept")), (Some(""), None));
    }
}
