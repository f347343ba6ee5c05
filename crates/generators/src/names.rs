//! Names made from free text, as Argo CD makes them.

/// The longest form of a branch in names, so that there is room for more.
const BRANCH: usize = 50;

/// Lower case, with `-` for everything but letters, digits, `-` and `.`, at most 253 characters, no `-` or `.` at the ends.
///
/// ```
/// assert_eq!(generators::normalize("Feature/ABC_def!"), "feature-abc-def");
/// ```
pub fn normalize(text: &str) -> String {
    // One letter in lower case is one letter here, as in Go.
    let lower = text.chars().map(|c| c.to_lowercase().next().unwrap_or(c));
    let kept = lower.map(|c| if matches!(c, 'a'..='z' | '0'..='9' | '-' | '.') { c } else { '-' });
    kept.take(253).collect::<String>().trim_matches(['-', '.']).to_owned()
}

/// A branch for names: a slug of at most 50 characters without `_`, which no name in Kubernetes may have.
///
/// ```
/// assert_eq!(generators::branch_slug("feature/login_v2"), "feature-login-v2");
/// ```
pub fn branch_slug(branch: &str) -> String {
    slug(&branch.replace('_', "-"), BRANCH, true)
}

/// What the template function `slugify` makes of a text: what [`normalize`] leaves of it, as a [`slug`].
pub fn slugify(text: &str, limit: usize, smart: bool) -> String {
    slug(&normalize(text), limit, smart)
}

/// A text for addresses: lower-case letters, digits, `-` and `_`; letters of every script become plain ones. At most `limit` bytes,
/// with `smart` cut between words where there is more than one; without, 0 leaves nothing, with it, everything.
///
/// ```
/// assert_eq!(generators::slug("Grüße & more", 50, true), "grusse-and-more");
/// assert_eq!(generators::slug("релиз", 50, true), "reliz");
/// ```
pub fn slug(text: &str, limit: usize, smart: bool) -> String {
    let mut plain = String::new();
    for c in text.trim().chars() {
        match c {
            '&' => plain.push_str("and"),
            '@' => plain.push_str("at"),
            '"' | '\'' | '’' => {}
            '‒' | '–' | '—' | '―' => plain.push('-'),
            c if c.is_ascii() => plain.push(c.to_ascii_lowercase()),
            c => plain.extend(transliterate(c).chars().map(|c| c.to_ascii_lowercase())),
        }
    }
    if !smart {
        plain.truncate(limit);
    }
    let mut dashed = String::new();
    for c in plain.chars() {
        let c = if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
        if c != '-' || !dashed.ends_with('-') {
            dashed.push(c);
        }
    }
    let slug = dashed.trim_matches(['-', '_']);
    if !smart || limit == 0 || slug.len() <= limit {
        return slug.to_owned();
    }
    let cut = slug.as_bytes()[..=limit].iter().rposition(|byte| *byte == b'-').unwrap_or(limit);
    slug[..cut].to_owned()
}

/// A character in plain letters. The tables are those that Go's library began with; where that has gone its own way since, or
/// knows less, it is followed: the same branch shall have the same name in both.
fn transliterate(c: char) -> &'static str {
    match u32::from(c) {
        0x80..=0x9f | 0x2e5..=0x2eb | 0x5c0 | 0x7ff..=0x8ff | 0x18ff..=0x1d6b | 0x1d78..=0x1d7c | 0x1d7e | 0x1d7f => "",
        0x1d8b | 0x1d8f..=0x1dff | 0x2122 | 0x2900..=0x2c5f | 0x2c6d | 0x2c70..=0x2dff | 0x33ff..=0x4cff => "",
        0x9fff | 0xa4ff..=0xabff | 0xd7ff | 0xe000..=0xf8ff | 0xfaff | 0xfdf0..=0xfdfb | 0xfdff => "",
        // The last character of most blocks is missing there.
        code @ 0x2ff..=0x4dff if code & 0xff == 0xff && !matches!(code >> 8, 0x12 | 0x14 | 0x15 | 0x28) => "",
        0x13f8..=0x13fd | 0x213b..=0x213f | 0x25f4..=0x25f7 | 0xfdfc | 0xfdfd => "-",
        _ => match OWN.iter().find(|(letters, _)| letters.contains(c)) {
            Some((_, plain)) => plain,
            None => unidecode::unidecode_char(c),
        },
    }
}

/// Characters that it reads in another way than the tables.
const OWN: &[(&str, &str)] = &[
    (
        "\u{2ef}\u{2f3}\u{2fb}\u{2fc}\u{2fd}\u{2fe}\u{3f4}\u{3f5}\u{3f6}\u{3f7}\u{3f8}\u{3f9}\u{3fc}\u{3fd}\u{3fe}Ъъ૱ૹᏵẜẝẟỺỻỼỽỾ一",
        "-",
    ),
    ("⓪", "0"),
    ("\u{212b}ⓐⱥⱯ", "a"),
    ("ᵬᶀⓑ", "b"),
    ("ⓒ", "c"),
    ("ちチ", "chi"),
    ("ᵭᶁⓓ", "d"),
    ("ⓔ", "e"),
    ("€", "eu"),
    ("ᵮᶂℲⅎⓕ", "f"),
    ("ᵷᶃⓖ", "g"),
    ("ⓗⱧⱨ", "h"),
    ("ⓘ", "i"),
    ("Є", "ie"),
    ("ⓙ", "j"),
    ("\u{2b0}ᶄ\u{212a}ⓚⱩⱪ", "k"),
    ("ᶅⓛⱠⱡⱢ", "l"),
    ("ᵯᶆⓜⱮ", "m"),
    ("ᵰᶇⓝ", "n"),
    ("ⓞ", "o"),
    ("ᵱᵽᶈⓟⱣ", "p"),
    ("ⓠ", "q"),
    ("ᵲᵳᶉⓡⱤ", "r"),
    ("ᵴᶊⓢ", "s"),
    ("しシ", "shi"),
    ("ᵵⓣⱦ", "t"),
    ("っつッツ", "tsu"),
    ("ⓤ", "u"),
    ("ᶌⓥ", "v"),
    ("ⓦ", "w"),
    ("ᶍⓧ", "x"),
    ("ⓨ", "y"),
    ("ᵶᶎⓩⱫⱬ", "z"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};

    /// What Argo CD makes of these branches, recorded from its library.
    #[test]
    fn branches() {
        for (branch, expected) in [
            ("feature_login", "feature-login"),
            ("release/1.2.x", "release-1-2-x"),
            ("main", "main"),
            (
                "feature/A_very long Branch name that goes on and on until it is cut",
                "feature-a-very-long-branch-name-that-goes-on-and",
            ),
            ("_x_", "x"),
            ("--a--b--", "a-b"),
            ("grüße", "grusse"),
            ("релиз/один", "reliz-odin"),
            ("北京/功能", "bei-jing-gong-neng"),
            ("しちつ", "shichitsu"),
            ("Ελλάδα", "ellada"),
            ("dependabot/npm_and_yarn/lodash-4.17.21", "dependabot-npm-and-yarn-lodash-4-17-21"),
            ("user's-branch", "users-branch"),
            ("a&b@c", "aandbatc"),
            ("feature/5€", "feature-5eu"),
            ("ab…cd", "ab-cd"),
            ("🚀launch", "launch"),
            ("🚀", ""),
            (
                "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeefffff",
                "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee",
            ),
            (
                "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeee-fffff",
                "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeee",
            ),
            (
                "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee-fffff",
                "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeee",
            ),
            ("a-aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeefffff", "a"),
            ("  spaced  out  ", "spaced-out"),
            ("ŁÓDŹ", "lodz"),
            ("İstanbul", "istanbul"),
            ("Straße–Weg", "strasse-weg"),
        ] {
            assert_eq!(branch_slug(branch), expected, "{branch}");
        }
    }

    /// Every character between `a` and `b`, a line each: the digest of what Argo CD's library makes of them.
    #[test]
    fn every_character() {
        let all = (0x20..0x30000).filter_map(char::from_u32);
        let lines: String = all.map(|c| branch_slug(&format!("a{c}b")) + "\n").collect();
        let expected = "c72db78fe556a85ae2b2e6bacad2490b0a1d97826918c7d8382cac09b4639974";
        assert_eq!(hex::encode(Sha256::digest(lines)), expected);
    }
}
