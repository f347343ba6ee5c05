//! Which queues want a message: what the broker does with exchanges and bindings.

use std::collections::{BTreeSet, HashMap};

use crate::ExchangeKind;

#[derive(Debug)]
pub(super) struct ExchangeRoutes {
    pub kind: ExchangeKind,
    pub alternate: Option<String>,
    /// Key or pattern, and queue.
    pub bindings: Vec<(String, String)>,
}

/// The limits of a queue and how full it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub depth: i64,
    pub max_length: i64,
    pub drop_head: bool,
}

#[derive(Debug, Default)]
pub(super) struct Routes {
    pub exchanges: HashMap<String, ExchangeRoutes>,
    pub queues: HashMap<String, Room>,
}

impl Routes {
    /// The queues that take the message, each once. Empty: it is unroutable.
    pub(super) fn find(&self, exchange: &str, key: &str) -> Vec<String> {
        // The default exchange, and a work queue's own.
        if exchange.is_empty() || exchange == key {
            return self.queues.contains_key(key).then(|| key.to_owned()).into_iter().collect();
        }
        let mut next = Some(exchange);
        // An exchange that is its own alternate must not keep us here.
        let mut seen = BTreeSet::new();
        while let Some(name) = next.filter(|name| seen.insert(*name)) {
            let Some(exchange) = self.exchanges.get(name) else { break };
            let queues: BTreeSet<_> = exchange
                .bindings
                .iter()
                .filter(|(pattern, queue)| takes(exchange.kind, pattern, key) && self.queues.contains_key(queue))
                .map(|(_, queue)| queue.clone())
                .collect();
            if !queues.is_empty() {
                return queues.into_iter().collect();
            }
            next = exchange.alternate.as_deref();
        }
        Vec::new()
    }
}

fn takes(kind: ExchangeKind, pattern: &str, key: &str) -> bool {
    match kind {
        ExchangeKind::Fanout => true,
        ExchangeKind::Direct => pattern == key,
        ExchangeKind::Topic => {
            let (pattern, key): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), key.split('.').collect());
            topic(&pattern, &key)
        }
    }
}

/// `*` is one word, `#` any number of words. Works through the pattern with the set of places in the key that have been
/// reached, so that many `#` cost no more than their number.
fn topic(pattern: &[&str], key: &[&str]) -> bool {
    let mut reached = vec![false; key.len() + 1];
    reached[0] = true;
    for word in pattern {
        let mut next = vec![false; key.len() + 1];
        for at in 0..=key.len() {
            match *word {
                "#" => next[at] = reached[at] || (at > 0 && next[at - 1]),
                word => next[at] = at > 0 && reached[at - 1] && (word == "*" || word == key[at - 1]),
            }
        }
        reached = next;
    }
    reached[key.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics() {
        let cases = [
            ("#", "github.push.acme.gateway", true),
            ("#", "", true),
            ("github.#", "github.push.acme.gateway", true),
            ("github.#", "github", true),
            ("github.*", "github.push.acme.gateway", false),
            ("*.push.*.*", "github.push.acme.gateway", true),
            ("#.gateway", "github.push.acme.gateway", true),
            ("#.acme.#", "github.push.acme.gateway", true),
            ("#.other.#", "github.push.acme.gateway", false),
            ("#.#.#", "a", true),
            ("github.push.acme.gateway", "github.push.acme.gateway", true),
            ("github.push.acme.gateway", "github.push.acme", false),
            ("*", "", true),
            ("a.*", "a", false),
        ];
        for (pattern, key, expected) in cases {
            assert_eq!(takes(ExchangeKind::Topic, pattern, key), expected, "{pattern} {key}");
        }
        let hostile = "#.".repeat(60) + "x";
        assert!(!takes(ExchangeKind::Topic, &hostile, &"a.".repeat(60)));
    }

    #[test]
    fn alternates_and_missing_queues() {
        let exchange = |kind, alternate: Option<&str>, bindings: &[(&str, &str)]| ExchangeRoutes {
            kind,
            alternate: alternate.map(str::to_owned),
            bindings: bindings.iter().map(|(k, q)| ((*k).to_owned(), (*q).to_owned())).collect(),
        };
        let room = Room { depth: 0, max_length: 1, drop_head: false };
        let routes = Routes {
            exchanges: HashMap::from([
                (
                    "t".to_owned(),
                    exchange(ExchangeKind::Topic, Some("u"), &[("a.#", "q1"), ("#.b", "q1"), ("#.b", "q2")]),
                ),
                ("u".to_owned(), exchange(ExchangeKind::Fanout, None, &[("", "rest")])),
                ("d".to_owned(), exchange(ExchangeKind::Direct, Some("d"), &[("prod", "q1"), ("gone", "q9")])),
            ]),
            queues: ["q1", "q2", "rest"].map(|name| (name.to_owned(), room)).into(),
        };
        let cases: [(&str, &str, &[&str]); 8] = [
            ("t", "a.b", &["q1", "q2"]),
            ("t", "a.c", &["q1"]),
            ("t", "z", &["rest"]),
            ("d", "prod", &["q1"]),
            ("d", "gone", &[]),
            ("nowhere", "prod", &[]),
            ("", "q2", &["q2"]),
            ("", "q9", &[]),
        ];
        for (exchange, key, expected) in cases {
            assert_eq!(routes.find(exchange, key), expected, "{exchange} {key}");
        }
    }
}
