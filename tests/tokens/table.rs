//! Valid and forged tokens, and what is to be thought of each.

use serde_json::{Value, json};

use crate::mint::{
    Keys, NOW, PROJECT, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, claims, encode,
    seal_with_secret, signed,
};

/// The clock skew that both sides allow.
pub(crate) const SKEW: i64 = 10;

const CUSTOM: &str =
    "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit";

/// One token of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) token: String,
    pub(crate) expected: Expected,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Expected {
    /// Accepted by both.
    Valid,
    /// Refused by both.
    Forged,
    /// Accepted by firebase-admin and refused by us, for this reason.
    Stricter(&'static str),
}

fn valid(name: &'static str, token: String) -> Case {
    let expected = Expected::Valid;
    Case {
        name,
        token,
        expected,
    }
}

fn forged(name: &'static str, token: String) -> Case {
    let expected = Expected::Forged;
    Case {
        name,
        token,
        expected,
    }
}

fn stricter(name: &'static str, reason: &'static str, token: String) -> Case {
    let expected = Expected::Stricter(reason);
    Case {
        name,
        token,
        expected,
    }
}

/// All tokens but those of emulator mode.
pub(crate) fn all(keys: &Keys) -> Vec<Case> {
    [
        good(keys),
        keys_and_algorithms(keys),
        names(keys),
        times(keys),
        shapes(keys),
        differences(keys),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn good(keys: &Keys) -> Vec<Case> {
    let with = |claims: Value| keys.changed(json!({}), claims);
    let other = |key: &crate::mint::Key| key.seal(&signed(&json!({"kid": key.kid}), &json!({})));
    let spaced = serde_json::to_string_pretty(&claims()).unwrap();
    let header = encode(r#" {"kid" : "first", "alg":"RS256"} "#);
    vec![
        valid("a plain token", with(json!({}))),
        valid("a plan", with(json!({"plan": "pro"}))),
        valid("a plan of a strange type", with(json!({"plan": [1]}))),
        valid("the second key", other(&keys.second)),
        valid("a key whose certificate ended", other(&keys.expired)),
        valid(
            "a uid of 128 characters",
            with(json!({"sub": "x".repeat(128)})),
        ),
        valid(
            "128 characters of two bytes",
            with(json!({"sub": "å".repeat(128)})),
        ),
        valid("issued within the skew", with(json!({"iat": NOW + SKEW}))),
        valid("expired within the skew", with(json!({"exp": NOW - SKEW}))),
        valid(
            "signed in within the skew",
            with(json!({"auth_time": NOW + SKEW})),
        ),
        valid("issued at the epoch", with(json!({"iat": 0}))),
        valid("issued before the epoch", with(json!({"iat": -1}))),
        valid("no sign-in time", with(json!({"auth_time": null}))),
        valid("nbf, which is no rule", with(json!({"nbf": NOW + 9_999}))),
        valid("no typ", keys.changed(json!({"typ": null}), json!({}))),
        valid("strange typ", keys.changed(json!({"typ": 7}), json!({}))),
        valid(
            "white space in the JSON",
            keys.first.seal(&format!("{header}.{}", encode(spaced))),
        ),
        valid("many claims", with(json!({"note": "x".repeat(8_000)}))),
    ]
}

fn keys_and_algorithms(keys: &Keys) -> Vec<Case> {
    let with = |header: Value| keys.changed(header, json!({}));
    let segments = |header: Value| signed(&header, &json!({}));
    let none = |alg: &str| format!("{}.", segments(json!({"alg": alg})));
    let hs256 = segments(json!({"alg": "HS256"}));
    let pem = keys.first.certificate.as_bytes();
    let custom = json!({"aud": CUSTOM, "iss": "a@b.iam", "uid": "x"});
    let legacy = json!({"v": 0, "d": {"uid": "x"}, "aud": null, "sub": null});
    let embedded =
        json!({"kid": "stranger", "jwk": keys.stranger.jwk(), "jku": "http://127.0.0.1/"});
    let plain = segments(json!({}));
    vec![
        forged("a custom token", keys.changed(json!({"kid": null}), custom)),
        forged(
            "a custom token with a kid",
            keys.changed(json!({}), json!({"aud": CUSTOM})),
        ),
        forged(
            "a legacy custom token",
            seal_with_secret(
                b"s",
                &signed(&json!({"alg": "HS256", "kid": null}), &legacy),
            ),
        ),
        forged("no kid", with(json!({"kid": null}))),
        forged("an empty kid", with(json!({"kid": ""}))),
        forged("a number as kid", with(json!({"kid": 7}))),
        forged("a list as kid", with(json!({"kid": ["first"]}))),
        forged("an unknown kid", with(json!({"kid": "third"}))),
        forged("a kid with a space", with(json!({"kid": "first "}))),
        forged("the kid of another key", with(json!({"kid": "second"}))),
        forged("a stranger's key", keys.stranger.seal(&plain)),
        forged(
            "a stranger's key in the header",
            keys.stranger.seal(&segments(embedded)),
        ),
        forged("none", none("none")),
        forged("None", none("None")),
        forged(
            "none, without kid",
            format!("{}.", segments(json!({"alg": "none", "kid": null}))),
        ),
        forged("none, well signed", with(json!({"alg": "none"}))),
        forged("HS256 with the certificate", seal_with_secret(pem, &hs256)),
        forged("HS256 with nothing", seal_with_secret(b"", &hs256)),
        forged(
            "RS384",
            keys.first
                .seal_with(&RSA_PKCS1_SHA384, &segments(json!({"alg": "RS384"}))),
        ),
        forged(
            "RS512",
            keys.first
                .seal_with(&RSA_PKCS1_SHA512, &segments(json!({"alg": "RS512"}))),
        ),
        forged(
            "PS256",
            keys.first
                .seal_with(&RSA_PSS_SHA256, &segments(json!({"alg": "PS256"}))),
        ),
        forged(
            "PS256 that says RS256",
            keys.first.seal_with(&RSA_PSS_SHA256, &plain),
        ),
        forged(
            "RS512 that says RS256",
            keys.first.seal_with(&RSA_PKCS1_SHA512, &plain),
        ),
        forged(
            "ES256",
            keys.seal_with_curve(&segments(json!({"alg": "ES256", "kid": "curve"}))),
        ),
        forged(
            "ES256 that says RS256",
            keys.seal_with_curve(&segments(json!({"kid": "curve"}))),
        ),
        forged("lower case", with(json!({"alg": "rs256"}))),
        forged("no algorithm", with(json!({"alg": null}))),
        forged("a list of algorithms", with(json!({"alg": ["RS256"]}))),
    ]
}

fn names(keys: &Keys) -> Vec<Case> {
    let with = |claims: Value| keys.changed(json!({}), claims);
    let iss = |iss: String| with(json!({ "iss": iss }));
    vec![
        forged("another project", with(json!({"aud": "other"}))),
        forged(
            "another project throughout",
            with(json!({"aud": "other", "iss": "https://securetoken.google.com/other"})),
        ),
        forged("no audience", with(json!({"aud": null}))),
        forged("a list of the audience", with(json!({"aud": [PROJECT]}))),
        forged(
            "a list of audiences",
            with(json!({"aud": ["other", PROJECT]})),
        ),
        forged(
            "audience in upper case",
            with(json!({"aud": PROJECT.to_uppercase()})),
        ),
        forged(
            "audience with an end",
            with(json!({"aud": format!("{PROJECT}\u{0}")})),
        ),
        forged("no issuer", with(json!({"iss": null}))),
        forged(
            "issuer of another project",
            iss("https://securetoken.google.com/other".into()),
        ),
        forged(
            "issuer without project",
            iss("https://securetoken.google.com/".into()),
        ),
        forged(
            "issuer with an end",
            iss(format!("https://securetoken.google.com/{PROJECT}/")),
        ),
        forged(
            "issuer without TLS",
            iss(format!("http://securetoken.google.com/{PROJECT}")),
        ),
        forged(
            "a session cookie",
            iss(format!("https://session.firebase.google.com/{PROJECT}")),
        ),
        forged(
            "a Google account's token",
            iss("https://accounts.google.com".into()),
        ),
        forged(
            "a list of the issuer",
            with(json!({"iss": [format!("https://securetoken.google.com/{PROJECT}")]})),
        ),
        forged("no uid", with(json!({"sub": null}))),
        forged("an empty uid", with(json!({"sub": ""}))),
        forged("a number as uid", with(json!({"sub": 7}))),
        forged("a list as uid", with(json!({"sub": ["x"]}))),
        forged(
            "a uid of 129 characters",
            with(json!({"sub": "x".repeat(129)})),
        ),
    ]
}

fn times(keys: &Keys) -> Vec<Case> {
    let with = |claims: Value| keys.changed(json!({}), claims);
    vec![
        forged("expired", with(json!({"exp": NOW - 3_600}))),
        forged(
            "expired beyond the skew",
            with(json!({"exp": NOW - SKEW - 1})),
        ),
        forged("expired before the epoch", with(json!({"exp": -1}))),
        forged("no expiry", with(json!({"exp": null}))),
        forged("a text as expiry", with(json!({"exp": "4102444800"}))),
        forged("a list as expiry", with(json!({"exp": [NOW + 60]}))),
        forged("issued later", with(json!({"iat": NOW + 3_600}))),
        forged(
            "issued beyond the skew",
            with(json!({"iat": NOW + SKEW + 1})),
        ),
        forged("no issue time", with(json!({"iat": null}))),
        forged("a text as issue time", with(json!({"iat": "0"}))),
    ]
}

fn shapes(keys: &Keys) -> Vec<Case> {
    let good = keys.changed(json!({}), json!({}));
    let richer = keys.changed(json!({}), json!({"plan": "pro"}));
    let [header, claims, signature] = parts(&good);
    let [_, rich, _] = parts(&richer);
    let sealed = |header: &str, claims: &str| keys.first.seal(&format!("{header}.{claims}"));
    // In the middle: the last character's low bits have no meaning.
    let mut flipped = good.clone().into_bytes();
    let middle = flipped.len() - 100;
    flipped[middle] = if flipped[middle] == b'A' { b'B' } else { b'A' };
    vec![
        forged("nothing", String::new()),
        forged("two dots", "..".into()),
        forged("one segment", header.into()),
        forged("two segments", format!("{header}.{claims}")),
        forged("four segments", format!("{good}.{signature}")),
        forged("no header", format!(".{claims}.{signature}")),
        forged("no claims", format!("{header}..{signature}")),
        forged("no signature", format!("{header}.{claims}.")),
        forged(
            "half a signature",
            format!("{header}.{claims}.{}", &signature[..172]),
        ),
        forged("a signature and more", format!("{good}AAAA")),
        forged("a newline at the end", format!("{good}\n")),
        forged("a changed signature", String::from_utf8(flipped).unwrap()),
        forged(
            "the claims of another token",
            format!("{header}.{rich}.{signature}"),
        ),
        forged("text as claims", sealed(header, &encode("hello"))),
        forged("a list as claims", sealed(header, &encode("[1]"))),
        forged(
            "a list as header",
            sealed(&encode("[\"RS256\",\"first\"]"), claims),
        ),
        forged("null as claims", sealed(header, &encode("null"))),
        forged(
            "bytes that are no text",
            sealed(header, &encode(b"{\"sub\":\"\xFF\"}")),
        ),
        forged("claims cut short", sealed(header, &encode("{\"aud\":"))),
    ]
}

/// The whole list of differences.
fn differences(keys: &Keys) -> Vec<Case> {
    let with = |claims: Value| keys.changed(json!({}), claims);
    let good = signed(&json!({}), &json!({}));
    let (header, _) = good.split_once('.').unwrap();
    let raw = |claims: String| keys.first.seal(&format!("{header}.{}", encode(claims)));
    // The same claims with one more member, written by hand.
    let written = |member: &str| {
        let all = claims().to_string();
        raw(format!("{},{member}}}", all.strip_suffix('}').unwrap()))
    };
    let deep = format!("{}{}", "[".repeat(500), "]".repeat(500));
    let sealed = keys.first.seal(&good);
    vec![
        stricter(
            "signed in later",
            "Google's rules want auth_time in the past",
            with(json!({"auth_time": NOW + SKEW + 1})),
        ),
        stricter(
            "a text as sign-in time",
            "it cannot be shown to be in the past",
            with(json!({"auth_time": "1"})),
        ),
        stricter(
            "more than 16 KiB",
            "bounded work before a token is known to be good",
            with(json!({"note": "x".repeat(16_000)})),
        ),
        stricter(
            "a fraction as expiry",
            "Firebase writes whole seconds",
            with(json!({"exp": NOW as f64 + 0.5})),
        ),
        stricter(
            "true as issue time",
            "Python takes true for 1",
            with(json!({"iat": true})),
        ),
        stricter(
            "expiry after the year 9999",
            "no time that can be kept",
            with(json!({"exp": 999_999_999_999_i64})),
        ),
        stricter(
            "a uid given twice",
            "readers differ on which one counts",
            written("\"sub\":\"admin\""),
        ),
        stricter(
            "a key id given twice",
            "readers differ on which one counts",
            {
                let header = encode(r#"{"alg":"RS256","kid":"second","kid":"first"}"#);
                keys.first
                    .seal(&format!("{header}.{}", encode(claims().to_string())))
            },
        ),
        stricter(
            "NaN among the claims",
            "NaN is not JSON",
            written("\"x\":NaN"),
        ),
        stricter(
            "a claim of ours 500 deep",
            "bounded depth of parsing",
            written(&format!("\"plan\":{deep}")),
        ),
        stricter(
            "padding",
            "RFC 7515 leaves base64 padding out",
            format!("{sealed}=="),
        ),
        stricter(
            "noise in the signature",
            "RFC 7515 allows no other characters",
            format!(
                "{}!!!!{}",
                &sealed[..sealed.len() - 9],
                &sealed[sealed.len() - 9..]
            ),
        ),
    ]
}

/// Tokens of emulator mode. firebase-admin in Python judges neither signature
/// nor times there; in Node.js it does.
pub(crate) fn emulator(keys: &Keys) -> Vec<Case> {
    let none = json!({"alg": "none", "kid": null});
    let with = |claims: Value| format!("{}.", signed(&none, &claims));
    const UNSIGNED: &str = "the emulator signs nothing: it comes from somewhere else";
    const TIMES: &str = "the emulator's times are real, and Node.js judges them";
    vec![
        valid("the emulator's", with(json!({}))),
        valid("with a plan", with(json!({"plan": "pro"}))),
        forged("a custom token", with(json!({"aud": CUSTOM}))),
        forged("another project", with(json!({"aud": "other"}))),
        forged("a list of the audience", with(json!({"aud": [PROJECT]}))),
        forged("another issuer", with(json!({"iss": "other"}))),
        forged("no uid", with(json!({"sub": null}))),
        forged("an empty uid", with(json!({"sub": ""}))),
        forged("a long uid", with(json!({"sub": "x".repeat(129)}))),
        forged("two segments", signed(&none, &json!({}))),
        stricter("a real token", UNSIGNED, keys.changed(json!({}), json!({}))),
        stricter("a signature", UNSIGNED, format!("{}AAAA", with(json!({})))),
        stricter("expired", TIMES, with(json!({"exp": NOW - 60}))),
        stricter("issued later", TIMES, with(json!({"iat": NOW + 60}))),
    ]
}

fn parts(token: &str) -> [&str; 3] {
    let parts: Vec<_> = token.split('.').collect();
    parts.try_into().unwrap()
}
