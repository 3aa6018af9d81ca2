//! docs/protocol.md says what the contract and the code say: its reference is
//! made from the contract's comments, and its tables of codes are complete.
//!
//! `UPDATE=1 cargo test --locked --test protocol` makes the reference anew.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use proactive::transport::proto::DESCRIPTORS;
use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    FileDescriptorSet,
};

use support::tools::variable;

const BEGIN: &str = "<!-- made from proto/proactive/v1/proactive.proto by tests/protocol.rs -->\n";
const END: &str = "<!-- end of what is made -->\n";

// The numbers of fields in descriptor.proto, of which paths to comments are made.
const MESSAGES: i32 = 4;
const ENUMS: i32 = 5;
const FIELDS: i32 = 2;
const VALUES: i32 = 2;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn page() -> String {
    fs::read_to_string(root().join("docs/protocol.md")).unwrap()
}

/// The contract, and its comments by the path of what they stand before.
struct Contract {
    file: FileDescriptorProto,
    comments: BTreeMap<Vec<i32>, String>,
}

impl Contract {
    fn read() -> Self {
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let mut files = set.file.into_iter();
        let file = files.find(|file| file.package() == "proactive.v1").unwrap();
        let places = file.source_code_info.iter().flat_map(|info| &info.location);
        let comments = places
            .filter(|place| place.leading_comments.is_some())
            .map(|place| (place.path.clone(), place.leading_comments().to_owned()))
            .collect();
        Self { file, comments }
    }

    /// The comment before it, which nothing may lack.
    fn comment(&self, path: &[i32]) -> &str {
        let comment = self.comments.get(path).map(String::as_str);
        let comment = comment.unwrap_or_default().trim();
        assert!(!comment.is_empty(), "nothing is said of {path:?}");
        comment
    }

    fn page(&self) -> String {
        let mut page = String::new();
        for (at, message) in (0..).zip(&self.file.message_type) {
            self.message(&mut page, &[MESSAGES, at], message);
        }
        for (at, kind) in (0..).zip(&self.file.enum_type) {
            self.kind(&mut page, &[ENUMS, at], kind);
        }
        page
    }

    fn message(&self, page: &mut String, path: &[i32], message: &DescriptorProto) {
        let name = message.name();
        let comment = paragraphs(self.comment(path));
        write!(page, "\n### {name}\n\n{comment}\n\n").unwrap();
        page.push_str("| number | field | type | what |\n|---|---|---|---|\n");
        for (at, field) in (0..).zip(&message.field) {
            let what = cell(self.comment(&[path, &[FIELDS, at]].concat()));
            let (number, name, kind) = (field.number(), field.name(), kind_of(field));
            writeln!(page, "| {number} | `{name}` | {kind} | {what} |").unwrap();
        }
    }

    fn kind(&self, page: &mut String, path: &[i32], kind: &EnumDescriptorProto) {
        let name = kind.name();
        let comment = paragraphs(self.comment(path));
        write!(page, "\n### {name}\n\n{comment}\n\n").unwrap();
        page.push_str("| number | value | what |\n|---|---|---|\n");
        for (at, value) in (0..).zip(&kind.value) {
            let what = cell(self.comment(&[path, &[VALUES, at]].concat()));
            let (number, name) = (value.number(), value.name());
            writeln!(page, "| {number} | `{name}` | {what} |").unwrap();
        }
    }
}

/// The comment's own paragraphs, each on one line.
fn paragraphs(comment: &str) -> String {
    let lines: Vec<_> = comment.lines().map(str::trim).collect();
    let paragraphs = lines.split(|line| line.is_empty());
    let paragraphs: Vec<_> = paragraphs.map(|lines| lines.join(" ")).collect();
    paragraphs.join("\n\n")
}

/// Everything on one line, and nothing that would end a cell.
fn cell(comment: &str) -> String {
    let words: Vec<_> = comment.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}

fn kind_of(field: &FieldDescriptorProto) -> String {
    let plain = match field.r#type() {
        Type::String => "string",
        Type::Bytes => "bytes",
        Type::Bool => "bool",
        Type::Int32 => "int32",
        Type::Int64 => "int64",
        Type::Double => "double",
        Type::Message | Type::Enum => field.type_name().rsplit('.').next().unwrap(),
        other => panic!("{other:?} is not used in the contract"),
    };
    let linked = match field.type_name() {
        name if name.starts_with(".proactive.v1.") => {
            format!("[{plain}](#{})", plain.to_lowercase())
        }
        _ => plain.to_owned(),
    };
    match field.label() {
        Label::Repeated => format!("repeated {linked}"),
        _ if field.proto3_optional() => format!("optional {linked}"),
        _ => linked,
    }
}

#[test]
fn the_reference_says_what_the_contract_says() {
    let page = page();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let made = Contract::read().page();
    let wanted = format!("{before}{BEGIN}{made}\n{END}{after}");
    if variable("UPDATE").is_some() {
        return fs::write(root().join("docs/protocol.md"), wanted).unwrap();
    }
    assert!(
        page == wanted,
        "docs/protocol.md is out of date: run UPDATE=1 cargo test --locked --test protocol"
    );
}

/// The product's code in this file or folder, without unit tests.
fn code(path: &Path) -> String {
    // What workers speak has a page of its own.
    if path.is_dir() && path.ends_with("grpc/workers") {
        return String::new();
    }
    if path.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        return entries.map(|entry| code(&entry.unwrap().path())).collect();
    }
    let text = fs::read_to_string(path).unwrap();
    text.split("#[cfg(test)]").next().unwrap().to_owned()
}

/// The first cells of the table under this heading, without their backticks.
fn listed(heading: &str) -> BTreeSet<String> {
    let page = page();
    let (_, section) = page.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let name = |row: &str| row.split('`').nth(1).unwrap().to_owned();
    rows.map(name).collect()
}

fn is_code(text: &str) -> bool {
    text.len() > 1 && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn every_code_of_server_error_stands_in_the_page_and_in_the_contract() {
    let mut sent = BTreeSet::new();
    for file in [
        "domain/fault.rs",
        "session/message.rs",
        "transport/wire/outbound.rs",
    ] {
        let code = code(&root().join("src").join(file));
        // Every other piece between quotation marks is a text.
        let texts = code.split('"').skip(1).step_by(2);
        sent.extend(texts.filter(|text| is_code(text)).map(str::to_owned));
    }
    assert!(sent.contains("NO_CONTEXT") && sent.contains("MESSAGE_TOO_LARGE"));
    assert_eq!(sent, listed("Errors about a frame or an event"));

    let contract = Contract::read();
    let messages = &contract.file.message_type;
    let at = messages.iter().position(|m| m.name() == "ServerError");
    let path = [MESSAGES, i32::try_from(at.unwrap()).unwrap(), FIELDS, 0];
    let words = contract.comment(&path).split([' ', ',', '.', '\n']);
    let told: BTreeSet<_> = words.filter(|w| is_code(w)).map(str::to_owned).collect();
    assert_eq!(sent, told);
}

/// The statuses that are made here.
fn statuses(code: &str) -> BTreeSet<String> {
    let statuses = code.split("Status::").skip(1);
    let calls = statuses.filter_map(|rest| Some(rest.split_once('(')?.0));
    let word =
        |name: &&str| *name != "from" && name.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    calls.filter(word).map(str::to_uppercase).collect()
}

#[test]
fn c07_every_status_that_a_worker_s_stream_ends_with_stands_in_its_page() {
    let folder = root().join("src/transport/grpc/workers");
    let code: String = ["mod.rs", "serving.rs"]
        .map(|file| code(&folder.join(file)))
        .concat();
    let used = statuses(&code);
    assert!(used.contains("FAILED_PRECONDITION"));
    let page = fs::read_to_string(root().join("docs/workers.md")).unwrap();
    let (_, section) = page.split_once("\n## How a stream ends\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let listed: BTreeSet<_> = rows
        .map(|row| row.split('`').nth(1).unwrap().to_owned())
        .collect();
    let missing: Vec<_> = used.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {listed:?}");
}

#[test]
fn every_status_that_a_stream_ends_with_stands_in_the_page() {
    let used = statuses(&code(&root().join("src/transport")));
    assert!(used.contains("UNAUTHENTICATED") && used.contains("RESOURCE_EXHAUSTED"));
    let mut listed = listed("How a stream ends");
    listed.extend(self::listed("Beside the session"));
    let missing: Vec<_> = used.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?} are not in {listed:?}");
}

/// The version that a comment begins with, if it is about an addition.
fn since(comment: &str) -> Option<&str> {
    let rest = comment.strip_prefix("Since ")?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap();
    Some(rest[..end].trim_end_matches('.'))
}

#[test]
fn every_addition_stands_in_the_table_of_versions() {
    let contract = Contract::read();
    let mut added = Vec::new();
    for (at, message) in (0..).zip(&contract.file.message_type) {
        let name = message.name();
        if let Some(version) = since(contract.comment(&[MESSAGES, at])) {
            added.push((version, name.to_owned()));
            continue;
        }
        for (number, field) in (0..).zip(&message.field) {
            let comment = contract.comment(&[MESSAGES, at, FIELDS, number]);
            // An event is named by its message.
            if let Some(version) = since(comment).filter(|_| !name.ends_with("Event")) {
                added.push((version, format!("`{name}.{}`", field.name())));
            }
        }
    }
    assert!(added.contains(&("1.1", "GoAway".to_owned())), "{added:?}");
    let page = page();
    for (version, name) in added {
        let row = format!("| {version} | ");
        let row = page.lines().find_map(|line| line.strip_prefix(&row));
        assert!(
            row.is_some_and(|row| row.contains(&name)),
            "{version} {name}"
        );
    }
}
