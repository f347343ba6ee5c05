use base64::{DecodeError, Engine, engine::general_purpose::STANDARD};
use gotmpl::Value;
use sha2::{Digest, Sha256, Sha512};

use super::Entry;

pub(super) const TABLE: &[Entry] = &[
    ("b64enc", 1, 1, |args| Ok(STANDARD.encode(args.text(0)?).into())),
    ("b64dec", 1, 1, |args| Ok(base64(args.text(0)?).into())),
    ("b32enc", 1, 1, |args| Ok(base32_encode(args.text(0)?.as_bytes()).into())),
    ("b32dec", 1, 1, |args| {
        Ok(base32_decode(args.text(0)?).unwrap_or_else(|at| format!("illegal base32 data at input byte {at}")).into())
    }),
    ("sha1sum", 1, 1, |args| Ok(hex::encode(<sha1::Sha1 as sha1::Digest>::digest(args.text(0)?)).into())),
    ("sha256sum", 1, 1, |args| Ok(hex::encode(Sha256::digest(args.text(0)?)).into())),
    ("sha512sum", 1, 1, |args| Ok(hex::encode(Sha512::digest(args.text(0)?)).into())),
    ("adler32sum", 1, 1, |args| Ok(Value::from(adler32(args.text(0)?.as_bytes()).to_string()))),
];

/// What is wrong comes back as the text, as in sprig.
fn base64(text: &str) -> String {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    match STANDARD.decode(&text) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(DecodeError::InvalidByte(at, _) | DecodeError::InvalidLastSymbol(at, _)) => {
            format!("illegal base64 data at input byte {at}")
        }
        Err(_) => format!("illegal base64 data at input byte {}", text.len() / 4 * 4),
    }
}

const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

fn base32_encode(bytes: &[u8]) -> String {
    let mut out = String::new();
    for group in bytes.chunks(5) {
        let mut padded = [0_u8; 8];
        padded[3..3 + group.len()].copy_from_slice(group);
        let bits = u64::from_be_bytes(padded);
        let used = (group.len() * 8).div_ceil(5);
        for index in 0..8 {
            let symbol = BASE32[usize::try_from(bits >> (35 - 5 * index) & 31).unwrap_or(0)];
            out.push(if index < used { char::from(symbol) } else { '=' });
        }
    }
    out
}

/// The error is the place of the first wrong character.
fn base32_decode(text: &str) -> Result<String, usize> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for (at, byte) in text.trim_end_matches('=').bytes().enumerate() {
        let value = BASE32.iter().position(|it| *it == byte).ok_or(at)?;
        bits = bits << 5 | u32::try_from(value).unwrap_or(0);
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

fn adler32(bytes: &[u8]) -> u32 {
    let (one, two) = bytes.iter().fold((1_u32, 0_u32), |(one, two), byte| {
        let one = (one + u32::from(*byte)) % 65_521;
        (one, (two + one) % 65_521)
    });
    two << 16 | one
}

pub(super) fn percent_decode(text: &str) -> String {
    let (mut out, bytes, mut at) = (Vec::new(), text.as_bytes(), 0);
    while let Some(&byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|code| u8::from_str_radix(code, 16).ok());
        let (decoded, length) = code.filter(|_| byte == b'%').map_or((byte, 1), |code| (code, 3));
        out.push(decoded);
        at += length;
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub(super) fn percent_encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!*'()".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
