//! The chart's pods among others: on which nodes, as whom, and what makes them go.

use serde_json::Value;

use crate::chart::{documents, environment, kind, render, rendered, server};
use crate::support::tools::{helms, python_with_yaml};

/// `64Mi` in MiB.
fn mib(quantity: &Value) -> u64 {
    let quantity = quantity.as_str().unwrap();
    let (number, unit) = quantity.split_at(quantity.len() - 2);
    let number: u64 = number.parse().unwrap();
    match unit {
        "Mi" => number,
        "Gi" => number * 1024,
        other => panic!("{other}"),
    }
}

#[test]
fn a_pod_is_not_evicted_for_its_log() {
    let Some(rendered) = rendered() else { return };
    for (way, documents) in rendered {
        let resources = &server(&documents).1["resources"];
        for what in ["memory", "ephemeral-storage"] {
            let [requested, limit] = ["requests", "limits"].map(|of| mib(&resources[of][what]));
            assert!(requested <= limit, "{way}: {what}");
        }
        // What a node keeps of a container's log counts: containerLogMaxFiles (5) of
        // containerLogMaxSize (10 MiB), and what is written between two looks at it.
        assert!(
            mib(&resources["limits"]["ephemeral-storage"]) >= 256,
            "{way}"
        );
    }
}

#[test]
fn nodes_can_be_drained_however_few_pods_there_are() {
    let Some(rendered) = rendered() else { return };
    for (way, documents) in rendered {
        let budget = &kind(&documents, "PodDisruptionBudget").unwrap()["spec"];
        assert!(budget["maxUnavailable"].as_u64().unwrap() > 0, "{way}");
        assert_eq!(budget["minAvailable"], Value::Null);
    }
}

#[test]
fn an_upgrade_loses_no_pod_before_a_new_one_is_ready_and_spreads_the_new_ones() {
    let Some(rendered) = rendered() else { return };
    for (way, documents) in rendered {
        let deployment = &kind(&documents, "Deployment").unwrap()["spec"];
        // Of the disk of users' logs there is one: tests/deploy/logs.rs.
        if way != "logs" {
            let rolling = &deployment["strategy"]["rollingUpdate"];
            assert_eq!(rolling["maxUnavailable"], 0, "{way}");
        }
        let (pod, _) = server(&documents);
        let spread = pod["topologySpreadConstraints"].as_array().unwrap();
        assert_eq!(spread.len(), 2, "zones and nodes");
        for constraint in spread {
            let label = &deployment["selector"]["matchLabels"];
            assert_eq!(constraint["labelSelector"]["matchLabels"], *label);
            // The old ones are about to go.
            assert_eq!(constraint["matchLabelKeys"][0], "pod-template-hash");
        }
    }
}

#[test]
fn the_pods_are_the_account_that_workload_identity_knows_and_have_no_token_of_the_cluster() {
    let Some(rendered) = rendered() else { return };
    for (way, documents) in &rendered {
        let (pod, _) = server(documents);
        assert_eq!(pod["automountServiceAccountToken"], false, "{way}");
    }
    let account = kind(&rendered["vertex"], "ServiceAccount").unwrap();
    assert_eq!(account["automountServiceAccountToken"], false);
    let (pod, container) = server(&rendered["vertex"]);
    assert_eq!(pod["serviceAccountName"], account["metadata"]["name"]);
    let google = &account["metadata"]["annotations"]["iam.gke.io/gcp-service-account"];
    let project = &environment(container)["GOOGLE_CLOUD_PROJECT"];
    let ending = format!("@{}.iam.gserviceaccount.com", project.as_ref().unwrap());
    assert!(google.as_str().unwrap().ends_with(&ending));
    assert!(!environment(container).contains_key("GEMINI_API_KEY"));
}

#[test]
fn what_a_cluster_wants_of_a_pod_reaches_it() {
    let (Some([helm, _]), Some(python)) = (helms(), python_with_yaml()) else {
        return;
    };
    let values = [
        "imagePullSecrets[0].name=registry",
        "extraEnv[0].name=HTTPS_PROXY",
        "extraEnv[0].value=http://proxy.example:3128",
        "podLabels.team=desk",
        "podAnnotations.note=here",
        "nodeSelector.pool=long",
        "tolerations[0].key=long",
        "priorityClassName=high",
        "serviceAccount.create=false",
        "serviceAccount.name=another",
    ];
    let way: Vec<_> = values
        .iter()
        .flat_map(|it| ["--set".to_owned(), (*it).to_owned()])
        .collect();
    let documents = documents(&python, &render(&helm, &way));
    let (pod, container) = server(&documents);
    let deployment = kind(&documents, "Deployment").unwrap();
    let metadata = &deployment["spec"]["template"]["metadata"];
    assert_eq!(pod["imagePullSecrets"][0]["name"], "registry");
    let proxy = &environment(container)["HTTPS_PROXY"];
    assert_eq!(proxy.as_deref(), Some("http://proxy.example:3128"));
    assert_eq!(metadata["labels"]["team"], "desk");
    assert_eq!(metadata["annotations"]["note"], "here");
    assert_eq!(pod["nodeSelector"]["pool"], "long");
    assert_eq!(pod["tolerations"][0]["key"], "long");
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(pod["serviceAccountName"], "another");
    assert!(kind(&documents, "ServiceAccount").is_none());
}
