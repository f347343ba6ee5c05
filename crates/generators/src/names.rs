//! Names made from free text.

/// Lower case, with `-` for everything but letters, digits, `-` and `.`, at most 253 characters, no `-` or `.` at the ends.
///
/// ```
/// assert_eq!(generators::normalize("Feature/ABC_def!"), "feature-abc-def");
/// ```
pub fn normalize(text: &str) -> String {
    let lower = text.to_lowercase();
    let kept = lower.chars().map(|c| if matches!(c, 'a'..='z' | '0'..='9' | '-' | '.') { c } else { '-' });
    kept.take(253).collect::<String>().trim_matches(['-', '.']).to_owned()
}

/// A text for addresses: lower-case letters, digits, `-` and `_`; letters with accents become plain ones. At most `limit` bytes,
/// with `smart` cut between words where there is more than one.
///
/// ```
/// assert_eq!(generators::slug("Grüße & more", 50, true), "grusse-and-more");
/// ```
pub fn slug(text: &str, limit: usize, smart: bool) -> String {
    let mut plain = String::new();
    for c in text.trim().chars() {
        match c {
            '&' => plain.push_str("and"),
            '@' => plain.push_str("at"),
            c if c.is_ascii() => plain.push(c.to_ascii_lowercase()),
            c => plain.push_str(&transliterate(c).to_ascii_lowercase()),
        }
    }
    if !smart && limit > 0 {
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

/// Letters of European languages in plain letters; anything else is left out.
fn transliterate(c: char) -> &'static str {
    const GROUPS: &[(&str, &str)] = &[
        ("ÀÁÂÃÄÅĀĂĄǍàáâãäåāăąǎ", "a"),
        ("ÇĆĈĊČçćĉċč", "c"),
        ("ÐĎĐðďđ", "d"),
        ("ÈÉÊËĒĔĖĘĚèéêëēĕėęě", "e"),
        ("ĜĞĠĢĝğġģ", "g"),
        ("ĤĦĥħ", "h"),
        ("ÌÍÎÏĨĪĬĮİǏìíîïĩīĭįıǐ", "i"),
        ("Ĵĵ", "j"),
        ("Ķķĸ", "k"),
        ("ĹĻĽĿŁĺļľŀł", "l"),
        ("ÑŃŅŇñńņňŉ", "n"),
        ("ÒÓÔÕÖØŌŎŐǑòóôõöøōŏőǒ", "o"),
        ("ŔŖŘŕŗř", "r"),
        ("ŚŜŞŠȘśŝşšșſ", "s"),
        ("ŢŤŦȚţťŧț", "t"),
        ("ÙÚÛÜŨŪŬŮŰŲǓùúûüũūŭůűųǔ", "u"),
        ("Ŵŵ", "w"),
        ("ÝŶŸýÿŷ", "y"),
        ("ŹŻŽźżž", "z"),
        ("Ææ", "ae"),
        ("Œœ", "oe"),
        ("ßẞ", "ss"),
        ("Þþ", "th"),
        ("¼", "1/4"),
        ("½", "1/2"),
        ("¾", "3/4"),
        ("¹", "1"),
        ("²", "2"),
        ("³", "3"),
        ("–—‐‑", "-"),
        ("\u{a0}", " "),
        ("×", "x"),
        ("©", "(c)"),
        ("®", "(r)"),
        ("€", "EU"),
    ];
    GROUPS.iter().find(|(letters, _)| letters.contains(c)).map_or("", |(_, plain)| plain)
}
