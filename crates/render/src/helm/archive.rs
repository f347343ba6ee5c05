//! Charts in archives (`charts/*.tgz`), looked into for their schemas.
//!
//! What cannot be read here is refused: Helm might read more in it.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::check::check_schema;
use crate::RenderError;
use crate::tree::file_name;

/// How large an archive may be once it is unpacked, with those in it.
const MAX_BYTES: u64 = 100 << 20;
/// How deep archives may lie in each other.
const MAX_DEPTH: usize = 4;
const BLOCK: usize = 512;

/// Checks every schema in an archive.
pub(super) fn check(path: &str, content: &[u8]) -> Result<(), RenderError> {
    let mut room = MAX_BYTES;
    archive(path, content, &mut room, 0)
}

fn archive(path: &str, content: &[u8], room: &mut u64, depth: usize) -> Result<(), RenderError> {
    let refuse = |why: &str| RenderError::unsupported(format!("{path}: {why}"), "unpack the chart into charts/");
    if depth > MAX_DEPTH {
        return Err(refuse("an archive in so many others"));
    }
    let broken = |error: std::io::Error| refuse(&format!("an archive that cannot be read ({error})"));
    let mut tape = MultiGzDecoder::new(content);
    let mut header = [0; BLOCK];
    let mut long_name: Option<String> = None;
    loop {
        match tape.read(&mut header[..1]).map_err(broken)? {
            0 => return Ok(()),
            _ => tape.read_exact(&mut header[1..]).map_err(broken)?,
        }
        if header.iter().all(|byte| *byte == 0) {
            return Ok(());
        }
        let size = octal(&header[124..136]).ok_or_else(|| refuse("an archive with a size that is no number"))?;
        let padded = size.next_multiple_of(BLOCK as u64);
        *room = room.checked_sub(padded + BLOCK as u64).ok_or_else(|| refuse("an archive that is too large"))?;
        let name = long_name.take().unwrap_or_else(|| name(&header));
        let wanted = match header[156] {
            b'L' | b'x' | b'g' => true,
            _ => file_name(&name) == "values.schema.json" || name.ends_with(".tgz"),
        };
        let mut part = (&mut tape).take(padded);
        if !wanted {
            let skipped = std::io::copy(&mut part, &mut std::io::sink()).map_err(broken)?;
            if skipped < padded {
                return Err(refuse("an archive that is cut off"));
            }
            continue;
        }
        let mut content = Vec::new();
        part.read_to_end(&mut content).map_err(broken)?;
        if (content.len() as u64) < padded {
            return Err(refuse("an archive that is cut off"));
        }
        content.truncate(size as usize);
        match header[156] {
            b'L' => long_name = Some(text(&content)),
            b'x' | b'g' => long_name = attribute(&content, "path").or(long_name),
            _ if name.ends_with(".tgz") => archive(&format!("{path}: {name}"), &content, room, depth + 1)?,
            _ => check_schema(&format!("{path}: {name}"), &content)?,
        }
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

fn name(header: &[u8; BLOCK]) -> String {
    let (name, prefix) = (text(&header[..100]), text(&header[345..500]));
    if prefix.is_empty() || &header[257..262] != b"ustar" { name } else { format!("{prefix}/{name}") }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = text(field);
    let digits = text.trim_matches(' ');
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// One of the attributes that newer archives have before a file: `27 path=web/values.yaml`.
fn attribute(mut rest: &[u8], wanted: &str) -> Option<String> {
    let mut found = None;
    while !rest.is_empty() {
        let space = rest.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&rest[..space]).ok()?.parse().ok()?;
        let record = rest.get(space + 1..length.checked_sub(1)?)?;
        if let Some(value) = record.strip_prefix(wanted.as_bytes()).and_then(|rest| rest.strip_prefix(b"=")) {
            found = Some(text(value));
        }
        rest = rest.get(length..)?;
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut header = vec![0; BLOCK];
        header[..name.len()].copy_from_slice(name.as_bytes());
        header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
        header[156] = kind;
        header.extend_from_slice(content);
        header.resize(header.len().next_multiple_of(BLOCK), 0);
        header
    }

    fn packed(entries: &[Vec<u8>]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&entries.concat()).unwrap();
        encoder.write_all(&[0; 2 * BLOCK]).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn schemas_in_archives_are_found() {
        let wrong = br##"{"$ref": "http://127.0.0.1/x"}"##;
        let fine = br##"{"$ref": "#/x"}"##;
        let chart = entry("web/Chart.yaml", b'0', b"name: web");
        let schema = |content: &[u8]| entry("web/values.schema.json", b'0', content);
        let found = |bytes: &[u8]| check("charts/web.tgz", bytes).map_err(|error| error.to_string());
        assert_eq!(found(&packed(&[chart.clone(), schema(fine)])), Ok(()));
        let long = entry("x", b'x', b"31 path=web/values.schema.json\n");
        let inner = packed(&[chart.clone(), schema(wrong)]);
        for (bytes, part) in [
            (packed(&[chart.clone(), schema(wrong)]), "charts/web.tgz: web/values.schema.json: a schema that leads to"),
            (packed(&[entry("x", b'L', b"web/values.schema.json\0"), entry("y", b'0', wrong)]), "leads to"),
            (packed(&[long, entry("y", b'0', wrong)]), "leads to"),
            (packed(&[entry("web/charts/d-1.tgz", b'0', &inner)]), "web/charts/d-1.tgz: web/values.schema.json"),
            (packed(std::slice::from_ref(&chart))[..40].to_vec(), "cannot be read"),
            (b"no archive".to_vec(), "cannot be read"),
            (
                packed(&[entry("big", b'0', b"")[..BLOCK]
                    .iter()
                    .copied()
                    .enumerate()
                    .map(|(at, b)| if (124..135).contains(&at) { b'7' } else { b })
                    .collect()]),
                "too large",
            ),
        ] {
            let error = found(&bytes).unwrap_err();
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}
