//! Where tools run: the decision over every combination of what counts, held to the
//! rules D1 to D11 as they are written, and docs/routing.md, which is its table.
//!
//! `UPDATE=1 cargo test --locked --test routing` makes the table anew;
//! `cargo test --test routing -- --nocapture` prints every combination.

mod support;

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use proactive::domain::Runtime;
use proactive::tools::catalogue::{Executors, Offered};
use proactive::tools::routing::{Chosen, Gates, Line, Mode, Modes, Reason, Route, decide};

use support::tools::variable;

const BEGIN: &str =
    "<!-- made by tests/routing.rs: UPDATE=1 cargo test --locked --test routing -->\n";
const END: &str = "<!-- end of what is made -->\n";
const ANY: &str = "·";

/// What counts, in the order in which the table asks for it: its name, and the names of
/// its values.
const QUESTIONS: [(&str, &[&str]); 11] = [
    (
        "tool is for",
        &["client", "server", "both", "neither", "choosing a device"],
    ),
    ("says it is", &["desktop", "web", "nothing"]),
    ("gateway", &["yes", "no"]),
    ("executes it itself", &["yes", "no"]),
    ("may use devices", &["yes", "no"]),
    ("disabled", &["yes", "no"]),
    ("opted out", &["yes", "no"]),
    ("desktop mode", &["local", "none"]),
    ("web mode", &["local", "none"]),
    ("device", &["online", "missing", "several", "nobody"]),
    ("served", &["yes", "no"]),
];

fn gates(answers: &[usize]) -> Gates {
    let yes = |at: usize| answers[at] == 0;
    let mode = |at: usize| [Mode::Local, Mode::None][answers[at]];
    let (client, server) = [
        (true, false),
        (false, true),
        (true, true),
        (false, false),
        (false, true),
    ][answers[0]];
    Gates {
        executors: Executors { client, server },
        offered: match answers[0] {
            4 => Offered::WithoutDevice,
            _ => Offered::Executable,
        },
        runtime: [Some(Runtime::Desktop), Some(Runtime::Web), None][answers[1]],
        gateway: yes(2),
        caller_executes: yes(3),
        may_use_devices: yes(4),
        disabled: yes(5),
        opted_out: yes(6),
        modes: Modes {
            desktop: mode(7),
            web: mode(8),
        },
        device: [
            Chosen::Online,
            Chosen::Missing,
            Chosen::Several,
            Chosen::Nobody,
        ][answers[9]],
        served: yes(10),
    }
}

fn combinations() -> Vec<Vec<usize>> {
    let mut all = vec![vec![]];
    for (_, values) in QUESTIONS {
        let longer = all.into_iter().flat_map(|answers: Vec<usize>| {
            (0..values.len()).map(move |value| [&answers[..], &[value]].concat())
        });
        all = longer.collect();
    }
    all
}

fn word(decision: Result<Route, Reason>) -> &'static str {
    match decision {
        Ok(route) => route.as_str(),
        Err(reason) => reason.as_str(),
    }
}

/// Each rule by itself, as it is written; not how the code comes to its decision.
#[test]
fn d01_to_d10_hold_in_every_combination() {
    let mut counted = 0;
    for answers in combinations() {
        let gates = gates(&answers);
        let decision = decide(&gates);
        let line = Line {
            tool: "tool",
            gates: &gates,
            decision,
        };
        println!("{line}");
        counted += 1;
        let Gates {
            executors: Executors { client, server },
            runtime,
            gateway,
            caller_executes,
            may_use_devices,
            disabled,
            opted_out,
            modes,
            device,
            served,
            offered,
        } = gates;
        let told = || format!("{line}");
        // D2, D7: two signals that do not depend on each other; a page is never asked.
        let caller = caller_executes && runtime != Some(Runtime::Web);
        let online = gateway && device == Chosen::Online;
        // D3
        let desktop = match runtime {
            Some(runtime) => runtime == Runtime::Desktop,
            None => gateway,
        };
        let mode = if desktop { modes.desktop } else { modes.web };
        let local = mode == Mode::Local && !opted_out;
        // D6, and a caller's own stream is its own to use.
        let may = may_use_devices || caller;
        if offered == Offered::WithoutDevice {
            // D5
            let activated = matches!(device, Chosen::Online | Chosen::Missing);
            let wanted = may_use_devices && gateway && !activated && !caller && !disabled;
            assert_eq!(decision.is_ok(), wanted, "D5: {}", told());
            if !may_use_devices {
                assert_eq!(decision, Err(Reason::NotAllowed), "D6: {}", told());
            }
            continue;
        }
        // D8
        let on_device = client && (!server || desktop);
        if on_device {
            // D4
            let wanted = may && !disabled && local && (caller || online);
            assert_eq!(decision.is_ok(), wanted, "D4: {}", told());
            if !may {
                assert_eq!(
                    decision,
                    Err(Reason::NotAllowed),
                    "D6 comes first: {}",
                    told()
                );
            }
            if wanted {
                // D10: never away from a caller that can.
                let place = if caller { Route::Caller } else { Route::Device };
                assert_eq!(decision, Ok(place), "D10: {}", told());
            }
        } else {
            let wanted = served && !disabled;
            assert_eq!(
                decision.ok(),
                wanted.then_some(Route::Server),
                "D8: {}",
                told()
            );
        }
        if runtime == Some(Runtime::Web) {
            assert_ne!(decision, Ok(Route::Caller), "D7: {}", told());
        }
    }
    assert_eq!(counted, 5 * 3 * 2_usize.pow(8) * 4);
    println!("{counted} combinations");
}

/// Either is enough, and neither tells of the other.
#[test]
fn d02_that_the_caller_executes_and_that_another_device_does_are_two_signals() {
    let usual = vec![0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0];
    for (caller, device, expected) in [
        (true, true, Ok(Route::Caller)),
        (true, false, Ok(Route::Caller)),
        (false, true, Ok(Route::Device)),
        (false, false, Err(Reason::NoDevice)),
    ] {
        let mut answers = usual.clone();
        answers[3] = usize::from(!caller);
        answers[9] = if device { 0 } else { 3 };
        assert_eq!(decide(&gates(&answers)), expected, "{caller} {device}");
    }
}

/// D1: a client that says nothing new goes on as before, whatever the operator set, but
/// for the mode that is meant for all.
#[test]
fn d01_a_client_that_does_not_say_its_runtime_executes_its_searches_as_ever() {
    for answers in combinations() {
        let gates = gates(&answers);
        let old = gates.runtime.is_none()
            && gates.caller_executes
            && !gates.disabled
            && !gates.opted_out
            && gates.modes == Modes::default()
            && gates.offered == Offered::Executable
            && gates.executors.client
            && !gates.executors.server;
        if old {
            assert_eq!(decide(&gates), Ok(Route::Caller));
        }
    }
}

/// What is answered so is decided so; `None`: it makes no difference.
type Row = (Vec<Option<usize>>, &'static str);

/// The rows of the table: questions that make no difference are not asked.
fn rows(answers: &mut Vec<usize>, rows: &mut Vec<Row>) {
    let decided = |answers: Vec<usize>| word(decide(&gates(&answers)));
    let decisions: Vec<_> = every(answers).map(decided).collect();
    let first = decisions[0];
    if decisions.iter().all(|decision| *decision == first) {
        let said = answers.iter().copied().map(Some);
        let open = QUESTIONS.len() - answers.len();
        let row = said.chain(std::iter::repeat_n(None, open)).collect();
        rows.push((row, first));
        return;
    }
    let values = QUESTIONS[answers.len()].1.len();
    let mut branches: Vec<Vec<Row>> = Vec::new();
    let at = answers.len();
    for value in 0..values {
        answers.push(value);
        let mut branch = Vec::new();
        self::rows(answers, &mut branch);
        answers.pop();
        branches.push(branch);
    }
    let without = |branch: &[Row]| {
        let mut branch = branch.to_vec();
        branch.iter_mut().for_each(|(row, _)| row[at] = None);
        branch
    };
    let first = without(&branches[0]);
    match branches.iter().all(|branch| without(branch) == first) {
        true => rows.extend(first),
        false => rows.extend(branches.into_iter().flatten()),
    }
}

/// All combinations that begin so.
fn every(answers: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    let rest = &QUESTIONS[answers.len()..];
    let mut all = vec![answers.to_vec()];
    for (_, values) in rest {
        let longer = all
            .into_iter()
            .flat_map(|it| (0..values.len()).map(move |value| [&it[..], &[value]].concat()));
        all = longer.collect();
    }
    all.into_iter()
}

#[test]
fn the_table_for_review_is_what_the_code_decides() {
    let mut table = Vec::new();
    rows(&mut Vec::new(), &mut table);
    // Each combination stands in one row, and that is right.
    for answers in combinations() {
        let fits = |row: &[Option<usize>]| {
            let mut pairs = row.iter().zip(&answers);
            pairs.all(|(said, answer)| said.is_none_or(|said| said == *answer))
        };
        let found: Vec<_> = table.iter().filter(|(row, _)| fits(row)).collect();
        let decision = word(decide(&gates(&answers)));
        assert!(
            matches!(found[..], [(_, told)] if *told == decision),
            "{answers:?}: {found:?}"
        );
    }
    let mut made = String::new();
    let names: Vec<_> = QUESTIONS.iter().map(|(name, _)| *name).collect();
    writeln!(made, "| {} | decision |", names.join(" | ")).unwrap();
    writeln!(made, "|{}", "---|".repeat(QUESTIONS.len() + 1)).unwrap();
    for (row, decision) in table {
        let cells: Vec<_> = row
            .iter()
            .zip(QUESTIONS)
            .map(|(said, (_, values))| said.map_or(ANY, |said| values[said]))
            .collect();
        let decision = match ["caller", "device", "server"].contains(&decision) {
            true => format!("**{decision}**"),
            false => decision.to_owned(),
        };
        writeln!(made, "| {} | {decision} |", cells.join(" | ")).unwrap();
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/routing.md");
    let page = fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let wanted = format!("{before}{BEGIN}{made}{END}{after}");
    if variable("UPDATE").is_some() {
        fs::write(&path, &wanted).unwrap();
    }
    let page = fs::read_to_string(&path).unwrap();
    assert!(
        page == wanted,
        "docs/routing.md is not what the code decides; UPDATE=1 makes it so"
    );
}
