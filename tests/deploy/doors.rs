//! What the chart's Ingress and routes lead to, and by which ports: all that is for
//! users, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::chart::{documents, kind, render, rendered, root, server};
use crate::support::tools::{helms, python_with_yaml};

/// For the operator's own programs.
const INSIDE: [&str; 2] = ["Messages", "/v1/messages"];

/// The services of the contract that are for users.
fn services() -> BTreeSet<String> {
    let contract = root().join("proto/proactive/v1/proactive.proto");
    let contract = std::fs::read_to_string(contract).unwrap();
    let names = contract
        .lines()
        .filter_map(|line| line.strip_prefix("service ")?.split(' ').next());
    let all: BTreeSet<_> = names.collect();
    assert!(all.contains(INSIDE[0]), "{all:?}");
    let users = all.into_iter().filter(|name| *name != INSIDE[0]);
    users.map(|name| format!("proactive.v1.{name}")).collect()
}

/// The paths of the HTTP door that are for users, by the description of it.
fn paths() -> BTreeSet<String> {
    let described = root().join("src/transport/http/openapi.json");
    let described: Value =
        serde_json::from_str(&std::fs::read_to_string(described).unwrap()).unwrap();
    let described = described["paths"].as_object().unwrap();
    assert!(described.contains_key(INSIDE[1]));
    let users = described.keys().filter(|path| *path != INSIDE[1]);
    users.cloned().collect()
}

/// Where a path leads: the port by its name or number, and how long a request may last.
type Leads = BTreeMap<(String, String), (Value, Value)>;

/// Everything that the objects of these kinds lead to.
fn led(documents: &[Value], kinds: &[&str]) -> Leads {
    let mut led = Leads::new();
    let objects = documents.iter();
    let objects = objects.filter(|it| kinds.contains(&it["kind"].as_str().unwrap()));
    for object in objects {
        for rule in object["spec"]["rules"].as_array().unwrap() {
            let mut add = |kind: &Value, path: &Value, port: &Value| {
                let words = |it: &Value| it.as_str().unwrap().to_owned();
                let to = (port.clone(), rule["timeouts"]["request"].clone());
                let there = led.insert((words(kind), words(path)), to);
                assert!(there.is_none(), "{path} twice");
            };
            for path in rule["http"]["paths"].as_array().unwrap_or(&vec![]) {
                let port = &path["backend"]["service"]["port"]["name"];
                add(&path["pathType"], &path["path"], port);
            }
            for matched in rule["matches"].as_array().unwrap_or(&vec![]) {
                let port = &rule["backendRefs"][0]["port"];
                let path = &matched["path"];
                match &matched["method"]["service"] {
                    Value::Null => add(&path["type"], &path["value"], port),
                    service => add(&"method".into(), service, port),
                }
            }
        }
    }
    led
}

/// Whether this is led to, and where.
fn leads<'a>(led: &'a Leads, path: &str) -> Option<&'a (Value, Value)> {
    let found = led.iter().find(|((kind, to), _)| match kind.as_str() {
        "Exact" => to == path,
        "Prefix" | "PathPrefix" => {
            path == to
                || path
                    .strip_prefix(to.as_str())
                    .is_some_and(|rest| rest.starts_with('/'))
        }
        "method" => path
            .strip_prefix('/')
            .is_some_and(|path| path.starts_with(&format!("{to}/"))),
        other => panic!("{other}"),
    });
    found.map(|(_, to)| to)
}

#[test]
fn users_are_led_to_all_that_is_theirs_and_to_nothing_of_the_operators() {
    let Some(rendered) = rendered() else { return };
    let ways = [
        ("variants", &["Ingress"][..]),
        ("variants", &["HTTPRoute"]),
        ("prod", &["GRPCRoute", "HTTPRoute"]),
    ];
    for (way, kinds) in ways {
        let led = led(&rendered[way], kinds);
        let [grpc, http]: [Value; 2] = match kinds {
            ["Ingress"] => ["grpc".into(), "http".into()],
            _ => [50051.into(), 8080.into()],
        };
        for service in services() {
            let to = leads(&led, &format!("/{service}/Method"));
            let (port, lasts) = to.unwrap_or_else(|| panic!("{service} in {way}"));
            assert_eq!(*port, grpc, "{service} in {way}");
            // A GRPCRoute and an Ingress have no timeouts to set.
            if kinds == ["HTTPRoute"] {
                assert_eq!(lasts == "0s", service != "proactive.v1.Jobs", "{service}");
            }
        }
        for path in paths() {
            let to = leads(&led, &path.replace("{id}", "a-job"));
            let (port, lasts) = to.unwrap_or_else(|| panic!("{path} in {way}"));
            assert_eq!(*port, http, "{path} in {way}");
            if kinds != ["Ingress"] {
                let stream = ["/v1/proactive", "/v1/stream"].contains(&path.as_str());
                assert_eq!(lasts == "0s", stream, "{path} lasts {lasts}");
            }
        }
        for inside in [
            "/v1/messages",
            "/v1/messages/",
            "/proactive.v1.Messages/Fire",
            "/grpc.health.v1.Health/Check",
            "/metrics",
            "/",
        ] {
            assert_eq!(leads(&led, inside), None, "{inside} in {way}");
        }
    }
}

#[test]
fn a_balancer_is_told_to_speak_plain_http2_or_http_1() {
    let Some(rendered) = rendered() else { return };
    for (way, protocols) in [
        ("prod", ["kubernetes.io/h2c", "http"]),
        ("variants", ["https", "https"]),
    ] {
        let ports = &kind(&rendered[way], "Service").unwrap()["spec"]["ports"];
        for (at, protocol) in protocols.iter().enumerate() {
            assert_eq!(ports[at]["appProtocol"], *protocol, "{way}");
        }
    }
}

/// Each place where another object names a port, and the port.
fn named(documents: &[Value]) -> Vec<(String, String)> {
    let mut named = Vec::new();
    for document in documents {
        let spec = &document["spec"];
        let kind = document["kind"].as_str().unwrap();
        let mut add = |port: &Value| {
            let port = port.as_str().unwrap_or_else(|| panic!("{kind}: {port}"));
            named.push((kind.to_owned(), port.to_owned()));
        };
        let list = |of: &Value| of.as_array().cloned().unwrap_or_default();
        match kind {
            "Service" => list(&spec["ports"])
                .iter()
                .for_each(|port| add(&port["targetPort"])),
            "NetworkPolicy" => list(&spec["ingress"])
                .iter()
                .flat_map(|rule| list(&rule["ports"]))
                .for_each(|port| add(&port["port"])),
            "ServiceMonitor" => list(&spec["endpoints"])
                .iter()
                .for_each(|endpoint| add(&endpoint["port"])),
            _ => {}
        }
    }
    named
}

#[test]
fn every_port_that_is_named_is_one_of_the_pods() {
    let Some(rendered) = rendered() else { return };
    for (way, documents) in &rendered {
        let (_, container) = server(documents);
        let ports = container["ports"].as_array().unwrap().iter();
        let ports: BTreeSet<_> = ports.map(|it| it["name"].as_str().unwrap()).collect();
        let named = named(documents);
        for (kind, port) in &named {
            assert!(ports.contains(port.as_str()), "{way}: {kind} names {port}");
        }
        for kind in ["Service", "NetworkPolicy"] {
            let of = named.iter().filter(|(it, _)| it == kind);
            let of: BTreeSet<_> = of.map(|(_, port)| port.as_str()).collect();
            assert_eq!(of, ports, "{way}: each door in {kind}");
        }
    }
}

#[test]
fn a_service_with_other_ports_is_led_to_by_them() {
    let (Some([helm, _]), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    let sets = [
        "service.grpcPort=443",
        "service.httpPort=80",
        "gateway.enabled=true",
        "gateway.parentRefs[0].name=public",
    ];
    let way = sets.iter().flat_map(|set| ["--set".into(), (*set).into()]);
    let way: Vec<String> = way.collect();
    let documents = documents(&python, &render(&helm, &way));
    let led = led(&documents, &["GRPCRoute", "HTTPRoute"]);
    let ports: BTreeSet<_> = led
        .values()
        .map(|(port, _)| port.as_u64().unwrap())
        .collect();
    assert_eq!(ports, BTreeSet::from([80, 443]));
    let named =
        |it: &&Value| it["kind"] == "Service" && it["metadata"]["name"] == "trial-proactive";
    let service = &documents.iter().find(named).unwrap()["spec"]["ports"];
    assert_eq!(
        (&service[0]["port"], &service[1]["port"]),
        (&443.into(), &80.into())
    );
}
