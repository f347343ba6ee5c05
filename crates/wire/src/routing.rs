use std::fmt::Write as _;

/// AMQP takes 255 bytes of routing key; four words and three dots have to fit.
const MAX_WORD: usize = 110;
/// `~` and sixteen digits.
const SUFFIX: usize = 17;

/// One word of a routing key: lower case, with every byte percent-encoded that is not a letter, a digit, `-` or `_`.
/// Dots would split the word in two, `*` and `#` would match other repositories in a binding. A word that is too long
/// for the broker is cut and ends with `~` and a digest of the whole, so that two long names stay different.
///
/// ```
/// assert_eq!(wire::escape_word("Bitvault.GitOps"), "bitvault%2egitops");
/// ```
pub fn escape_word(name: &str) -> String {
    // Never an empty word: a binding for `github.push..x` would be a riddle.
    if name.is_empty() {
        return "~".to_owned();
    }
    let lower = name.to_lowercase();
    let mut word = String::with_capacity(lower.len());
    for byte in lower.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => word.push(char::from(byte)),
            _ => {
                let _ = write!(word, "%{byte:02x}");
            }
        }
    }
    if word.len() > MAX_WORD {
        let digest = fnv1a(lower.as_bytes());
        word.truncate(MAX_WORD - SUFFIX);
        let _ = write!(word, "~{digest:016x}");
    }
    word
}

/// FNV-1a: stable between versions and machines, which the standard library's hasher is not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words() {
        let cases = [
            ("gateway", "gateway"),
            ("Acme", "acme"),
            ("my_repo-1", "my_repo-1"),
            ("a.b", "a%2eb"),
            ("#", "%23"),
            ("*", "%2a"),
            ("50%", "50%25"),
            ("group/sub", "group%2fsub"),
            ("ÄPFEL", "%c3%a4pfel"),
            ("a b", "a%20b"),
            ("~", "%7e"),
            ("", "~"),
        ];
        for (name, word) in cases {
            assert_eq!(escape_word(name), word, "{name}");
        }
    }

    #[test]
    fn long_names_stay_different() {
        let (one, two) = ("x".repeat(200) + "1", "x".repeat(200) + "2");
        assert_eq!(escape_word(&one).len(), MAX_WORD);
        assert_ne!(escape_word(&one), escape_word(&two));
    }

    proptest! {
        #[test]
        fn one_word_that_fits(name in ".{0,200}") {
            let word = escape_word(&name);
            prop_assert!(!word.is_empty() && word.len() <= MAX_WORD);
            prop_assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_%~".contains(&b)), "{}", word);
        }

        #[test]
        fn different_names_have_different_words(a in "[a-z.#*%/~-]{0,30}", b in "[a-z.#*%/~-]{0,30}") {
            prop_assert_eq!(a == b, escape_word(&a) == escape_word(&b));
        }
    }
}
