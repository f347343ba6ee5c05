//! A working copy, changed and pushed as a team would.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio::process::Command;

/// A working copy on the branch `main` in a scratch folder. Its author is always the same, and no configuration of the
/// user or of the machine counts.
#[derive(Debug)]
pub struct GitRepo {
    path: PathBuf,
    _directory: TempDir,
}

impl GitRepo {
    /// An empty one.
    pub async fn new() -> Result<Self> {
        let this = Self::folder()?;
        this.git(&["init", "--quiet", "--initial-branch=main"]).await?;
        Ok(this)
    }

    /// One with a copy of a folder's files in it, not committed yet.
    pub async fn from_folder(folder: &Path) -> Result<Self> {
        let this = Self::new().await?;
        copy(folder, &this.path)?;
        Ok(this)
    }

    /// A clone.
    pub async fn clone(url: &str) -> Result<Self> {
        let this = Self::folder()?;
        this.git(&["clone", "--quiet", url, "."]).await?;
        Ok(this)
    }

    fn folder() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("lockstep-repo-").tempdir()?;
        Ok(Self { path: directory.path().to_owned(), _directory: directory })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file, and the folders above it.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path.join(file);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content).with_context(|| format!("cannot write {file}"))
    }

    /// Reads a file.
    pub fn read(&self, file: &str) -> Result<String> {
        std::fs::read_to_string(self.path.join(file)).with_context(|| format!("cannot read {file}"))
    }

    /// Replaces a text in a file; fails if it is not there.
    pub fn replace(&self, file: &str, from: &str, to: &str) -> Result<()> {
        let text = self.read(file)?;
        ensure!(text.contains(from), "{file} does not contain {from:?}");
        self.write(file, text.replace(from, to))
    }

    /// Removes a file or a folder.
    pub fn remove(&self, file: &str) -> Result<()> {
        let path = self.path.join(file);
        let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {file}"))
    }

    /// Commits everything as it is, and returns the commit. Nothing to commit is an error.
    pub async fn commit(&self, message: &str) -> Result<String> {
        self.git(&["add", "--all"]).await?;
        self.git(&["commit", "--quiet", "--message", message]).await?;
        self.head().await
    }

    /// Commits the reversal of a commit, and returns the new commit.
    pub async fn revert(&self, commit: &str) -> Result<String> {
        self.git(&["revert", "--no-edit", commit]).await?;
        self.head().await
    }

    /// The commit that is checked out.
    pub async fn head(&self) -> Result<String> {
        Ok(self.git(&["rev-parse", "HEAD"]).await?.trim().to_owned())
    }

    /// Starts a branch here and goes to it.
    pub async fn branch(&self, name: &str) -> Result<()> {
        self.git(&["checkout", "--quiet", "-b", name]).await.map(drop)
    }

    /// Goes to a branch or a commit.
    pub async fn checkout(&self, name: &str) -> Result<()> {
        self.git(&["checkout", "--quiet", name]).await.map(drop)
    }

    /// Pushes what is checked out to a branch. Credentials may be in the URL.
    pub async fn push(&self, url: &str, branch: &str) -> Result<()> {
        self.git(&["push", "--quiet", url, &format!("HEAD:refs/heads/{branch}")]).await.map(drop)
    }

    /// The same, over whatever the branch is now.
    pub async fn force_push(&self, url: &str, branch: &str) -> Result<()> {
        self.git(&["push", "--quiet", "--force", url, &format!("HEAD:refs/heads/{branch}")]).await.map(drop)
    }

    /// Any git command in the working copy; returns what it prints.
    pub async fn git(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=Robin Example", "-c", "user.email=robin@example.com"])
            .args(["-c", "commit.gpgSign=false", "-c", "gc.auto=0"])
            .args(arguments)
            .current_dir(&self.path)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let output = command.output().await.context("cannot run git; is it installed?")?;
        // Arguments may hold a URL with a password, so only the command's name is told.
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "git {} failed: {}", arguments[0], without_password(&errors));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// Takes `user:password@` out of URLs.
fn without_password(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(['/', ' ', '\'', '\n']).unwrap_or(part.len());
        let rest = part[..end].rfind('@').map_or(part, |at| &part[at + 1..]);
        clean.push_str("://");
        clean.push_str(rest);
    }
    clean
}

/// Copies a folder.
pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn commit_push_clone_revert() {
        let bare = tempfile::tempdir().unwrap();
        let url = bare.path().to_string_lossy().into_owned();
        let ours = GitRepo::new().await.unwrap();
        ours.git(&["init", "--quiet", "--bare", "--initial-branch=main", &url]).await.unwrap();
        ours.write("a/b.txt", "one").unwrap();
        let first = ours.commit("first").await.unwrap();
        ours.replace("a/b.txt", "one", "two").unwrap();
        let second = ours.commit("second").await.unwrap();
        ours.push(&url, "main").await.unwrap();

        let theirs = GitRepo::clone(&url).await.unwrap();
        assert_eq!((theirs.head().await.unwrap(), theirs.read("a/b.txt").unwrap()), (second.clone(), "two".into()));
        theirs.revert(&second).await.unwrap();
        assert_eq!(theirs.read("a/b.txt").unwrap(), "one");
        theirs.checkout(&first).await.unwrap();
        assert!(theirs.commit("nothing").await.is_err());
        assert!(theirs.replace("a/b.txt", "absent", "x").is_err());
    }

    #[test]
    fn passwords_are_not_repeated() {
        let text = "fatal: unable to access 'http://u:secret@127.0.0.1:1/a/b.git/': refused http://x/y@z";
        assert_eq!(
            without_password(text),
            "fatal: unable to access 'http://127.0.0.1:1/a/b.git/': refused http://x/y@z"
        );
    }
}
