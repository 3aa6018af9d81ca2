//! How keys are fetched, kept, refreshed and given up.

use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CACHE_CONTROL;
use futures::future::join_all;
use serde_json::json;

use super::super::Error;
use super::super::keyring::{QUIET, lifetime, refresh_after};
use super::super::keys;
use super::*;

#[tokio::test(start_paused = true)]
async fn a24_fetches_are_logged_without_the_url_or_the_token() {
    let [issuer, _] = &*ISSUERS;
    let mut bench = Bench::start(Answer::keys(issuer.jwks())).await;
    let token = issuer.mint("a-long-uid", HOUR, None);
    bench.verifier.verify(&token).await.unwrap();
    let forged = with_kid("forged");
    for broken in [Answer::failure(), Answer::keys("{}")] {
        bench.answer(broken);
        bench.pass(QUIET).await;
        let refused = bench.verifier.verify(&forged).await;
        assert_eq!(refused, Err(Error::KeysUnavailable));
    }
    bench.answer(Answer::silence());
    bench.pass(QUIET).await;
    bench.fetches(4).await;
    bench.pass(QUIET).await;
    let refused = bench.verifier.verify(&forged).await;
    assert_eq!(refused, Err(Error::KeysUnavailable));
    let log = bench.log.text();
    for said in [
        "fetched the public keys",
        "503",
        "none of the 0",
        "timed out",
    ] {
        assert!(log.contains(said), "{said} in {log}");
    }
    for secret in [SECRET, "http:", "forged", "a-long-uid", &token] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// A token that says it is signed with a key of that id.
fn with_kid(kid: &str) -> String {
    let [issuer, _] = &*ISSUERS;
    let header = json!({"alg": "RS256", "kid": kid});
    issuer.sign(&header, &issuer.claims("uid", HOUR))
}

#[tokio::test(start_paused = true)]
async fn keys_of_both_formats_verify_the_same_token() {
    let [issuer, _] = &*ISSUERS;
    for document in [issuer.jwks(), certificates(issuer)] {
        let bench = Bench::start(Answer::keys(document)).await;
        let token = issuer.mint("uid", HOUR, None);
        assert!(bench.verifier.verify(&token).await.is_ok());
        assert!(bench.verifier.ready());
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_unknown_key_ids_causes_one_fetch_in_five_seconds() {
    let [issuer, _] = &*ISSUERS;
    let mut bench = Bench::start(Answer::keys(issuer.jwks())).await;
    let verifier = bench.verifier.clone();
    verifier
        .verify(&issuer.mint("uid", HOUR, None))
        .await
        .unwrap();

    let tokens: Vec<_> = (0..200).map(|n| with_kid(&format!("kid-{n}"))).collect();
    for wave in 2..5 {
        // Just after a fetch the answer is known and comes at once.
        for token in &tokens {
            let refused = verifier.verify(token).await;
            assert_eq!(refused, Err(Error::UnknownKey));
        }
        bench.fetches(wave - 1).await;
        bench.pass(QUIET).await;
        // Later all of them wait for the same fetch.
        for refused in join_all(tokens.iter().map(|token| verifier.verify(token))).await {
            assert_eq!(refused, Err(Error::UnknownKey));
        }
        bench.fetches(wave).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_fetched_when_its_first_token_comes() {
    let [old, new] = &*ISSUERS;
    let mut bench = Bench::start(Answer::keys(old.jwks())).await;
    bench
        .verifier
        .verify(&old.mint("uid", HOUR, None))
        .await
        .unwrap();
    bench.answer(Answer::keys(new.jwks()));
    bench.pass(QUIET).await;
    let token = new.mint("uid", HOUR, None);
    assert!(bench.verifier.verify(&token).await.is_ok());
    // The old key is no longer listed, so its tokens no longer count.
    let withdrawn = bench.verifier.verify(&old.mint("uid", HOUR, None)).await;
    assert_eq!(withdrawn, Err(Error::UnknownKey));
    bench.fetches(2).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_hangs_up_does_not_abort_the_fetch_of_the_others() {
    let [old, new] = &*ISSUERS;
    let mut bench = Bench::start(Answer::keys(old.jwks())).await;
    bench
        .verifier
        .verify(&old.mint("uid", HOUR, None))
        .await
        .unwrap();
    bench.answer(Answer::keys(new.jwks()));
    bench.pass(QUIET).await;
    let token = new.mint("uid", HOUR, None);
    // Polled once, then dropped.
    let poll = futures::poll!(Box::pin(bench.verifier.verify(&token)));
    assert!(poll.is_pending());
    assert!(bench.verifier.verify(&token).await.is_ok());
    bench.fetches(2).await;
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_before_they_expire_without_a_caller() {
    let [old, new] = &*ISSUERS;
    let mut bench = Bench::start(Answer::keys(old.jwks())).await;
    bench
        .verifier
        .verify(&old.mint("uid", HOUR, None))
        .await
        .unwrap();
    bench.answer(Answer::keys(new.jwks()));
    // max-age is 1000 s.
    bench.pass(Duration::from_secs(800)).await;
    bench.fetches(2).await;
    let token = new.mint("uid", HOUR, None);
    assert!(bench.verifier.verify(&token).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn known_keys_outlive_an_outage_for_a_while_and_then_fail_closed() {
    let [issuer, _] = &*ISSUERS;
    let bench = Bench::start(Answer::keys(issuer.jwks())).await;
    let token = issuer.mint("uid", HOUR, None);
    bench.verifier.verify(&token).await.unwrap();
    for outage in [Answer::failure(), Answer::silence()] {
        bench.answer(outage);
        bench.pass(Duration::from_secs(1_000)).await;
        assert!(bench.verifier.verify(&token).await.is_ok());
    }
    // The limit is the lifetime and max_stale together.
    bench.pass(2 * HOUR - Duration::from_secs(1_000)).await;
    assert!(bench.verifier.verify(&token).await.is_ok());
    assert!(bench.verifier.ready());
    bench.answer(Answer::failure());
    bench.pass(Duration::from_secs(1)).await;
    let refused = bench.verifier.verify(&token).await.unwrap_err();
    assert_eq!(refused, Error::KeysUnavailable);
    assert!(refused.is_unavailable());
    assert!(!bench.verifier.ready());
    bench.verifier.until_unready().await;

    bench.answer(Answer::keys(issuer.jwks()));
    bench.pass(QUIET).await;
    assert!(bench.verifier.verify(&token).await.is_ok());
    assert!(bench.verifier.ready());
    bench.verifier.until_ready().await;
    assert!(futures::poll!(Box::pin(bench.verifier.until_unready())).is_pending());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_id_cannot_be_judged_while_the_endpoint_fails() {
    let [issuer, _] = &*ISSUERS;
    let bench = Bench::start(Answer::keys(issuer.jwks())).await;
    let known = issuer.mint("uid", HOUR, None);
    bench.verifier.verify(&known).await.unwrap();
    let html = "<html>sign in to the hotel's network</html>".to_owned();
    let large = format!("{}{}", issuer.jwks(), " ".repeat(256 * 1024));
    let weak = json!({"keys": [{"kty": "RSA", "kid": "k", "n": "AQAB", "e": "AQAB"}]});
    for broken in [
        Answer::failure(),
        Answer::keys(html),
        Answer::keys("{}"),
        Answer::keys("{\"keys\": []}"),
        Answer::keys(weak.to_string()),
        Answer::keys(large),
    ] {
        bench.answer(broken);
        bench.pass(QUIET).await;
        let refused = bench.verifier.verify(&with_kid("new")).await;
        assert_eq!(refused, Err(Error::KeysUnavailable));
        // And the good keys stay.
        assert!(bench.verifier.verify(&known).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn without_any_keys_nobody_gets_in_and_the_server_is_not_ready() {
    let [issuer, _] = &*ISSUERS;
    let mut bench = Bench::start(Answer::silence()).await;
    let token = issuer.mint("uid", HOUR, None);
    let verifier = bench.verifier.clone();
    let mut waiting = Box::pin(verifier.verify(&token));
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    // The fetch is given up after 5 s, and who waits for it is told so.
    bench.answer(Answer::keys(issuer.jwks()));
    bench.pass(Duration::from_secs(5)).await;
    assert_eq!(waiting.await, Err(Error::KeysUnavailable));
    assert!(!bench.verifier.ready());

    // The next try comes by itself: 1 s later, 2 s with the most jitter.
    bench.pass(Duration::from_secs(2)).await;
    bench.fetches(2).await;
    bench.pass(QUIET).await;
    assert!(verifier.verify(&token).await.is_ok());
    assert!(verifier.ready());
}

#[tokio::test(start_paused = true)]
async fn a_verifier_that_nobody_keeps_fresh_fails_closed() {
    let [issuer, _] = &*ISSUERS;
    let options = options("http://127.0.0.1:1/");
    let verifier = Verifier::new(options, reqwest::Client::new(), world());
    let refused = verifier.verify(&issuer.mint("uid", HOUR, None)).await;
    assert_eq!(refused, Err(Error::KeysUnavailable));
}

#[test]
fn the_refresh_comes_at_70_to_80_percent_of_the_lifetime() {
    let world = world();
    let times: Vec<_> = (0..1000).map(|_| refresh_after(HOUR, &world)).collect();
    let expected = HOUR.mul_f64(0.7)..=HOUR.mul_f64(0.8);
    assert!(times.iter().all(|time| expected.contains(time)));
    assert!(times.windows(2).any(|pair| pair[0] != pair[1]));
}

#[test]
fn cache_control_says_how_long_keys_are_fresh_within_bounds() {
    let seconds = |values: &[&'static str]| {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CACHE_CONTROL, value.parse().unwrap());
        }
        lifetime(&headers).as_secs()
    };
    assert_eq!(seconds(&["public, max-age=19302, must-revalidate"]), 19_302);
    assert_eq!(seconds(&["public", "Max-Age=\"60\""]), 60);
    assert_eq!(seconds(&["max-age=600, no-cache"]), 5);
    assert_eq!(seconds(&["no-store"]), 5);
    assert_eq!(seconds(&["max-age=0"]), 5);
    assert_eq!(seconds(&["max-age=99999999999"]), 24 * 3600);
    for unsaid in [&[][..], &["public"], &["max-age=soon"], &["s-maxage=9"]] {
        assert_eq!(seconds(unsaid), 3600, "{unsaid:?}");
    }
}

#[test]
fn a_key_document_gives_its_rsa_keys_and_nothing_else() {
    let [issuer, _] = &*ISSUERS;
    let curve = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::default();
    let curve = params.self_signed(&curve).unwrap().pem();
    let mut map: serde_json::Value = serde_json::from_str(&certificates(issuer)).unwrap();
    map["curve"] = curve.into();
    map["number"] = 7.into();
    let keys = keys::read(map.to_string().as_bytes()).unwrap();
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), [issuer.kid()]);

    let set: serde_json::Value = serde_json::from_str(&issuer.jwks()).unwrap();
    let good = &set["keys"][0];
    let changed = |field: &str, value: serde_json::Value| {
        let mut key = good.clone();
        key["kid"] = "other".into();
        key[field] = value;
        key
    };
    let set = json!({"keys": [
        changed("use", "enc".into()),
        changed("alg", "RS512".into()),
        changed("kty", "EC".into()),
        changed("kid", "".into()),
        changed("kid", json!(null)),
        changed("n", "not base64!".into()),
        "a text",
        good,
    ]});
    let keys = keys::read(set.to_string().as_bytes()).unwrap();
    assert_eq!(keys.into_keys().collect::<Vec<_>>(), [issuer.kid()]);
}
