use std::fmt;
use std::str::FromStr;

/// The forges that Lockstep speaks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ForgeKind {
    /// GitHub.com and GitHub Enterprise Server.
    Github,
    /// Gitea and Forgejo.
    Gitea,
}

impl ForgeKind {
    /// `github`, `gitea`: as in settings, routing keys and metrics.
    pub fn name(self) -> &'static str {
        wire::Forge::from(self).name()
    }
}

impl fmt::Display for ForgeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ForgeKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        wire::Forge::from_name(text)
            .and_then(|forge| Self::try_from(forge).ok())
            .ok_or_else(|| format!("{text:?} is not a forge that Lockstep knows; use \"github\" or \"gitea\""))
    }
}

impl From<ForgeKind> for wire::Forge {
    fn from(kind: ForgeKind) -> Self {
        match kind {
            ForgeKind::Github => Self::Github,
            ForgeKind::Gitea => Self::Gitea,
        }
    }
}

impl TryFrom<wire::Forge> for ForgeKind {
    type Error = ();

    fn try_from(forge: wire::Forge) -> Result<Self, ()> {
        match forge {
            wire::Forge::Github => Ok(Self::Github),
            wire::Forge::Gitea => Ok(Self::Gitea),
            wire::Forge::Unspecified => Err(()),
        }
    }
}
