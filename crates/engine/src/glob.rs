//! Patterns as users write them in ignore rules, projects and windows: `*`, `?`, `[a-z]`, `{a,b}`.

use globset::{GlobBuilder, GlobMatcher};

/// One pattern, ready to match.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Matches everything.
    Any,
    /// Matches this text only.
    Exact(String),
    /// Anything else.
    Glob(Box<GlobMatcher>),
}

impl Pattern {
    /// A pattern in which `*` crosses `/`, as in Argo CD. One that cannot be read matches only its own text.
    pub fn new(text: &str) -> Self {
        Self::build(text, false)
    }

    /// A pattern in which `*` stops at `/`, as for `sourceRepos`.
    pub fn for_path(text: &str) -> Self {
        Self::build(text, true)
    }

    fn build(text: &str, separator: bool) -> Self {
        if text == "*" || text == "**" {
            return Self::Any;
        }
        if !text.contains(['*', '?', '[', '{', '\\']) {
            return Self::Exact(text.into());
        }
        match GlobBuilder::new(text).literal_separator(separator).build() {
            Ok(glob) => Self::Glob(Box::new(glob.compile_matcher())),
            Err(_) => Self::Exact(text.into()),
        }
    }

    /// Whether the text matches.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => own == text,
            Self::Glob(glob) => glob.is_match(text),
        }
    }
}

/// One pattern against one text, for rules that are used once.
pub fn matches(pattern: &str, text: &str) -> bool {
    Pattern::new(pattern).matches(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("*", "", true),
            ("*", "a/b", true),
            ("dev-*", "dev-1", true),
            ("dev-*", "prod-1", false),
            ("dev", "dev", true),
            ("dev", "devs", false),
            ("", "", true),
            ("", "apps", false),
            ("{dev,staging}", "staging", true),
            ("*.example.com", "a/b.example.com", true),
            ("app-?", "app-1", true),
            ("[bad", "[bad", true),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
        assert!(Pattern::for_path("https://git.example.com/acme/*").matches("https://git.example.com/acme/a"));
        assert!(!Pattern::for_path("https://git.example.com/acme/*").matches("https://git.example.com/acme/a/b"));
        assert!(Pattern::for_path("https://git.example.com/**").matches("https://git.example.com/acme/a/b"));
    }
}
