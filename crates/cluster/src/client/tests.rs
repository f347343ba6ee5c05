use super::*;

#[test]
fn a_name_cannot_leave_its_collection() {
    let subject = Subject::new("get", ObjectKey::new("", "ConfigMap", "dev", "x"));
    for good in ["gateway", "system:admin", "a.b-c_d", "kube-root-ca.crt", "user@example.org"] {
        assert!(segment(good, "metadata.name", &subject).is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "../secrets/x", "a/b", "a%2fb", "a?dryRun=All", "a#b", "a b", "ä", "a\nb"] {
        assert!(segment(bad, "metadata.name", &subject).is_err(), "{bad}");
    }
}

#[test]
fn the_text_of_secrets_is_sent_as_data() {
    for (secret, want) in [
        (json!({"stringData": {"a": "hello"}}), Some(json!({"a": "aGVsbG8="}))),
        (json!({"data": {"a": "eA==", "b": "eA=="}, "stringData": {"a": ""}}), Some(json!({"a": "", "b": "eA=="}))),
        (json!({"data": null, "stringData": {}}), Some(json!({}))),
        (json!({"data": {"a": "eA=="}}), None),
        (json!({"stringData": {"a": 1}}), None),
        (json!({"kind": "ConfigMap", "stringData": {"a": "b"}}), None),
    ] {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret"});
        object.as_object_mut().unwrap().extend(secret.as_object().unwrap().clone());
        assert_eq!(secret_data(&Object(object)).map(Value::Object), want, "{secret}");
    }
}

#[test]
fn warnings_are_read_from_their_headers() {
    let mut headers = HeaderMap::new();
    headers.append("warning", r#"299 - "v1beta1 is \"old\"""#.parse().unwrap());
    headers.append("warning", "nonsense".parse().unwrap());
    assert_eq!(warnings(&headers), [r#"v1beta1 is "old""#]);
}

#[test]
fn a_page_of_plain_text_is_a_short_error() {
    let subject = Subject::new("list", ObjectKey::new("a.b", "C", "", ""));
    let error = failure(&subject, StatusCode::BAD_GATEWAY, "<html>\nlots");
    assert!(error.is_transient());
    assert!(error.to_string().contains("<html>"));
    assert!(failure(&subject, StatusCode::NOT_FOUND, "404 page not found\n").is_not_found());
}
