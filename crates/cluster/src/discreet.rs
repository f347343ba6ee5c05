//! What an API server says about a Secret is never passed on: its messages, and those of the webhooks behind it, repeat values in
//! many notations. What stands instead names the field, the kind of reason and whoever refused it, all from a list of what is known
//! to say nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kube::core::response::Status;
use resources::{Object, SecretValues};
use serde_json::Value;

const INSTEAD: &str = "the API server's own words are left out, since they may repeat values of the Secret";

/// The sentence for an API server's answer to a request about a Secret.
pub(crate) fn sentence(status: &Status, sent: Option<&Object>) -> String {
    let told = known(status, sent).unwrap_or_else(|| match (status.reason.as_str(), status.code) {
        ("", code) => format!("HTTP {code}"),
        (reason, code) => format!("{reason}, HTTP {code}"),
    });
    // Field names come from the object, too.
    let told = sent.map_or(told.clone(), |sent| SecretValues::of([sent]).mask(&told).into_owned());
    format!("{told} ({INSTEAD})")
}

fn known(status: &Status, sent: Option<&Object>) -> Option<String> {
    let message = status.message.as_str();
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    let fields: Vec<String> = causes
        .iter()
        .filter(|cause| !cause.field.is_empty())
        .map(|cause| format!("{}: {}", cause.field, reason_of(&cause.reason, &cause.message)))
        .collect();
    if !fields.is_empty() {
        return Some(fields.join(", "));
    }
    typed(message)
        .or_else(|| undecodable(message, sent))
        .or_else(|| refused_by(message))
        .or_else(|| forbidden(message))
        .or_else(|| phrase(message).map(str::to_owned))
}

/// The reasons that an API server gives for a field.
fn reason_of(reason: &str, message: &str) -> &'static str {
    match reason {
        _ if message.contains("immutable") => "field is immutable",
        "FieldValueRequired" => "Required value",
        "FieldValueDuplicate" => "Duplicate value",
        "FieldValueInvalid" => "Invalid value",
        "FieldValueTypeInvalid" => "Invalid value, of another type",
        "FieldValueNotSupported" => "Unsupported value",
        "FieldValueForbidden" => "Forbidden",
        "FieldValueTooLong" => "Too long",
        "FieldValueTooMany" => "Too many",
        "FieldManagerConflict" => "managed by somebody else",
        _ => "refused",
    }
}

/// `failed to create typed patch object (…): .stringData.a: expected string, got …`.
fn typed(message: &str) -> Option<String> {
    const WORDS: [&str; 7] = [
        "expected map",
        "expected list",
        "expected string",
        "expected boolean",
        "expected numeric (int or float)",
        "field not declared in schema",
        "duplicate entries for key",
    ];
    let (_, rest) = message.split_once("failed to create typed ")?;
    let (_, rest) = rest.split_once("): ")?;
    let (field, reason) = rest.split_once(": ")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | '[' | ']');
    let field = field.strip_prefix('.').filter(|field| field.chars().all(plain))?;
    let reason = WORDS.iter().find(|words| reason.starts_with(**words)).unwrap_or(&"it is not what the kind declares");
    Some(format!("{field}: {reason}"))
}

fn undecodable(message: &str, sent: Option<&Object>) -> Option<String> {
    if message.contains("illegal base64 data") {
        let data = sent.and_then(|sent| sent.at("/data")).and_then(Value::as_object);
        let broken = |value: &Value| value.as_str().is_none_or(|text| STANDARD.decode(text).is_err());
        let names: Vec<&str> =
            data.into_iter().flatten().filter(|(_, value)| broken(value)).map(|(name, _)| name.as_str()).collect();
        return Some(match names.as_slice() {
            [] => "a value of data is not base64".to_owned(),
            names => format!("data[{}] is not base64; write it under stringData as it is", names.join("], data[")),
        });
    }
    let decodes = ["unable to convert", "cannot be handled as", "cannot unmarshal", "failed to convert"];
    decodes.iter().any(|words| message.contains(words)).then(|| "a value cannot be decoded".to_owned())
}

/// Webhooks and policies are named; what they say is theirs.
fn refused_by(message: &str) -> Option<String> {
    let name = |text: &str, quote: char| {
        let (name, _) = text.split_once(quote)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '/' | ':');
        name.chars().all(plain).then(|| name.to_owned())
    };
    for (start, quote, before, after) in [
        ("admission webhook \"", '"', "admission webhook", "denied the request"),
        ("failed calling webhook \"", '"', "failed calling webhook", "which did not answer"),
        ("ValidatingAdmissionPolicy '", '\'', "ValidatingAdmissionPolicy", "denied the request"),
    ] {
        if let Some((_, rest)) = message.split_once(start)
            && let Some(name) = name(rest, quote)
        {
            return Some(format!("{before} {name:?} {after}"));
        }
    }
    let (_, rest) = message.split_once("exceeded quota: ")?;
    name(rest, ',').map(|name| format!("exceeded quota {name:?}"))
}

/// `User "u" cannot patch resource "secrets" in API group "" in the namespace "dev"`: names and verbs only.
fn forbidden(message: &str) -> Option<String> {
    let at = message.find("User \"")?;
    let mut words = Vec::new();
    for whole in message[at..].split(' ') {
        let word = whole.trim_end_matches([':', ',']);
        let quoted = word.len() >= 2 && word.starts_with('"') && word.ends_with('"');
        let verb = words.last() == Some(&"cannot");
        let grammar = matches!(
            word,
            "User" | "cannot" | "resource" | "in" | "API" | "group" | "the" | "namespace" | "at" | "cluster" | "scope"
        );
        if !(quoted || grammar || verb && word.chars().all(|c| c.is_ascii_lowercase())) {
            break;
        }
        words.push(word);
        if word != whole {
            break;
        }
    }
    (words.len() >= 5).then(|| words.join(" "))
}

/// Sentences that are always the same.
fn phrase(message: &str) -> Option<&'static str> {
    [
        "is being terminated",
        "the object has been modified; please apply your changes to the latest version and try again",
        "Request entity too large",
        "does not match the name on the URL",
        "Precondition failed",
        "etcdserver: request timed out",
        "etcdserver: leader changed",
        "etcdserver: request is too large",
    ]
    .into_iter()
    .find(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(code: u16, reason: &str, message: &str, causes: Value, sent: Value) -> String {
        let status = json!({"code": code, "reason": reason, "message": message, "details": {"causes": causes}});
        let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "dev"}});
        secret.as_object_mut().unwrap().extend(sent.as_object().unwrap().clone());
        let text = sentence(&serde_json::from_value(status).unwrap(), Some(&Object(secret)));
        text.strip_suffix(&format!(" ({INSTEAD})")).unwrap().to_owned()
    }

    /// The messages are those of a real API server, with markers in the places of values.
    #[test]
    fn a_sentence_says_where_and_why_and_no_value() {
        const TYPED: &str = "failed to create typed patch object (dev/s; /v1, Kind=Secret): ";
        const CONVERT: &str = "failed to convert new object (dev/s; /v1, Kind=Secret) to proper version: unable to convert unstructured \
                               object to /v1, Kind=Secret: error decoding from json: ";
        for (code, reason, message, causes, sent, want) in [
            (500, "", format!("{TYPED}.stringData: expected map, got &{{MARKER}}"), json!([]), json!({"stringData": "MARKER"}), "stringData: expected map"),
            (
                500,
                "",
                format!("{TYPED}.stringData.a: expected string, got &value.valueUnstructured{{Value:map[string]interface {{}}{{\"b\":\"MARKER\", \"c\":\"x\"}}}}"),
                json!([]),
                json!({"stringData": {"a": {"b": "MARKER", "c": "x"}}}),
                "stringData.a: expected string",
            ),
            (500, "", format!("{TYPED}.data.a: some new MARKER"), json!([]), json!({}), "data.a: it is not what the kind declares"),
            (500, "", format!("{TYPED}.data: MARKER: expected string"), json!([]), json!({}), "data: it is not what the kind declares"),
            (
                500,
                "",
                format!("{CONVERT}illegal base64 data at input byte 3"),
                json!([]),
                json!({"data": {"a": "not MARKER!", "b": "YWJj"}}),
                "data[a] is not base64; write it under stringData as it is",
            ),
            (500, "", format!("{CONVERT}what is MARKER"), json!([]), json!({}), "a value cannot be decoded"),
            (
                422,
                "Invalid",
                "Secret \"s\" is invalid: data[.dockerconfigjson]: Invalid value: \"MARKER\": no".into(),
                json!([{"field": "data[.dockerconfigjson]", "reason": "FieldValueInvalid", "message": "Invalid value: \"MARKER\": no"}]),
                json!({}),
                "data[.dockerconfigjson]: Invalid value",
            ),
            (
                422,
                "Invalid",
                "Secret \"s\" is invalid: type: Invalid value: \"MARKER\": field is immutable".into(),
                json!([{"field": "type", "reason": "FieldValueInvalid", "message": "Invalid value: \"MARKER\": field is immutable"}]),
                json!({}),
                "type: field is immutable",
            ),
            (
                403,
                "Forbidden",
                "admission webhook \"policy.example.com\" denied the request: {\"stringData\":{\"a\":\"MARKER\"}}".into(),
                json!([]),
                json!({}),
                "admission webhook \"policy.example.com\" denied the request",
            ),
            (
                422,
                "Invalid",
                "secrets \"s\" is forbidden: ValidatingAdmissionPolicy 'no-secrets' with binding 'b' denied request: MARKER".into(),
                json!([]),
                json!({}),
                "ValidatingAdmissionPolicy \"no-secrets\" denied the request",
            ),
            (
                500,
                "InternalError",
                "Internal error occurred: failed calling webhook \"policy.example.com\": failed to call webhook: MARKER".into(),
                json!([]),
                json!({}),
                "failed calling webhook \"policy.example.com\" which did not answer",
            ),
            (
                403,
                "Forbidden",
                "secrets \"s\" is forbidden: User \"system:serviceaccount:a:b\" cannot patch resource \"secrets\" in API group \"\" in the \
                 namespace \"dev\": MARKER"
                    .into(),
                json!([]),
                json!({}),
                "User \"system:serviceaccount:a:b\" cannot patch resource \"secrets\" in API group \"\" in the namespace \"dev\"",
            ),
            (403, "Forbidden", "secrets \"s\" is forbidden: exceeded quota: few, requested: MARKER".into(), json!([]), json!({}), "exceeded quota \"few\""),
            (403, "Forbidden", "MARKER because it is being terminated".into(), json!([]), json!({}), "is being terminated"),
            (418, "Teapot", "MARKER".into(), json!([]), json!({}), "Teapot, HTTP 418"),
            (503, "", "MARKER".into(), json!([]), json!({}), "HTTP 503"),
            (
                422,
                "Invalid",
                "x".into(),
                json!([{"field": "data[MARKER]", "reason": "FieldValueInvalid", "message": "x"}]),
                json!({"stringData": {"MARKER": "MARKER"}}),
                "data[***]: Invalid value",
            ),
        ] {
            let text = said(code, reason, &message, causes, sent);
            assert!(text.starts_with(want), "{message}\n{text}");
            assert!(!text.contains("MARKER"), "{message}\n{text}");
        }
    }
}
