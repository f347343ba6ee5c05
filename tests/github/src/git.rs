//! Bare repositories on disk, through the git program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

pub(crate) const ZERO: &str = "0000000000000000000000000000000000000000";
/// GitHub lists at most this many commits in a push.
const PUSH_COMMITS: &str = "--max-count=2048";

#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("git could not be started ({0}); install git 2.38 or newer and put it on PATH")]
    Start(#[from] std::io::Error),
    #[error("git {command} failed: {message}")]
    Failed { command: String, message: String },
}

/// A command that neither the user's nor the machine's configuration changes.
pub(crate) fn command() -> Command {
    let mut command = Command::new("git");
    command
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .env_remove("GIT_INDEX_FILE")
        .kill_on_drop(true);
    command
}

/// One file of a commit, against its first parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileChange {
    /// `A`, `M`, `D` or `T`.
    pub kind: char,
    pub path: String,
    pub additions: u64,
    pub deletions: u64,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct CommitInfo {
    pub id: String,
    pub tree: String,
    pub parents: Vec<String>,
    pub author_name: String,
    pub author_email: String,
    pub author_date: String,
    pub committer_name: String,
    pub committer_email: String,
    pub committer_date: String,
    pub message: String,
    pub files: Vec<FileChange>,
}

/// What a pull request changes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    pub commits: u64,
    pub additions: u64,
    pub deletions: u64,
    pub files: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Bare(pub(crate) PathBuf);

impl Bare {
    /// Makes a bare repository that serves any commit by its id, as GitHub does, and lets nobody push below `refs/pull`.
    pub(crate) async fn init(path: &Path, default_branch: &str) -> Result<Self, GitError> {
        tokio::fs::create_dir_all(path).await?;
        let bare = Self(path.to_owned());
        bare.run(&["init", "--quiet", "--bare", "--template=", "--initial-branch", default_branch, "."]).await?;
        bare.configure().await?;
        Ok(bare)
    }

    /// Copies another repository, refs below `refs/heads` and `refs/tags` only unless `all`.
    pub(crate) async fn copy(&self, from: &Bare, all: bool) -> Result<(), GitError> {
        let from = from.0.to_string_lossy().into_owned();
        let refs: &[&str] =
            if all { &["+refs/*:refs/*"] } else { &["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"] };
        let mut arguments = vec!["fetch", "--quiet", "--no-write-fetch-head", &from];
        arguments.extend(refs);
        self.run(&arguments).await.map(drop)
    }

    async fn configure(&self) -> Result<(), GitError> {
        let settings = "[http]\n\treceivepack = true\n[uploadpack]\n\tallowAnySHA1InWant = true\n\
            \tallowReachableSHA1InWant = true\n\tallowTipSHA1InWant = true\n\tallowFilter = true\n\
            [receive]\n\thideRefs = refs/pull\n\tautogc = false\n[gc]\n\tauto = 0\n[core]\n\tlogAllRefUpdates = false\n";
        let path = self.0.join("config");
        let mut config = tokio::fs::read_to_string(&path).await?;
        config.push_str(settings);
        Ok(tokio::fs::write(path, config).await?)
    }

    async fn output(&self, arguments: &[&str]) -> Result<Output, GitError> {
        let mut command = command();
        // The folder is the git dir itself; no search upwards into whatever surrounds it.
        command.current_dir(&self.0).env("GIT_DIR", &self.0).args(arguments);
        identify(&mut command);
        Ok(command.output().await?)
    }

    async fn run(&self, arguments: &[&str]) -> Result<String, GitError> {
        let output = self.output(arguments).await?;
        checked(arguments, output)
    }

    async fn succeeds(&self, arguments: &[&str]) -> Result<bool, GitError> {
        let output = self.output(arguments).await?;
        match output.status.code() {
            Some(0) => Ok(true),
            Some(1) => Ok(false),
            _ => checked(arguments, output).map(|_| false),
        }
    }

    pub(crate) async fn refs(&self) -> Result<BTreeMap<String, String>, GitError> {
        let text = self.run(&["for-each-ref", "--format=%(objectname) %(refname)"]).await?;
        Ok(text.lines().filter_map(|l| l.split_once(' ')).map(|(id, name)| (name.into(), id.into())).collect())
    }

    /// Full commit id of a branch, tag, ref or commit; `None` when there is none.
    pub(crate) async fn resolve(&self, revision: &str) -> Result<Option<String>, GitError> {
        if revision.is_empty()
            || revision.starts_with('-')
            || revision.contains(['\0', '\n', ':', '^', '~'])
            || revision.contains("@{")
        {
            return Ok(None);
        }
        let commit = format!("{revision}^{{commit}}");
        let output = self.output(&["rev-parse", "--verify", "--quiet", "--end-of-options", &commit]).await?;
        Ok(output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned()))
    }

    pub(crate) async fn is_ancestor(&self, ancestor: &str, of: &str) -> Result<bool, GitError> {
        self.succeeds(&["merge-base", "--is-ancestor", ancestor, of]).await
    }

    /// Whether `old` can no longer be reached from `new`; false for what cannot be compared, such as a tag of a tree.
    pub(crate) async fn is_forced(&self, old: &str, new: &str) -> bool {
        old != ZERO && new != ZERO && !self.is_ancestor(old, new).await.unwrap_or(true)
    }

    pub(crate) async fn update_ref(&self, name: &str, id: &str) -> Result<(), GitError> {
        self.run(&["update-ref", name, id]).await.map(drop)
    }

    pub(crate) async fn delete_ref(&self, name: &str) -> Result<(), GitError> {
        self.run(&["update-ref", "-d", name]).await.map(drop)
    }

    pub(crate) async fn fetch(&self, from: &Bare, refspecs: &[String]) -> Result<(), GitError> {
        let from = from.0.to_string_lossy().into_owned();
        let mut arguments = vec!["fetch", "--quiet", "--no-write-fetch-head", "--no-tags", &from];
        arguments.extend(refspecs.iter().map(String::as_str));
        self.run(&arguments).await.map(drop)
    }

    /// Commits of `new` that none of `known` contains, oldest first, with the files they change.
    pub(crate) async fn commits(&self, new: &str, known: &[String]) -> Result<Vec<CommitInfo>, GitError> {
        let mut arguments = vec!["--reverse", PUSH_COMMITS, new, "--not"];
        arguments.extend(known.iter().map(String::as_str));
        self.log(&arguments).await
    }

    /// Ids of the commits of `new` that none of `known` contains.
    pub(crate) async fn commit_ids(&self, new: &str, known: &[String]) -> Result<Vec<String>, GitError> {
        let mut arguments = vec!["rev-list", new, "--not"];
        arguments.extend(known.iter().map(String::as_str));
        Ok(self.run(&arguments).await?.lines().map(str::to_owned).collect())
    }

    pub(crate) async fn commit(&self, id: &str) -> Result<Option<CommitInfo>, GitError> {
        Ok(self.log(&["--max-count=1", id]).await?.pop())
    }

    async fn log(&self, arguments: &[&str]) -> Result<Vec<CommitInfo>, GitError> {
        let mut all = vec![
            "log",
            "-z",
            "--no-renames",
            "--diff-merges=first-parent",
            "--raw",
            "--numstat",
            "--no-abbrev",
            "--format=%x1e%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x00",
        ];
        all.extend(arguments);
        all.push("--");
        Ok(self.run(&all).await?.split('\u{1e}').filter_map(parse_commit).collect())
    }

    /// What merging `head` into `base` changes, counted from where they parted.
    pub(crate) async fn extent(&self, base: &str, head: &str) -> Result<Extent, GitError> {
        let commits = self.run(&["rev-list", "--count", &format!("{base}..{head}")]).await?;
        let mut extent = Extent { commits: commits.trim().parse().unwrap_or_default(), ..Extent::default() };
        let stat = self.run(&["diff", "--numstat", "-z", "--no-renames", &format!("{base}...{head}"), "--"]).await?;
        for line in stat.split('\0').filter(|l| !l.is_empty()) {
            let mut counts = line.split('\t').map(|n| n.parse::<u64>().unwrap_or_default());
            extent.additions += counts.next().unwrap_or_default();
            extent.deletions += counts.next().unwrap_or_default();
            extent.files += 1;
        }
        Ok(extent)
    }

    /// Tree of the merge; `None` when it conflicts.
    pub(crate) async fn merge_tree(&self, base: &str, head: &str) -> Result<Option<String>, GitError> {
        let arguments = ["merge-tree", "--write-tree", "--no-messages", base, head];
        let output = self.output(&arguments).await?;
        match output.status.code() {
            Some(1) => Ok(None),
            _ => Ok(checked(&arguments, output)?.lines().next().map(str::to_owned)),
        }
    }

    pub(crate) async fn commit_tree(&self, tree: &str, parents: &[&str], message: &str) -> Result<String, GitError> {
        let mut arguments = vec!["commit-tree", tree, "-m", message];
        for parent in parents {
            arguments.extend(["-p", *parent]);
        }
        Ok(self.run(&arguments).await?.trim().to_owned())
    }

    /// Commits a folder's files as the first commit of a branch.
    pub(crate) async fn seed(&self, folder: &Path, branch: &str) -> Result<String, GitError> {
        let index = self.0.join("seed-index");
        let add = ["add", "--all", "."];
        let mut command = command();
        command.current_dir(folder).env("GIT_DIR", &self.0).env("GIT_WORK_TREE", folder).env("GIT_INDEX_FILE", &index);
        checked(&add, command.args(add).output().await?)?;
        let write = ["write-tree"];
        let mut command = self::command();
        command.current_dir(&self.0).env("GIT_DIR", &self.0).env("GIT_INDEX_FILE", &index);
        let tree = checked(&write, command.args(write).output().await?)?;
        tokio::fs::remove_file(&index).await?;
        let commit = self.commit_tree(tree.trim(), &[], "Initial commit").await?;
        self.update_ref(&format!("refs/heads/{branch}"), &commit).await?;
        Ok(commit)
    }
}

fn identify(command: &mut Command) {
    for (variable, value) in [
        ("GIT_AUTHOR_NAME", "GitHub"),
        ("GIT_AUTHOR_EMAIL", "noreply@github.com"),
        ("GIT_COMMITTER_NAME", "GitHub"),
        ("GIT_COMMITTER_EMAIL", "noreply@github.com"),
    ] {
        command.env(variable, value);
    }
}

fn checked(arguments: &[&str], output: Output) -> Result<String, GitError> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(GitError::Failed {
        command: arguments.first().copied().unwrap_or_default().to_owned(),
        message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

/// One record of the log: ten fields, then raw entries (`:100644 ... M`, path), then numbers (`1\t2\tpath`).
fn parse_commit(record: &str) -> Option<CommitInfo> {
    let mut fields = record.split('\0');
    let mut next = || fields.next().map(str::to_owned);
    let mut commit = CommitInfo {
        id: next()?,
        tree: next()?,
        parents: next()?.split_whitespace().map(str::to_owned).collect(),
        author_name: next()?,
        author_email: next()?,
        author_date: next()?,
        committer_name: next()?,
        committer_email: next()?,
        committer_date: next()?,
        message: next()?.trim_end().to_owned(),
        files: Vec::new(),
    };
    while let Some(field) = next() {
        let field = field.trim_start_matches('\n');
        if field.starts_with(':') {
            let kind = field.rsplit(' ').next().and_then(|k| k.chars().next())?;
            commit.files.push(FileChange { kind, path: next()?, additions: 0, deletions: 0 });
        } else if let Some((additions, rest)) = field.split_once('\t') {
            let (deletions, path) = rest.split_once('\t')?;
            if let Some(file) = commit.files.iter_mut().find(|f| f.path == path) {
                file.additions = additions.parse().unwrap_or_default();
                file.deletions = deletions.parse().unwrap_or_default();
            }
        }
    }
    Some(commit)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn repository() -> (tempfile::TempDir, Bare, String) {
        let folder = tempfile::tempdir().unwrap();
        let seed = folder.path().join("seed");
        std::fs::create_dir_all(seed.join("d d")).unwrap();
        std::fs::write(seed.join("a"), "1\n").unwrap();
        std::fs::write(seed.join("d d/ü"), "2\n").unwrap();
        let bare = Bare::init(&folder.path().join("r.git"), "main").await.unwrap();
        let first = bare.seed(&seed, "main").await.unwrap();
        (folder, bare, first)
    }

    #[tokio::test]
    async fn a_seeded_repository_lists_its_files_as_added() {
        let (_folder, bare, first) = repository().await;
        let commits = bare.commits(&first, &[]).await.unwrap();
        let files: Vec<_> = commits[0].files.iter().map(|f| (f.kind, f.path.as_str(), f.additions)).collect();
        assert_eq!(files, [('A', "a", 1), ('A', "d d/ü", 1)]);
        assert_eq!(commits[0].message, "Initial commit");
        assert!(commits[0].parents.is_empty());
    }

    #[tokio::test]
    async fn only_commits_and_their_names_are_resolved() {
        let (_folder, bare, first) = repository().await;
        for (revision, expected) in [
            ("main", Some(first.clone())),
            ("refs/heads/main", Some(first.clone())),
            (first.as_str(), Some(first.clone())),
            ("--all", None),
            ("main^{tree}", None),
            ("nothing", None),
            ("", None),
            (ZERO, None),
        ] {
            assert_eq!(bare.resolve(revision).await.unwrap(), expected, "{revision}");
        }
    }

    #[tokio::test]
    async fn a_rewritten_branch_is_told_from_a_grown_one() {
        let (_folder, bare, first) = repository().await;
        let tree = bare.commit(&first).await.unwrap().unwrap().tree;
        let child = bare.commit_tree(&tree, &[&first], "child").await.unwrap();
        let other = bare.commit_tree(&tree, &[], "other").await.unwrap();
        assert!(!bare.is_forced(&first, &child).await);
        assert!(bare.is_forced(&child, &first).await);
        assert!(bare.is_forced(&first, &other).await);
        assert!(!bare.is_forced(ZERO, &other).await);
        assert!(!bare.is_forced(&other, ZERO).await);
    }
}
