/// The headers of a request, as far as their values are text.
#[derive(Debug, Clone, Default)]
pub struct Headers(Vec<(String, String)>);

/// No header that a forge sends comes near this; the rest is not kept.
const LONGEST: usize = 1024;

impl Headers {
    /// The first value of a header, by its name in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl<N: AsRef<str>, V: AsRef<str>> FromIterator<(N, V)> for Headers {
    /// Keeps the headers that matter to webhooks; whatever else a client sends is not copied.
    fn from_iter<I: IntoIterator<Item = (N, V)>>(headers: I) -> Self {
        let matters = |name: &str| {
            name.eq_ignore_ascii_case("content-type") || name.get(..2).is_some_and(|x| x.eq_ignore_ascii_case("x-"))
        };
        let kept = headers.into_iter().filter(|(n, v)| matters(n.as_ref()) && v.as_ref().len() <= LONGEST);
        Self(kept.map(|(n, v)| (n.as_ref().to_owned(), v.as_ref().to_owned())).collect())
    }
}
