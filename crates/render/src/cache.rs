//! Results by key: in memory, bounded by size, and on disk, where they outlive the process.
//!
//! A key is made of everything that a render read, so an entry is never wrong, only unused. What comes from the disk is checked
//! against a digest, so that a torn or altered file is a miss and not a wrong manifest.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use resources::Object;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Warning;

/// Changes whenever the meaning of a stored file does.
const FORMAT: &str = "lockstep-render-1";

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic while holding one of these locks leaves at worst a wrong size estimate.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A map that forgets what was used longest ago once it is larger than allowed.
pub(crate) struct Recent<K, V> {
    entries: HashMap<K, Slot<V>>,
    weight: u64,
    most: u64,
    clock: u64,
}

struct Slot<V> {
    value: V,
    weight: u64,
    used: u64,
}

impl<K: Eq + Hash + Clone, V: Clone> Recent<K, V> {
    pub(crate) fn new(most: u64) -> Self {
        Self { entries: HashMap::new(), weight: 0, most, clock: 0 }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.clock += 1;
        let slot = self.entries.get_mut(key)?;
        slot.used = self.clock;
        Some(slot.value.clone())
    }

    pub(crate) fn remove(&mut self, key: &K) {
        if let Some(slot) = self.entries.remove(key) {
            self.weight -= slot.weight;
        }
    }

    pub(crate) fn put(&mut self, key: K, value: V, weight: u64) {
        self.remove(&key);
        if weight > self.most {
            return;
        }
        self.clock += 1;
        self.weight += weight;
        self.entries.insert(key, Slot { value, weight, used: self.clock });
        if self.weight > self.most {
            self.forget();
        }
    }

    /// Forgets down to nine tenths, so that the sorting is paid once for many insertions.
    fn forget(&mut self) {
        let mut by_age: Vec<(u64, K)> = self.entries.iter().map(|(key, slot)| (slot.used, key.clone())).collect();
        by_age.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in by_age {
            if self.weight <= self.most / 10 * 9 {
                break;
            }
            self.remove(&key);
        }
    }
}

/// What one source rendered to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) warnings: Vec<Warning>,
    pub(crate) objects: Vec<Object>,
}

/// Results on disk.
pub(crate) struct Disk {
    folder: PathBuf,
    most: u64,
    weight: AtomicU64,
    temporary: AtomicU64,
    evicting: Mutex<()>,
}

impl Disk {
    /// Opens or creates the folder, removes what an earlier process left half-written, and counts the rest.
    pub(crate) fn open(folder: &Path, most: u64) -> std::io::Result<Self> {
        let folder = folder.join(FORMAT);
        std::fs::create_dir_all(&folder)?;
        let this =
            Self { folder, most, weight: AtomicU64::new(0), temporary: AtomicU64::new(0), evicting: Mutex::new(()) };
        for file in std::fs::read_dir(&this.folder)?.flatten() {
            if file.file_name().to_string_lossy().starts_with("new-") {
                let _ = std::fs::remove_file(file.path());
            }
        }
        this.evict();
        Ok(this)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Stored> {
        let path = self.path(key);
        let content = std::fs::read(&path).ok()?;
        let stored = open(key, &content);
        match &stored {
            // Its time of change is its time of use, for eviction; a failure only makes it look older.
            Some(_) => {
                let touched =
                    std::fs::File::options().append(true).open(&path).and_then(|f| f.set_modified(SystemTime::now()));
                drop(touched);
            }
            None => {
                tracing::warn!(path = %path.display(), "a cached render is damaged; it is removed and rendered again");
                let _ = std::fs::remove_file(&path);
            }
        }
        stored
    }

    pub(crate) fn put(&self, key: &str, stored: &Stored) -> std::io::Result<()> {
        let content = seal(key, stored)?;
        if content.len() as u64 > self.most {
            return Ok(());
        }
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.folder.join(format!("new-{}-{number}", std::process::id()));
        let path = self.path(key);
        let written = write_private(&temporary, &content)
            .and_then(|()| path.parent().map_or(Ok(()), std::fs::create_dir_all))
            .and_then(|()| std::fs::rename(&temporary, &path));
        if written.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        written?;
        if self.weight.fetch_add(content.len() as u64, Ordering::Relaxed) + content.len() as u64 > self.most {
            self.evict();
        }
        Ok(())
    }

    fn path(&self, key: &str) -> PathBuf {
        let (first, rest) = key.split_at(2.min(key.len()));
        self.folder.join(first).join(rest)
    }

    /// Counts all files again, since other processes may share the folder, and removes the oldest if they are too many.
    fn evict(&self) {
        let _one_at_a_time = lock(&self.evicting);
        let mut files = Vec::new();
        for part in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            for file in std::fs::read_dir(part.path()).into_iter().flatten().flatten() {
                if let Ok(about) = file.metadata() {
                    files.push((about.modified().unwrap_or(SystemTime::UNIX_EPOCH), about.len(), file.path()));
                }
            }
        }
        let mut weight: u64 = files.iter().map(|(_, size, _)| size).sum();
        if weight > self.most {
            files.sort_unstable_by_key(|(used, ..)| *used);
            for (_, size, path) in files {
                if weight <= self.most / 10 * 9 {
                    break;
                }
                if std::fs::remove_file(path).is_ok() {
                    weight -= size;
                }
            }
        }
        self.weight.store(weight, Ordering::Relaxed);
    }
}

/// Manifests may hold secrets: nobody else may read them.
fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}

fn digest(key: &str, body: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(key);
    hash.update([0]);
    hash.update(body);
    hex::encode(hash.finalize())
}

fn seal(key: &str, stored: &Stored) -> std::io::Result<Vec<u8>> {
    let body = serde_json::to_vec(stored)?;
    let mut content = digest(key, &body).into_bytes();
    content.push(b'\n');
    content.extend_from_slice(&body);
    Ok(content)
}

fn open(key: &str, content: &[u8]) -> Option<Stored> {
    let (found, body) = content.split_at_checked(64)?;
    let body = body.strip_prefix(b"\n")?;
    if found != digest(key, body).as_bytes() {
        return None;
    }
    serde_json::from_slice(body).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(name: &str) -> Stored {
        Stored {
            warnings: Vec::new(),
            objects: vec![Object(json!({"kind": "Z", "apiVersion": "v1", "metadata": {"name": name}}))],
        }
    }

    #[test]
    fn the_longest_unused_is_forgotten_first() {
        let mut recent = Recent::new(100);
        for number in 0..10 {
            recent.put(number, number * 10, 10);
        }
        assert_eq!(recent.get(&0), Some(0));
        recent.put(10, 100, 10);
        assert_eq!(recent.get(&1), None, "1 was unused for longest");
        assert_eq!(recent.get(&0), Some(0), "0 was just used");
        assert_eq!(recent.get(&10), Some(100));
        recent.put(11, 0, 101);
        assert_eq!(recent.get(&11), None, "what is larger than the cache is not kept");
        recent.put(0, 5, 20);
        assert_eq!(recent.get(&0), Some(5));
        recent.remove(&0);
        assert_eq!(recent.get(&0), None);
    }

    #[test]
    fn what_is_written_is_read_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(disk.get("abcdef"), None);
        disk.put("abcdef", &stored("a")).unwrap();
        let again = Disk::open(folder.path(), 1 << 20).unwrap();
        assert_eq!(again.get("abcdef"), Some(stored("a")));
        let order = again.get("abcdef").unwrap().objects[0].0.to_string();
        assert!(order.starts_with("{\"kind\""), "the order of fields is kept: {order}");
    }

    #[test]
    fn damaged_and_misplaced_files_are_misses() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path(), 1 << 20).unwrap();
        disk.put("abcdef", &stored("a")).unwrap();
        let good = std::fs::read(disk.path("abcdef")).unwrap();
        let mut altered = good.clone();
        let last = altered.len() - 10;
        altered[last] ^= 1;
        for content in [&good[..good.len() - 1], &altered, b"", b"x"] {
            std::fs::write(disk.path("abcdef"), content).unwrap();
            assert_eq!(disk.get("abcdef"), None);
            assert!(!disk.path("abcdef").exists(), "it is removed");
        }
        std::fs::write(disk.path("abcdee"), &good).unwrap();
        assert_eq!(disk.get("abcdee"), None, "a file under another key");
    }

    #[test]
    fn the_disk_is_bounded_and_half_written_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let size = seal("k0", &stored("a")).unwrap().len() as u64;
        let disk = Disk::open(folder.path(), size * 5).unwrap();
        for number in 0..12 {
            disk.put(&format!("k{number:03}"), &stored("a")).unwrap();
        }
        let kept = (0..12).filter(|number| disk.get(&format!("k{number:03}")).is_some()).count();
        assert!((3..=5).contains(&kept), "{kept}");
        std::fs::write(disk.folder.join("new-1-1"), "half").unwrap();
        let again = Disk::open(folder.path(), size * 5).unwrap();
        assert!(!again.folder.join("new-1-1").exists());
    }
}
