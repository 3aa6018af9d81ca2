//! What a token must say.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::super::{Error, bearer};
use super::*;

const NOW: i64 = 1_800_000_000;
const CUSTOM: &str =
    "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit";

/// A valid token with these members of its header and claims replaced.
fn changed(header: Value, claims: Value) -> String {
    let [issuer, _] = &*ISSUERS;
    let mut all = [issuer.header(), issuer.claims("uid", HOUR)];
    for (whole, change) in all.iter_mut().zip([header, claims]) {
        for (name, value) in change.as_object().unwrap() {
            whole[name] = value.clone();
        }
    }
    issuer.sign(&all[0], &all[1])
}

fn claim(name: &str, value: Value) -> String {
    changed(json!({}), json!({ name: value }))
}

async fn bench() -> Bench {
    Bench::start(Answer::keys(ISSUERS[0].jwks())).await
}

#[tokio::test(start_paused = true)]
async fn a02_a_good_token_tells_user_expiry_and_plan() {
    let bench = bench().await;
    let token = ISSUERS[0].mint("AbCdEfGhIj", HOUR, Some("pro.2026_b-1"));
    let principal = bench.verifier.verify(&token).await.unwrap();
    assert_eq!(principal.uid.as_str(), "AbCdEfGhIj");
    assert_eq!(principal.expires_at.as_second(), NOW + 3600);
    assert_eq!(principal.plan.as_deref(), Some("pro.2026_b-1"));
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_no_short_word_is_no_plan() {
    let bench = bench().await;
    for plan in [
        json!("x".repeat(33)),
        json!(""),
        json!("pro plan"),
        json!("prö"),
        json!("a\nb"),
        json!(7),
        json!(["pro"]),
        json!(null),
    ] {
        let principal = bench.verifier.verify(&claim("plan", plan)).await.unwrap();
        assert_eq!(principal.plan, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a02_every_broken_rule_is_refused_under_its_own_name() {
    let [issuer, stranger] = &*ISSUERS;
    let bench = bench().await;
    let good = issuer.mint("uid", HOUR, None);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let unsigned = changed(json!({"alg": "none"}), json!({}));
    let unsigned = unsigned.rsplit_once('.').unwrap().0;
    let stolen = stranger.sign(&issuer.header(), &issuer.claims("uid", HOUR));
    let array = URL_SAFE_NO_PAD.encode(json!([1]).to_string());

    let cases = [
        (String::new(), Error::Missing),
        ("x".repeat(16 * 1024 + 1), Error::TooLong),
        ("x".repeat(16 * 1024), Error::Malformed),
        (signed.to_owned(), Error::Malformed),
        (format!("{good}.x"), Error::Malformed),
        (format!("{array}.{array}.{signature}"), Error::Malformed),
        (format!(" {good}"), Error::Malformed),
        (claim("aud", CUSTOM.into()), Error::CustomToken),
        (changed(json!({"kid": null}), json!({})), Error::NoKid),
        (changed(json!({"kid": 7}), json!({})), Error::NoKid),
        (
            changed(
                json!({"kid": "", "alg": "HS256"}),
                json!({"v": 0, "d": {"uid": "uid"}}),
            ),
            Error::CustomToken,
        ),
        (format!("{unsigned}."), Error::WrongAlgorithm),
        (
            changed(json!({"alg": "RS512"}), json!({})),
            Error::WrongAlgorithm,
        ),
        (
            changed(json!({"alg": "rs256"}), json!({})),
            Error::WrongAlgorithm,
        ),
        (claim("aud", "other".into()), Error::WrongAudience),
        (claim("aud", json!([PROJECT])), Error::WrongAudience),
        (claim("iss", PROJECT.into()), Error::WrongIssuer),
        (claim("sub", "".into()), Error::EmptySubject),
        (claim("sub", 7.into()), Error::EmptySubject),
        (claim("sub", "å".repeat(129).into()), Error::SubjectTooLong),
        (
            changed(json!({"kid": "other"}), json!({})),
            Error::UnknownKey,
        ),
        (stolen, Error::BadSignature),
        (format!("{signed}."), Error::BadSignature),
        (format!("{signed}.!"), Error::BadSignature),
        (claim("iat", json!(null)), Error::NoIssueTime),
        (claim("iat", (NOW + 11).into()), Error::NotYetValid),
        (claim("exp", json!("2099")), Error::NoExpiry),
        (claim("exp", i64::MAX.into()), Error::NoExpiry),
        (claim("exp", (NOW - 11).into()), Error::Expired),
        (claim("exp", i64::MIN.into()), Error::Expired),
        (claim("auth_time", json!("now")), Error::BadAuthTime),
        (claim("auth_time", (NOW + 11).into()), Error::SignedInLater),
    ];
    for (token, expected) in &cases {
        let refused = bench.verifier.verify(token).await;
        assert_eq!(refused, Err(*expected), "{expected:?}");
        assert!(!expected.is_unavailable());
    }
    let sentences: HashSet<_> = cases.iter().map(|(_, error)| error.to_string()).collect();
    let kinds: HashSet<_> = cases.iter().map(|(_, e)| format!("{e:?}")).collect();
    assert_eq!(sentences.len(), kinds.len());
}

#[tokio::test(start_paused = true)]
async fn clocks_may_differ_by_the_allowance_and_no_more() {
    let bench = bench().await;
    for (name, time) in [
        ("iat", NOW + 10),
        ("auth_time", NOW + 10),
        ("exp", NOW - 10),
    ] {
        let token = claim(name, time.into());
        assert!(bench.verifier.verify(&token).await.is_ok(), "{name}");
    }
    let uid = claim("sub", "å".repeat(128).into());
    assert!(bench.verifier.verify(&uid).await.is_ok());
}

#[tokio::test]
async fn emulator_mode_takes_unsigned_tokens_of_its_project_and_no_others() {
    let [issuer, _] = &*ISSUERS;
    let options = Options {
        emulator: true,
        ..options("http://127.0.0.1:1/")
    };
    let verifier = Verifier::new(options, reqwest::Client::new(), world());
    assert!(verifier.ready());
    let unsigned = |claims: Value| {
        let header = json!({"alg": "none", "typ": "JWT", "kid": null});
        let token = changed(header, claims);
        format!("{}.", token.rsplit_once('.').unwrap().0)
    };
    let principal = verifier.verify(&unsigned(json!({"plan": "pro"}))).await;
    assert_eq!(principal.unwrap().plan.as_deref(), Some("pro"));

    let padded = format!("{}{SECRET}", unsigned(json!({})));
    let signed = issuer.mint("uid", HOUR, None);
    for (token, expected) in [
        (signed, Error::NotFromEmulator),
        (padded, Error::NotFromEmulator),
        (unsigned(json!({"aud": CUSTOM})), Error::CustomToken),
        (unsigned(json!({"aud": "other"})), Error::WrongAudience),
        (unsigned(json!({"iss": "other"})), Error::WrongIssuer),
        (unsigned(json!({"sub": ""})), Error::EmptySubject),
        (unsigned(json!({"exp": NOW - 60})), Error::Expired),
    ] {
        assert_eq!(verifier.verify(&token).await, Err(expected));
    }
}

#[test]
fn a02_the_token_stands_behind_the_word_bearer() {
    assert_eq!(bearer(Some("Bearer a.b.c")), Ok("a.b.c"));
    assert_eq!(bearer(Some("bearer  a.b.c ")), Ok("a.b.c"));
    for none in [None, Some("Bearer"), Some("Bearer ")] {
        assert_eq!(bearer(none), Err(Error::Missing), "{none:?}");
    }
    for other in ["", "a.b.c", "Basic YTpi", "Bearera b"] {
        assert_eq!(bearer(Some(other)), Err(Error::NotBearer), "{other}");
    }
}
