//! `resource.exclusions` and `resource.inclusions`.

use std::collections::BTreeMap;

use engine::glob::Pattern;
use serde::Deserialize;

use crate::keys;

pub(crate) const EXCLUSIONS: &str = "resource.exclusions";
pub(crate) const INCLUSIONS: &str = "resource.inclusions";

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    api_groups: Option<Vec<String>>,
    kinds: Option<Vec<String>>,
    clusters: Option<Vec<String>>,
}

/// One item of a list. What is not given fits everything.
#[derive(Clone, Debug)]
struct Filter {
    groups: Vec<Pattern>,
    kinds: Vec<Pattern>,
    clusters: Vec<Pattern>,
}

impl Filter {
    fn fits_cluster(&self, cluster: &[&str]) -> bool {
        self.clusters.is_empty() || cluster.iter().any(|name| any(&self.clusters, name))
    }

    fn fits(&self, group: &str, kind: &str, cluster: &[&str]) -> bool {
        any(&self.groups, group) && any(&self.kinds, kind) && self.fits_cluster(cluster)
    }
}

fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
}

impl From<Written> for Filter {
    fn from(written: Written) -> Self {
        let ready = |texts: Option<Vec<String>>| texts.iter().flatten().map(|text| Pattern::new(text)).collect();
        Self { groups: ready(written.api_groups), kinds: ready(written.kinds), clusters: ready(written.clusters) }
    }
}

/// Both lists. `None`: it could not be read.
#[derive(Clone, Debug)]
pub(crate) struct Filters {
    exclusions: Option<Vec<Filter>>,
    inclusions: Option<Vec<Filter>>,
}

impl Default for Filters {
    fn default() -> Self {
        Self { exclusions: Some(Vec::new()), inclusions: Some(Vec::new()) }
    }
}

impl Filters {
    pub(crate) fn parse(data: &BTreeMap<String, String>, warnings: &mut Vec<String>) -> Self {
        let mut read = |key: &str| match data.get(key) {
            Some(text) if !keys::is_blank(text) => match keys::yaml::<Vec<Written>>(text) {
                Ok(list) => Some(list.into_iter().map(Filter::from).collect()),
                Err(why) => {
                    warnings.push(format!("{key}: {why}; write a list of {{apiGroups, kinds, clusters}}"));
                    None
                }
            },
            _ => Some(Vec::new()),
        };
        Self { exclusions: read(EXCLUSIONS), inclusions: read(INCLUSIONS) }
    }

    /// A list that cannot be read is as it was before.
    pub(crate) fn keep(&mut self, earlier: &Self) {
        for (now, before) in [(&mut self.exclusions, &earlier.exclusions), (&mut self.inclusions, &earlier.inclusions)]
        {
            if now.is_none() {
                now.clone_from(before);
            }
        }
    }

    /// An exclusion wins; inclusions for a cluster, where there are some, leave out everything else.
    pub(crate) fn is_excluded(&self, group: &str, kind: &str, cluster: &[&str]) -> bool {
        if self.exclusions.iter().flatten().any(|filter| filter.fits(group, kind, cluster)) {
            return true;
        }
        let mut inclusions = self.inclusions.iter().flatten().filter(|filter| filter.fits_cluster(cluster)).peekable();
        inclusions.peek().is_some() && !inclusions.any(|filter| filter.fits(group, kind, cluster))
    }
}
