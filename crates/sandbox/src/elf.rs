//! What a program needs to be started: nothing, or the dynamic loader that its file names.

use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// The type of the program header that names the loader.
const PT_INTERP: u32 = 3;
/// A path is no longer.
const MAX_PATH: u64 = 4096;

/// The dynamic loader of a 64-bit little-endian ELF program; `None` for one that is linked statically, or is something else.
pub(crate) fn loader(program: &Path) -> Option<PathBuf> {
    let file = File::open(program).ok()?;
    let mut header = [0; 64];
    file.read_exact_at(&mut header, 0).ok()?;
    if header[..6] != *b"\x7fELF\x02\x01" {
        return None;
    }
    let (offset, size, count) = (long(&header, 32)?, short(&header, 54)?, short(&header, 56)?);
    for number in 0..u64::from(count) {
        let mut entry = [0; 56];
        file.read_exact_at(&mut entry, offset.checked_add(number * u64::from(size))?).ok()?;
        if word(&entry, 0)? != PT_INTERP {
            continue;
        }
        let (place, length) = (long(&entry, 8)?, long(&entry, 32)?.min(MAX_PATH));
        let mut name = vec![0; usize::try_from(length).ok()?];
        file.read_exact_at(&mut name, place).ok()?;
        let name = name.split(|byte| *byte == 0).next()?;
        return (!name.is_empty()).then(|| PathBuf::from(std::ffi::OsStr::from_bytes(name)));
    }
    None
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loader_of_this_program_exists_and_a_text_has_none() {
        // Test programs are linked dynamically on the systems that are supported.
        let found = loader(&std::env::current_exe().unwrap()).unwrap();
        assert!(found.is_absolute() && found.exists(), "{}", found.display());
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "#!/bin/sh\n", "\x7fELF\x02\x01", &format!("\x7fELF\x02\x01{}", "\u{7f}".repeat(80))] {
            let path = folder.path().join("file");
            std::fs::write(&path, text).unwrap();
            assert_eq!(loader(&path), None, "{text:?}");
        }
    }
}
