//! Users' logs and jobs are one process's: on a disk of its own if the operator says
//! so, and told plainly where there are several.

use std::ffi::OsStr;

use serde_json::{Value, json};

use crate::chart::{documents, environment, helm, kind, render, rendered, server, ways};
use crate::support::tools::{helms, passed, python_with_yaml};

fn set(values: &[&str]) -> Vec<String> {
    let values = values.iter();
    values
        .flat_map(|it| ["--set".into(), (*it).to_owned()])
        .collect()
}

/// The one pod that may have a disk.
const ONE: [&str; 3] = [
    "persistence.enabled=true",
    "replicaCount=1",
    "autoscaling.enabled=false",
];

#[test]
fn the_disk_is_where_the_server_writes_and_nowhere_else() {
    let Some(rendered) = rendered() else { return };
    for (way, documents) in &rendered {
        let (pod, container) = server(documents);
        let folder = environment(container).get("DATA_DIR").cloned().flatten();
        assert_eq!(folder.is_some(), *way == "logs", "{way}");
        assert_eq!(
            kind(documents, "PersistentVolumeClaim").is_some(),
            *way == "logs"
        );
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let Some(folder) = folder else { continue };
        let mounts = container["volumeMounts"].as_array().unwrap().iter();
        let writable: Vec<_> = mounts.filter(|it| it["readOnly"] != true).collect();
        let [mount] = writable.as_slice() else {
            panic!("{writable:?}")
        };
        // The server makes its folder, if there is the one above it.
        let (above, _) = folder.rsplit_once('/').unwrap();
        assert_eq!(mount["mountPath"], above);
        let volumes = pod["volumes"].as_array().unwrap();
        let volume = volumes.iter().find(|it| it["name"] == mount["name"]);
        let claim = kind(documents, "PersistentVolumeClaim").unwrap();
        assert_eq!(
            volume.unwrap()["persistentVolumeClaim"]["claimName"],
            claim["metadata"]["name"]
        );
        // Users' logs outlive the release, and a setting that was changed by mistake.
        let policy = &claim["metadata"]["annotations"]["helm.sh/resource-policy"];
        assert_eq!(policy, "keep");
        // Whoever runs may write what the group may.
        let context = &pod["securityContext"];
        assert_eq!(context["fsGroup"], context["runAsGroup"]);
        assert_eq!(context["runAsNonRoot"], true);
    }
}

#[test]
fn a_pod_with_a_disk_is_the_only_one_and_leaves_before_the_next_is_made() {
    let Some(rendered) = rendered() else { return };
    let documents = &rendered["logs"];
    let deployment = &kind(documents, "Deployment").unwrap()["spec"];
    assert_eq!(deployment["replicas"], 1);
    assert_eq!(deployment["strategy"], json!({ "type": "Recreate" }));
    assert!(kind(documents, "HorizontalPodAutoscaler").is_none());
    let helms = helms().unwrap();
    let sentence =
        "set replicaCount=1 and autoscaling.enabled=false, or persistence.enabled=false.";
    for program in &helms {
        for values in [
            &["persistence.enabled=true"][..],
            &["persistence.enabled=true", "replicaCount=1"],
            &["persistence.enabled=true", "autoscaling.enabled=false"],
        ] {
            let refused = helm(program, &["template", "trial"], &set(values));
            let told = String::from_utf8(refused.stderr).unwrap();
            assert!(!refused.status.success(), "{values:?}");
            assert!(told.contains(sentence), "{values:?}: {told}");
        }
    }
}

#[test]
fn the_claim_is_what_was_asked_for_or_the_one_that_is_there() {
    let (Some([helm, _]), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    let with = |more: &[&str]| {
        let way = set(&[&ONE[..], more].concat());
        documents(&python, &render(&helm, &way))
    };
    let usual = with(&[]);
    let spec = &kind(&usual, "PersistentVolumeClaim").unwrap()["spec"];
    // The cluster's own class is the one that is not named.
    assert_eq!(
        *spec,
        json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } } })
    );
    let chosen = with(&[
        "persistence.size=20Gi",
        "persistence.storageClass=fast",
        "persistence.accessMode=ReadWriteOncePod",
    ]);
    let spec = &kind(&chosen, "PersistentVolumeClaim").unwrap()["spec"];
    assert_eq!(spec["accessModes"], json!(["ReadWriteOncePod"]));
    assert_eq!(spec["storageClassName"], "fast");
    assert_eq!(spec["resources"]["requests"]["storage"], "20Gi");
    let there = with(&["persistence.existingClaim=mine"]);
    assert!(kind(&there, "PersistentVolumeClaim").is_none());
    let (pod, _) = server(&there);
    let volume: &Value = &pod["volumes"][0]["persistentVolumeClaim"]["claimName"];
    assert_eq!(volume, "mine");
}

/// What Helm tells whoever installs the chart so: 4, for 3 asks a cluster first.
fn notes(program: &OsStr, way: &[String]) -> String {
    let verb = ["install", "trial", "--dry-run=client", "--namespace", "p"];
    let told = passed(&helm(program, &verb, way));
    let (_, notes) = told.split_once("\nNOTES:\n").unwrap();
    notes.to_owned()
}

#[test]
fn whoever_installs_several_pods_is_told_what_they_do_not_share() {
    let Some([_, program]) = helms() else { return };
    for (name, way) in ways() {
        let told = notes(&program, &way);
        let alone = ["dev", "logs"].contains(&name);
        assert_eq!(told.contains("WARNING: up to "), !alone, "{name}: {told}");
        assert_eq!(told.contains("are on the claim"), name == "logs", "{told}");
    }
    let scaled = set(&["autoscaling.enabled=false", "replicaCount=3"]);
    assert!(notes(&program, &scaled).contains("WARNING: up to 3 pods"));
    let alone = set(&["autoscaling.minReplicas=1", "autoscaling.maxReplicas=1"]);
    assert!(!notes(&program, &alone).contains("WARNING"));
    let over = [&ways()["prod"][..], &ways()["logs"]].concat();
    assert!(!notes(&program, &over).contains("WARNING"));
}
