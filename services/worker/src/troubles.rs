//! What is away is told once, and not once for each application that needs it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// While it lasts it is told again after so long.
const AGAIN: Duration = Duration::from_secs(300);
/// So many different troubles are remembered.
const MOST: usize = 1000;

/// What was told lately.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<HashMap<String, Instant>>);

impl Troubles {
    /// Whether this has not been told yet, or not for a while. Numbers do not matter: how long something took, which port it had.
    pub fn is_news(&self, what: &str, now: Instant) -> bool {
        let mut in_number = false;
        let of_words = |c: &char| {
            in_number = c.is_ascii_digit() || (in_number && *c == '.');
            !in_number
        };
        let what: String = what.chars().filter(of_words).collect();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.get(&what).is_some_and(|at| now.duration_since(*at) < AGAIN) {
            return false;
        }
        if told.len() >= MOST {
            told.retain(|_, at| now.duration_since(*at) < AGAIN);
        }
        if told.len() < MOST {
            told.insert(what, now);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_is_told_once_while_it_lasts() {
        let (troubles, start) = (Troubles::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        for (what, seconds, news) in [
            ("cannot reach a after 1.2 s", 0, true),
            ("cannot reach a after 3.4 s", 1, false),
            ("cannot reach b", 1, true),
            ("cannot reach a after 5 s", 299, false),
            ("cannot reach a", 300, true),
            ("cannot reach a after 5 s", 301, true),
            ("cannot reach b", 300, false),
        ] {
            assert_eq!(troubles.is_news(what, at(seconds)), news, "{what} at {seconds}");
        }
        // However many there are, each is told and the memory is bounded.
        for number in 0..2 * MOST {
            let what: String = format!("{number}").chars().map(|c| (b'a' + c as u8 - b'0') as char).collect();
            assert!(troubles.is_news(&what, at(400)));
        }
        assert!(troubles.0.lock().unwrap().len() <= MOST);
    }
}
