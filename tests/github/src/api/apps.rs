//! GitHub Apps, as far as a token of an installation is needed.

use base64::Engine;
use rand::Rng;
use rand::distr::Alphanumeric;
use serde_json::{Value, json};

use super::Call;
use crate::core::Core;
use crate::model::Identity;
use crate::reply::Reply;
use crate::time::{iso, now_us, seconds};
use crate::views::{installation_permissions, login_id};

const HOUR_US: i64 = 3_600_000_000;

pub(super) fn get_installation(core: &Core, call: &Call) -> Result<Reply, Reply> {
    core.read(call.owner(), call.repository(), |r| {
        // One installation for each owner: its id is the owner's.
        Reply::ok(core.links.installation(login_id(&r.owner), &r.owner, r.created_at_us))
    })
}

pub(super) fn create_token(core: &Core, call: &Call) -> Result<Reply, Reply> {
    let id: i64 = call.number("installation_id")?;
    let mut state = core.state();
    if !state.repositories.values().any(|r| login_id(&r.owner) == id) {
        return Err(Reply::not_found());
    }
    let random: String = rand::rng().sample_iter(Alphanumeric).take(36).map(char::from).collect();
    let token = format!("ghs_{random}");
    let expires_at_us = now_us() + HOUR_US;
    let identity =
        Identity { login: "lockstep[bot]".to_owned(), write: true, hooks: false, expires_at_us: Some(expires_at_us) };
    state.tokens.insert(token.clone(), identity);
    Ok(Reply::json(
        201,
        json!({
            "token": token,
            "expires_at": iso(expires_at_us),
            "permissions": installation_permissions(),
            "repository_selection": "all",
        }),
    ))
}

/// Whether a bearer token is a JWT that GitHub would read: three parts, an issuer, valid for ten minutes at most. Its
/// signature is not checked; the double has no App's key.
pub(crate) fn is_app_token(token: &str) -> bool {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let decode = |part: &str| {
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).ok()?;
        serde_json::from_slice::<Value>(&bytes).ok()
    };
    let (Some(header), Some(claims)) = (decode(header), decode(claims)) else { return false };
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    let now = seconds(now_us()) as f64;
    let (Some(issued), Some(expires)) = (time("iat"), time("exp")) else { return false };
    header["alg"] == "RS256" && claims.get("iss").is_some() && issued <= now && now < expires && expires - now <= 600.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &Value) -> String {
        let part = |v: &Value| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(v.to_string());
        format!("{}.{}.c2ln", part(&json!({"alg": "RS256", "typ": "JWT"})), part(claims))
    }

    #[test]
    fn an_apps_token_is_told_by_its_claims() {
        let now = seconds(now_us());
        for (claims, accepted) in [
            (json!({"iat": now - 60, "exp": now + 540, "iss": "1"}), true),
            (json!({"iat": now - 60, "exp": now + 900, "iss": "1"}), false),
            (json!({"iat": now + 60, "exp": now + 540, "iss": "1"}), false),
            (json!({"iat": now - 900, "exp": now - 300, "iss": "1"}), false),
            (json!({"iat": now - 60, "exp": now + 540}), false),
        ] {
            assert_eq!(is_app_token(&token(&claims)), accepted, "{claims}");
        }
        assert!(!is_app_token("ghp_something"));
    }
}
