//! The repository that people work in: its commits, and what is not committed yet. Nothing in it is changed.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, anyhow, bail};
use git::{Commit, Local, Revision, Snapshot, VersionRange};
use tokio::process::Command;
use tokio::sync::Mutex;

/// With these a hook of git's tells its children of another repository than the folder's.
const OF_ANOTHER: [&str; 10] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_GRAFT_FILE",
    "GIT_SHALLOW_FILE",
];

/// A repository on this disk.
pub struct Checkout {
    /// Where the user is.
    folder: PathBuf,
    /// The root of the files; a bare repository has none.
    top: Option<PathBuf>,
    /// From the root to where the user is.
    prefix: String,
    local: Local,
    scratch: PathBuf,
    fixed: Mutex<HashMap<String, Fixed>>,
}

/// One of the two sides.
#[derive(Clone)]
pub struct Side {
    /// As the user called it.
    pub name: String,
    /// What the name stands for; none if that is not committed.
    pub commit: Option<Commit>,
    /// Its files.
    pub snapshot: Snapshot,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.commit {
            Some(commit) if commit.as_str() != self.name => write!(f, "{} ({})", self.name, commit.short()),
            _ => f.write_str(&self.name),
        }
    }
}

/// What a source's revision means for a comparison of two commits.
#[derive(Clone)]
pub enum Fixed {
    /// It follows what is compared.
    Follows,
    /// It stays where it is.
    At(Snapshot),
    /// It stays at something that is not here.
    Missing,
}

impl Checkout {
    /// Finds the repository of a folder. `scratch` is for what is ours.
    pub async fn open(folder: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let ask = |arguments: &'static [&'static str]| run(folder, arguments.iter().copied(), &[]);
        let objects = ask(&["rev-parse", "--path-format=absolute", "--git-path", "objects"]).await;
        let objects = objects.with_context(|| format!("cannot use a repository in {}", folder.display()))?;
        let (mut top, mut prefix) = (None, String::new());
        if ask(&["rev-parse", "--is-inside-work-tree"]).await.is_ok_and(|answer| answer == "true") {
            top = Some(PathBuf::from(ask(&["rev-parse", "--show-toplevel"]).await?));
            prefix = ask(&["rev-parse", "--show-prefix"]).await?;
        }
        let local = Local::open(&scratch.join("objects.git"), Path::new(&objects), "the repository")?;
        Ok(Self { folder: folder.to_owned(), top, prefix, local, scratch: scratch.to_owned(), fixed: Mutex::default() })
    }

    async fn git(&self, arguments: &[&str]) -> anyhow::Result<String> {
        run(&self.folder, arguments, &[]).await
    }

    /// The commit of a revision in git's own notation.
    pub async fn side(&self, revision: &str) -> anyhow::Result<Side> {
        let commit = self.commit(revision).await?;
        Ok(Side { name: revision.to_owned(), snapshot: self.local.snapshot(&commit)?, commit: Some(commit) })
    }

    async fn commit(&self, revision: &str) -> anyhow::Result<Commit> {
        if revision.is_empty() || revision.starts_with('-') {
            bail!("{revision:?} is no revision");
        }
        match self.git(&["rev-parse", "--verify", &format!("{revision}^{{commit}}")]).await {
            Ok(commit) => Ok(Commit::parse(&commit)?),
            Err(error) => {
                let shallow = self.git(&["rev-parse", "--is-shallow-repository"]).await.is_ok_and(|is| is == "true");
                let hint = if shallow { ", which is a shallow clone" } else { "" };
                Err(error.context(format!("there is no commit {revision} in this repository{hint}; fetch it first")))
            }
        }
    }

    /// Where two sides parted.
    pub async fn merge_base(&self, one: &Side, other: &Side) -> anyhow::Result<Side> {
        let names = [one, other].map(|side| side.commit.as_ref().map_or("HEAD", Commit::as_str).to_owned());
        let base = self.git(&["merge-base", &names[0], &names[1]]).await.with_context(|| {
            format!(
                "{one} and {other} have no commit in common here; a shallow clone does not know: fetch more history"
            )
        })?;
        let commit = Commit::parse(&base)?;
        let name = format!("{}...{}", one.name, other.name);
        Ok(Side { name, snapshot: self.local.snapshot(&commit)?, commit: Some(commit) })
    }

    /// What is on disk, as if it were committed: files that git ignores are no part of it.
    pub async fn worktree(&self) -> anyhow::Result<Side> {
        let top = self.top.as_ref().context("this repository has no files on disk; leave out --worktree")?;
        let index = self.scratch.join("index");
        let own = self.git(&["rev-parse", "--path-format=absolute", "--git-path", "index"]).await?;
        match tokio::fs::copy(&own, &index).await {
            Ok(_) => {}
            // Nothing was ever added.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(anyhow!(error).context(format!("cannot copy {own}"))),
        }
        let objects = self.local.objects();
        let who = OsStr::new("lockstep");
        // Files become objects beside the repository's own, by an index that is ours.
        let variables = [
            ("GIT_INDEX_FILE", index.as_os_str()),
            ("GIT_OBJECT_DIRECTORY", objects.as_os_str()),
            ("GIT_AUTHOR_NAME", who),
            ("GIT_AUTHOR_EMAIL", who),
            ("GIT_COMMITTER_NAME", who),
            ("GIT_COMMITTER_EMAIL", who),
        ];
        let quiet =
            ["-c", "core.hooksPath=/dev/null", "-c", "core.splitIndex=false", "-c", "advice.addEmbeddedRepo=false"];
        let ask = |arguments: &[&str]| {
            let arguments: Vec<String> = quiet.iter().chain(arguments).map(|&argument| argument.to_owned()).collect();
            async move { run(top, arguments, &variables).await.context("cannot read what is on disk") }
        };
        ask(&["add", "--all"]).await?;
        let tree = ask(&["write-tree"]).await?;
        let commit = Commit::parse(&ask(&["commit-tree", "-m", "the working tree", &tree]).await?)?;
        Ok(Side { name: "the working tree".into(), snapshot: self.local.snapshot(&commit)?, commit: None })
    }

    /// The address of the remote that people clone from.
    pub async fn origin(&self) -> Option<String> {
        self.git(&["remote", "get-url", "origin"]).await.ok().filter(|url| !url.is_empty())
    }

    /// A path as the user wrote it, from the root of the repository.
    pub fn path(&self, given: &Path) -> anyhow::Result<String> {
        let outside = || format!("{} is not in this repository", given.display());
        let path = if given.is_absolute() {
            let top = self.top.as_ref().with_context(outside)?;
            let inside = given.strip_prefix(top).map(Path::to_owned).ok();
            let real = || given.canonicalize().ok()?.strip_prefix(top.canonicalize().ok()?).map(Path::to_owned).ok();
            inside.or_else(real).with_context(outside)?
        } else {
            Path::new(&self.prefix).join(given)
        };
        plain(&path).with_context(outside)
    }

    /// What a source's revision means: branches follow what is compared, tags and commits stay.
    pub async fn fixed(&self, revision: &str) -> anyhow::Result<Fixed> {
        let mut known = self.fixed.lock().await;
        if let Some(fixed) = known.get(revision) {
            return Ok(fixed.clone());
        }
        let fixed = self.look_up(revision).await?;
        known.insert(revision.to_owned(), fixed.clone());
        Ok(fixed)
    }

    async fn look_up(&self, revision: &str) -> anyhow::Result<Fixed> {
        let tag = match Revision::parse(revision)? {
            Revision::Head => return Ok(Fixed::Follows),
            Revision::Ref(name) if !name.starts_with("refs/tags/") => return Ok(Fixed::Follows),
            Revision::Ref(name) => Some(name),
            Revision::Commit(commit) => Some(commit.to_string()),
            Revision::Versions(range) => self.newest(&range).await?,
            Revision::Name(name) => match self.meaning(&name).await? {
                Some(fixed) => fixed,
                None => return Ok(Fixed::Follows),
            },
        };
        let Some(tag) = tag else { return Ok(Fixed::Missing) };
        match self.commit(&tag).await {
            Ok(commit) => Ok(Fixed::At(self.local.snapshot(&commit)?)),
            Err(_) => Ok(Fixed::Missing),
        }
    }

    /// What a short name that is no branch stays at: a tag, the newest of some versions (none if there is none), a commit.
    async fn meaning(&self, name: &str) -> anyhow::Result<Option<Option<String>>> {
        for branch in [format!("refs/heads/{name}"), format!("refs/remotes/origin/{name}")] {
            if self.exists(&branch).await {
                return Ok(None);
            }
        }
        let tag = format!("refs/tags/{name}");
        if self.exists(&tag).await {
            return Ok(Some(Some(tag)));
        }
        if let Ok(range) = VersionRange::parse(name) {
            return Ok(Some(self.newest(&range).await?));
        }
        let abbreviated = name.len() >= 7 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        Ok((abbreviated && self.exists(name).await).then(|| Some(name.to_owned())))
    }

    async fn exists(&self, name: &str) -> bool {
        self.git(&["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).await.is_ok()
    }

    async fn newest(&self, range: &VersionRange) -> anyhow::Result<Option<String>> {
        let tags = self.git(&["tag", "--list"]).await?;
        Ok(range.best(tags.lines()).map(|tag| format!("refs/tags/{tag}")))
    }
}

/// A path without dots, with slashes. None: it leads out of its root.
fn plain(path: &Path) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => drop(parts.pop()?),
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// Runs the user's git as the user would, and returns what it says.
async fn run(
    folder: &Path,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
    variables: &[(&str, &OsStr)],
) -> anyhow::Result<String> {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments).stdin(std::process::Stdio::null()).kill_on_drop(true);
    for name in OF_ANOTHER {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    let output = command.output().await.context("cannot run git; install it and put it on PATH")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("git: {}", said.trim().trim_start_matches("fatal: "));
    }
    let mut answer = String::from_utf8(output.stdout).context("git says something that is no UTF-8 text")?;
    if answer.ends_with('\n') {
        answer.pop();
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (path, wanted) in [
            ("", Some("")),
            (".", Some("")),
            ("apps/web/", Some("apps/web")),
            ("apps/./web/../api", Some("apps/api")),
            ("apps/..", Some("")),
            ("..", None),
            ("apps/../../x", None),
            ("/etc", None),
        ] {
            assert_eq!(plain(Path::new(path)).as_deref(), wanted, "{path}");
        }
    }
}
