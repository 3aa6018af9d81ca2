//! docs/configuration.md is what the code says: its tables are made of clap's own
//! list of settings. `UPDATE=1 cargo test --test configuration` writes it anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::builder::ValueParser;
use clap::{Arg, Args};
use proactive::config::{LogSettings, Settings, TraceSettings};
use secrecy::SecretString;
use support::google::{PROJECT, account_file};
use support::tools::variable;

/// What no table can say.
const BEFORE: &str = "\
# Configuration

<!-- Made of the code by tests/configuration.rs: UPDATE=1 cargo test --test configuration -->

What `proactive serve` can be told: by variables of the environment, or by flags, which win over
them. Only two things are required: a model to ask (a Gemini API key, or Vertex AI with a project
and a location) and a Firebase project.

`proactive serve --check-config` prints what is in force, secrets masked, and leaves. All mistakes
are told at once, each by its variable, before anything binds; the exit code is 64 then. What may be
meant and is more likely a mistake (a model that is not called `gemini-…`, or has no price) is a warning
there, on standard error, and in the log at the start.

- A duration has a unit: `250ms`, `30s`, `5m`.
- A variable without a default that is set but empty counts as not set; only `GCE_METADATA_HOST`
  must not be empty on Vertex AI.
- Secrets belong into variables: flags can be seen in a list of processes.
- `proactive demo` reads the variables under Model, Vertex AI, Limits and Log as well.
";

const AFTER: &str = "
## Vertex AI, step by step

1. `GOOGLE_GENAI_USE_VERTEXAI=true`, `GOOGLE_CLOUD_PROJECT` and `GOOGLE_CLOUD_LOCATION`. A Gemini
   API key that is set as well is not used, as in Google's own clients. Unlike there, the location
   has no default: it decides where users' screens are read.
2. Credentials (Application Default Credentials): the file that `GOOGLE_APPLICATION_CREDENTIALS`
   names, else what `gcloud auth application-default login` stored, else the metadata server. On GKE
   give the pod a Kubernetes service account that is bound to a Google one, and set none of these.
   They need the role `roles/aiplatform.user`. A file is looked through before anything binds.
3. The metadata server and the token endpoints are asked through the proxy that `HTTP_PROXY` and
   `HTTPS_PROXY` name, so `NO_PROXY` must list `metadata.google.internal`.

The model is asked at `https://LOCATION-aiplatform.googleapis.com` for a region, at
`https://aiplatform.us.rep.googleapis.com` or `https://aiplatform.eu.rep.googleapis.com` for a
multi-region, and at `https://aiplatform.googleapis.com` for `global`; `GOOGLE_VERTEX_BASE_URL`
names any other host, such as a private endpoint.

A token is fetched at the start and renewed four minutes before it expires. One that is refused
(401) is replaced, at most every ten seconds, and the call made once more. While none can be had,
frames end with GEMINI_ERROR, and `proactive_model_calls_total` counts under `no_token`. The server
stays ready then: its sessions are alive, and taking all replicas away would help nobody.
";

fn settings() -> Vec<Arg> {
    let command = Settings::augment_args(clap::Command::new("serve"));
    let command = TraceSettings::augment_args(command);
    let command = LogSettings::augment_args(command);
    command.get_arguments().cloned().collect()
}

fn name(arg: &Arg) -> String {
    arg.get_env().unwrap().to_str().unwrap().to_owned()
}

fn is_secret(arg: &Arg) -> bool {
    let secret = ValueParser::from(clap::value_parser!(SecretString));
    arg.get_value_parser().type_id() == secret.type_id()
}

/// A row: variable, flag, default, meaning, whether it is a secret.
fn row(arg: &Arg) -> String {
    let value = arg.get_value_names().unwrap().first().unwrap();
    let flag = arg.get_long().unwrap();
    let default = match arg.get_default_values() {
        [] => String::new(),
        [default] => format!("`{}`", default.to_str().unwrap()),
        more => panic!("{more:?}"),
    };
    let help = arg.get_long_help().or(arg.get_help()).unwrap().to_string();
    let mut meaning = help.split_whitespace().collect::<Vec<_>>().join(" ");
    // clap takes it away.
    if !meaning.ends_with('.') {
        meaning.push('.');
    }
    let secret = if is_secret(arg) { "yes" } else { "" };
    let cells = [
        format!("`{}`", name(arg)),
        format!("`--{flag} {value}`"),
        default,
        meaning,
        secret.to_owned(),
    ];
    format!(
        "| {} |",
        cells.map(|cell| cell.replace('|', "\\|")).join(" | ")
    )
}

fn page() -> String {
    let mut headings: Vec<String> = Vec::new();
    let mut rows: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for arg in settings() {
        let heading = arg.get_help_heading().unwrap().to_owned();
        if !headings.contains(&heading) {
            headings.push(heading.clone());
        }
        rows.entry(heading).or_default().push(row(&arg));
    }
    let mut page = BEFORE.to_owned();
    for heading in headings {
        let rows = rows[&heading].join("\n");
        write!(
            page,
            "\n## {heading}\n\n| variable | flag | default | meaning | secret |\n|---|---|---|---|---|\n{rows}\n"
        )
        .unwrap();
    }
    page + AFTER
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md")
}

#[test]
fn the_page_is_what_the_code_says() {
    let page = page();
    if variable("UPDATE").is_some() {
        fs::write(path(), &page).unwrap();
    }
    let written = fs::read_to_string(path()).unwrap_or_default();
    let first_difference = page.lines().zip(written.lines()).find(|(a, b)| a != b);
    assert!(
        written == page,
        "docs/configuration.md is out of date; run UPDATE=1 cargo test --test configuration: \
         {first_difference:#?}"
    );
}

/// What `serve --check-config` prints in this environment, by variable.
fn checked(environment: &[(&str, &str)]) -> BTreeMap<String, String> {
    let output = Command::new(env!("CARGO_BIN_EXE_proactive"))
        .args(["serve", "--check-config"])
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{told}");
    let lines = String::from_utf8(output.stdout).unwrap();
    lines
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// The variables in the tables of the page as it is written.
fn on_the_page() -> BTreeSet<String> {
    let page = fs::read_to_string(path()).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned())
        .collect()
}

#[test]
fn the_page_and_check_config_name_the_same_variables_on_both_of_googles_doors() {
    let (account, _) = account_file();
    let file = account.path().to_str().unwrap();
    let project = ("FIREBASE_PROJECT_ID", "p");
    let by_key = checked(&[project, ("GOOGLE_API_KEY", "the-key")]);
    let on_vertex = checked(&[
        project,
        ("GOOGLE_GENAI_USE_VERTEXAI", "1"),
        ("GOOGLE_CLOUD_PROJECT", PROJECT),
        ("GOOGLE_CLOUD_LOCATION", "eu"),
        ("GOOGLE_APPLICATION_CREDENTIALS", file),
    ]);
    for shown in [&by_key, &on_vertex] {
        let names: BTreeSet<_> = shown.keys().cloned().collect();
        assert_eq!(names, on_the_page());
    }
    assert_eq!(by_key["GOOGLE_GENAI_USE_VERTEXAI"], "false");
    for (name, value) in [
        ("GOOGLE_GENAI_USE_VERTEXAI", "true"),
        ("GOOGLE_CLOUD_PROJECT", PROJECT),
        ("GOOGLE_CLOUD_LOCATION", "eu"),
        (
            "GOOGLE_VERTEX_BASE_URL",
            "https://aiplatform.eu.rep.googleapis.com",
        ),
        (
            "GOOGLE_APPLICATION_CREDENTIALS",
            &format!("{file} (service_account file)"),
        ),
        ("GEMINI_API_VERSION", "v1beta1"),
        ("GEMINI_API_KEY", "not set"),
    ] {
        assert_eq!(on_vertex[name], value, "{name}");
    }
}

#[test]
fn every_secret_is_masked() {
    let secrets: Vec<_> = settings()
        .iter()
        .filter(|a| is_secret(a))
        .map(name)
        .collect();
    assert_eq!(
        secrets,
        [
            "GEMINI_API_KEY",
            "GOOGLE_API_KEY",
            "SERVICE_ACCOUNT_JSON",
            "SERVICE_TOKENS"
        ]
    );
    let value = r#"{"project_id":"p","private_key":"nobody-may-see"}"#;
    // Commas stand between tokens.
    let value_of = |name: &str| match name {
        "SERVICE_TOKENS" => "nobody-may-see-this-token-nor-any-part",
        _ => value,
    };
    let named = secrets.iter().map(|name| (name.as_str(), value_of(name)));
    let environment: Vec<_> = named.collect();
    let shown = checked(&environment);
    for secret in &secrets {
        assert!(shown[secret].starts_with("******** ("), "{secret}");
    }
    assert!(!format!("{shown:?}").contains("nobody-may-see"));
}
