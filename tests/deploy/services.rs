//! The chart's Services: what they are called, whom they lead to, and that an
//! upgrade may change any value.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::chart::{documents, kind, render, rendered, server};
use crate::support::tools::{helms, python_with_yaml};

fn services(documents: &[Value]) -> BTreeMap<&str, &Value> {
    let services = documents.iter().filter(|it| it["kind"] == "Service");
    services
        .map(|it| (it["metadata"]["name"].as_str().unwrap(), it))
        .collect()
}

fn set(values: &[&str]) -> Vec<String> {
    let values = values.iter();
    values
        .flat_map(|it| ["--set".into(), (*it).to_owned()])
        .collect()
}

/// What Kubernetes refuses to change of an object that exists.
fn fixed(documents: &[Value]) -> BTreeMap<(String, String), Value> {
    let mut fixed = BTreeMap::new();
    for document in documents {
        let kind = document["kind"].as_str().unwrap();
        let what = match kind {
            "Service" => document["spec"]["clusterIP"].clone(),
            "Deployment" => document["spec"]["selector"].clone(),
            _ => continue,
        };
        let name = document["metadata"]["name"].as_str().unwrap();
        fixed.insert((kind.to_owned(), name.to_owned()), what);
    }
    fixed
}

#[test]
fn an_upgrade_may_change_any_value() {
    let Some(mut rendered) = rendered() else {
        return;
    };
    let ([helm, _], python) = (helms().unwrap(), python_with_yaml().unwrap());
    for kind in ["ClusterIP", "NodePort", "LoadBalancer"] {
        let way = set(&[
            &format!("service.type={kind}"),
            "service.grpcPort=443",
            "service.httpPort=80",
        ]);
        rendered.insert(kind, documents(&python, &render(&helm, &way)));
    }
    let usual = fixed(&rendered["default"]);
    assert_eq!(usual.len(), 3, "a Deployment and two Services");
    for (name, documents) in &rendered {
        assert_eq!(fixed(documents), usual, "from the default to {name}");
    }
}

#[test]
fn one_service_has_an_address_and_one_has_the_pods() {
    let Some(rendered) = rendered() else { return };
    for (way, documents) in &rendered {
        let services = services(documents);
        let [one, pods] = ["trial-proactive", "trial-proactive-headless"];
        assert_eq!(services.len(), 2, "{way}");
        assert_eq!(services[one]["spec"]["clusterIP"], Value::Null);
        assert_eq!(services[pods]["spec"]["clusterIP"], "None");
        let labels = &kind(documents, "Deployment").unwrap()["spec"]["template"]["metadata"];
        for service in services.values() {
            let selector = service["spec"]["selector"].as_object().unwrap();
            assert!(!selector.is_empty());
            for (label, value) in selector {
                assert_eq!(labels["labels"][label], *value, "{way}");
            }
        }
        // Whoever resolves that name speaks to a pod at the port that the pod listens on.
        let (_, container) = server(documents);
        let listens = container["ports"].as_array().unwrap().iter();
        let listens: Vec<_> = listens
            .map(|it| json!([it["name"], it["containerPort"]]))
            .collect();
        let ports = services[pods]["spec"]["ports"].as_array().unwrap().iter();
        let ports: Vec<_> = ports
            .map(|it| json!([it["targetPort"], it["port"]]))
            .collect();
        assert_eq!(ports, listens, "{way}");
    }
}

#[test]
fn a_service_of_any_type_is_scraped_once_and_shows_no_admin_port() {
    let (Some([helm, _]), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    for of in ["ClusterIP", "NodePort", "LoadBalancer"] {
        let way = set(&["serviceMonitor.enabled=true", &format!("service.type={of}")]);
        let documents = documents(&python, &render(&helm, &way));
        let monitor = &kind(&documents, "ServiceMonitor").unwrap()["spec"];
        let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
        let port = &monitor["endpoints"][0]["port"];
        let has_port = |service: &Value| {
            let ports = service["spec"]["ports"].as_array().unwrap();
            ports.iter().any(|it| it["name"] == *port)
        };
        let services = services(&documents);
        let scraped: Vec<_> = services
            .iter()
            .filter(|(_, it)| {
                let labels = &it["metadata"]["labels"];
                wanted.iter().all(|(name, value)| labels[name] == *value) && has_port(it)
            })
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(scraped, ["trial-proactive-headless"], "{of}");
        assert_eq!(services["trial-proactive"]["spec"]["type"], of);
        assert!(!has_port(services["trial-proactive"]));
        // The label `job` is the release, whichever Service is scraped.
        let job = monitor["jobLabel"].as_str().unwrap();
        let scraped = &services["trial-proactive-headless"]["metadata"]["labels"];
        assert_eq!(scraped[job], "trial");
    }
}

#[test]
fn a_long_name_keeps_both_services_apart() {
    let (Some([helm, _]), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    let long = format!("fullnameOverride={}", "a".repeat(63));
    let one = ["replicaCount=1", "autoscaling.enabled=false"];
    let more = ["persistence.enabled=true", "ingress.enabled=true"];
    let values = [&[long.as_str()][..], &one, &more].concat();
    let documents = documents(&python, &render(&helm, &set(&values)));
    assert_eq!(services(&documents).len(), 2);
    let names = documents.iter().map(|it| it["metadata"]["name"].as_str());
    assert!(names.into_iter().all(|name| name.unwrap().len() <= 63));
}
