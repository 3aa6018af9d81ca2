//! What the chart's NetworkPolicy lets out, against what the server asks for.

use std::collections::BTreeSet;
use std::ffi::OsStr;

use serde_json::Value;

use crate::chart::{documents, kind, proactive, render, settings_of_kind};
use crate::support::tools::{helms, passed, python_with_yaml};

/// Ways out: to whom (`*` is anybody), protocol and port.
type Out = BTreeSet<(String, String, u64)>;

/// What is let out if nothing is said: names, and HTTPS to Google.
const USUAL: [(&str, &str, u64); 3] = [("*", "TCP", 53), ("*", "TCP", 443), ("*", "UDP", 53)];
/// GKE's metadata server, by its own documentation: with Dataplane V2, and without.
const METADATA: [(&str, &str, u64); 4] = [
    ("169.254.169.252/32", "TCP", 987),
    ("169.254.169.252/32", "TCP", 988),
    ("169.254.169.254/32", "TCP", 80),
    ("169.254.169.254/32", "TCP", 8080),
];

fn ways_out(ways: &[(&str, &str, u64)]) -> Out {
    let owned = |&(to, protocol, port): &(&str, &str, u64)| (to.into(), protocol.into(), port);
    ways.iter().map(owned).collect()
}

fn let_out(documents: &[Value]) -> Out {
    let policy = &kind(documents, "NetworkPolicy").unwrap()["spec"];
    assert!(
        policy["policyTypes"]
            .as_array()
            .unwrap()
            .contains(&"Egress".into())
    );
    let mut out = Out::new();
    for rule in policy["egress"].as_array().unwrap() {
        let to: Vec<_> = match rule["to"].as_array() {
            None => vec!["*"],
            Some(peers) => peers
                .iter()
                .map(|peer| peer["ipBlock"]["cidr"].as_str().unwrap())
                .collect(),
        };
        for port in rule["ports"].as_array().unwrap() {
            let protocol = port["protocol"].as_str().unwrap();
            let number = port["port"].as_u64().unwrap();
            out.extend(
                to.iter()
                    .map(|to| ((*to).to_owned(), protocol.into(), number)),
            );
        }
    }
    out
}

/// What the chart with these settings lets out.
fn with(helm: &OsStr, python: &OsStr, config: &[(&str, &str)], more: &[&str]) -> Out {
    let mut way = Vec::new();
    for (name, value) in config {
        way.extend(["--set-string".into(), format!("config.{name}={value}")]);
    }
    way.extend(more.iter().map(|it| (*it).to_owned()));
    let_out(&documents(python, &render(helm, &way)))
}

#[test]
fn the_metadata_server_is_let_out_to_exactly_if_the_server_asks_it() {
    let (Some([helm, _]), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    let usual = ways_out(&USUAL);
    let both = &usual | &ways_out(&METADATA);
    let place = [
        ("GOOGLE_CLOUD_PROJECT", "demo-proactive"),
        ("GOOGLE_CLOUD_LOCATION", "europe-west4"),
    ];
    let mut met = BTreeSet::new();
    for asked in ["true", "1", "True", " 1 ", "false", "0", ""] {
        let config = [&place[..], &[("GOOGLE_GENAI_USE_VERTEXAI", asked)]].concat();
        let mut checking = proactive(&["serve", "--check-config"]);
        checking
            .env("GEMINI_API_KEY", "a-secret")
            .envs(config.iter().copied());
        let in_force = passed(&checking.output().unwrap());
        let asks = in_force.contains("\nGOOGLE_APPLICATION_CREDENTIALS=not set: metadata server\n");
        assert_eq!(
            asks,
            in_force.contains("\nGOOGLE_GENAI_USE_VERTEXAI=true\n")
        );
        met.insert(asks);
        let expected = if asks { &both } else { &usual };
        assert_eq!(
            with(&helm, &python, &config, &[]),
            *expected,
            "with GOOGLE_GENAI_USE_VERTEXAI={asked:?}"
        );
        // A key file's tokens come by HTTPS.
        let key_file = ["--set", "googleCredentials.existingSecret=google"];
        assert_eq!(with(&helm, &python, &config, &key_file), usual);
    }
    assert_eq!(met.len(), 2, "asked, and not asked");
}

#[test]
fn a_url_with_a_port_of_its_own_is_let_out_to() {
    let (Some([helm, _]), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    let usual = ways_out(&USUAL);
    let urls = settings_of_kind("URL");
    assert!(urls.contains("OTEL_EXPORTER_OTLP_ENDPOINT"), "{urls:?}");
    for name in urls {
        for (url, port) in [
            ("http://there.example:4317", 4317),
            ("https://there.example:8443/", 8443),
            ("http://there.example", 80),
            ("https://there.example", 443),
            ("http://[2001:db8::1]", 80),
            ("http://[2001:db8::1]:4317", 4317),
        ] {
            let expected = &usual | &ways_out(&[("*", "TCP", port)]);
            let out = with(&helm, &python, &[(&name, url)], &[]);
            assert_eq!(out, expected, "{name}={url}");
        }
    }
}
