//! The programs that the server is to start as its workers, from their command lines.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::check::{given, take};
use super::{Mistakes, Settings};
use crate::local_workers::{Command, MOST, Options, passes};

const NAME: &str = "LOCAL_WORKERS";

/// The settings of local workers, not yet checked.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Local workers")]
pub struct LocalWorkerSettings {
    /// Command lines of workers that the server starts and watches over, one a line or
    /// with semicolons between them (at most 16). Quotes and backslashes are read as a
    /// shell reads them, but no shell is run: no variables, no pipes. They get few of the
    /// server's variables, and none of its keys: what one needs is called WORKER_….
    #[arg(
        long,
        env = "LOCAL_WORKERS",
        hide_env_values = true,
        value_name = "COMMAND;…"
    )]
    pub local_workers: Option<String>,
}

impl Settings {
    pub(super) fn local_workers(&self, wrong: &mut Vec<String>) -> Options {
        let said = given(&self.work.local.local_workers).unwrap_or_default();
        checked(NAME, said, wrong)
    }
}

/// Workers that are given by another flag than the server's, which is to be named in what
/// is wrong with them. There must be one.
///
/// # Errors
/// Every mistake, a sentence each.
pub fn worker_commands(flag: &str, said: &str) -> Result<Options, Mistakes> {
    let mut wrong = Vec::new();
    let options = checked(flag, said, &mut wrong);
    if options.commands.is_empty() && wrong.is_empty() {
        wrong.push(format!("{flag}: names no program"));
    }
    match wrong.is_empty() {
        true => Ok(options),
        false => Err(Mistakes(wrong)),
    }
}

fn checked(name: &str, said: &str, wrong: &mut Vec<String>) -> Options {
    let lines = command_lines(said);
    if lines.is_empty() {
        return Options::default();
    }
    if lines.len() > MOST {
        let count = lines.len();
        wrong.push(format!("{name}: there are {count}; at most {MOST} are run"));
    }
    let environment: Vec<_> = env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(passes))
        .collect();
    let path = environment.iter().find(|(name, _)| name == "PATH");
    let folders: Vec<_> = path.map_or(vec![], |(_, path)| env::split_paths(path).collect());
    let commands = lines.iter().enumerate().map(|(at, line)| {
        let checked = command(line).and_then(|command| {
            find(&command.program, &folders)?;
            Ok(command)
        });
        // Of one alone it needs no number.
        checked.map_err(|why| match lines.len() {
            1 => format!("the command {why}"),
            _ => format!("number {} {why}", at + 1),
        })
    });
    let commands = commands.filter_map(|command| take(wrong, name, command));
    Options {
        commands: commands.collect(),
        guard: own_program(name, wrong),
        environment,
    }
}

/// This very executable, also after another was put into its place.
fn own_program(name: &str, wrong: &mut Vec<String>) -> PathBuf {
    if cfg!(target_os = "linux") {
        return PathBuf::from("/proc/self/exe");
    }
    let own = env::current_exe();
    let own = own.map_err(|why| format!("this program cannot be found to run it again: {why}"));
    take(wrong, name, own).unwrap_or_default()
}

/// The command lines of a text: what stands between line breaks and semicolons, unless
/// those are quoted. Lines that are empty, or a comment, are none.
fn command_lines(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    let (mut quote, mut escaped, mut comment) = (None, false, false);
    for c in text.chars() {
        let Some(line) = lines.last_mut() else { break };
        let begins_word = line.is_empty() || line.ends_with(char::is_whitespace);
        match (c, quote) {
            ('\n', _) if comment => {
                comment = false;
                lines.push(String::new());
                continue;
            }
            _ if comment => continue,
            _ if escaped => escaped = false,
            ('\\', None | Some('"')) => escaped = true,
            ('\'' | '"', None) => quote = Some(c),
            (_, Some(open)) if open == c => quote = None,
            ('#', None) if begins_word => {
                comment = true;
                continue;
            }
            ('\n' | ';', None) => {
                lines.push(String::new());
                continue;
            }
            _ => {}
        }
        line.push(c);
    }
    let lines = lines.into_iter().map(|line| line.trim_start().to_owned());
    lines.filter(|line| !line.trim().is_empty()).collect()
}

/// The words of a line, or what is wrong with it: never the line itself, which may hold
/// a secret.
fn command(line: &str) -> Result<Command, String> {
    let words =
        shlex::split(line).ok_or("has a quote that is not closed, or ends in a backslash")?;
    let mut words = words.into_iter();
    let program = words.next().filter(|program| !program.trim().is_empty());
    let program = program.ok_or("names no program")?;
    let assigns = program.split_once('=').is_some_and(|(name, _)| {
        let in_names = |c: char| c == '_' || c.is_ascii_alphanumeric();
        !name.is_empty() && name.chars().all(in_names)
    });
    if assigns {
        return Err(
            "begins with a variable, which no shell is there to set: give the server a variable \
             that begins with WORKER_, or run `env`"
                .to_owned(),
        );
    }
    Ok(Command {
        program,
        arguments: words.collect(),
    })
}

/// Whether there is such a program, as the system will look for it.
fn find(program: &str, folders: &[PathBuf]) -> Result<(), String> {
    let (places, nowhere) = match program.contains('/') {
        true => (vec![PathBuf::from(program)], "is no file"),
        false => {
            let places = folders.iter().map(|folder| folder.join(program));
            (places.collect(), "is not on PATH")
        }
    };
    let files: Vec<_> = places.iter().filter(|place| place.is_file()).collect();
    match files.iter().any(|file| may_be_run(file)) {
        true => Ok(()),
        false if files.is_empty() => Err(format!("cannot be run: \"{program}\" {nowhere}")),
        false => Err(format!("cannot be run: \"{program}\" is not executable")),
    }
}

fn may_be_run(file: &Path) -> bool {
    let rights = file.metadata().map(|data| data.permissions().mode());
    rights.is_ok_and(|rights| rights & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(said: &str) -> Result<Options, Vec<String>> {
        let mut settings = Settings::defaults().embedded();
        settings.work.local.local_workers = Some(said.to_owned());
        let checked = settings.check();
        checked.map(|it| it.local_workers).map_err(|wrong| wrong.0)
    }

    fn words(said: &str) -> Vec<Vec<String>> {
        let commands = checked(said).unwrap().commands.into_iter();
        let words = |Command { program, arguments }| [vec![program], arguments].concat();
        commands.map(words).collect()
    }

    #[test]
    fn command_lines_are_split_as_shells_do() {
        let said = r#"
            # Don't count; this is a comment
            sh -c 'echo "one; two"; exit' ; /bin/sh one\;two "a
b" # another; one
            sh it\'s "q\"; 'q" #
        "#;
        let expected = [
            vec!["sh", "-c", "echo \"one; two\"; exit"],
            vec!["/bin/sh", "one;two", "a\nb"],
            vec!["sh", "it's", "q\"; 'q"],
        ];
        assert_eq!(words(said), expected);
        for nothing in ["", " \n ;; \n# sh"] {
            assert!(checked(nothing).unwrap().commands.is_empty());
        }
        assert_eq!(words("sh a#b"), [["sh", "a#b"]]);
    }

    #[test]
    fn c09_everything_wrong_with_local_workers_is_told_at_once_and_shows_no_argument() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("worker.txt");
        std::fs::write(&plain, "").unwrap();
        let said = format!(
            "no-such-program --key=nobody-may-see\n'' x\nKEY=nobody-may-see sh\n{} x\n/no/such x\n\
             sh ok\nsh 'nobody-may-see",
            plain.display()
        );
        let wrong = checked(&said).unwrap_err();
        let told = [
            "number 1 cannot be run: \"no-such-program\" is not on PATH",
            "number 2 names no program",
            "number 3 begins with a variable, ",
            "is not executable",
            "number 5 cannot be run: \"/no/such\" is no file",
            "number 7 has a quote that is not closed",
        ];
        assert_eq!(wrong.len(), told.len(), "{wrong:?}");
        for (wrong, told) in wrong.iter().zip(told) {
            assert!(wrong.starts_with("LOCAL_WORKERS: number "), "{wrong}");
            assert!(wrong.contains(told), "{wrong}");
            assert!(!wrong.contains("nobody-may-see"), "{wrong}");
        }
        let wrong = checked(&"sh\n".repeat(MOST + 1)).unwrap_err();
        assert_eq!(wrong, ["LOCAL_WORKERS: there are 17; at most 16 are run"]);
    }

    #[test]
    fn a_command_of_another_flag_must_be_there_and_is_named_by_that_flag() {
        assert_eq!(
            worker_commands("--worker", "sh -c true")
                .unwrap()
                .commands
                .len(),
            1
        );
        let wrong = |said| worker_commands("--worker", said).unwrap_err().0;
        for nothing in ["", " \n;", "# sh"] {
            assert_eq!(wrong(nothing), ["--worker: names no program"]);
        }
        let told = "--worker: the command cannot be run: \"/no/such\" is no file";
        assert_eq!(wrong("/no/such x"), [told]);
        let told = "--worker: number 2 cannot be run: \"/no/such\" is no file";
        assert_eq!(wrong("sh; /no/such"), [told]);
    }

    #[test]
    fn a_server_inside_another_program_starts_no_workers_and_one_that_is_tried_does() {
        let mut settings = Settings::defaults();
        settings.work.local.local_workers = Some("sh".to_owned());
        let embedded = settings.clone().embedded().check().unwrap();
        assert!(embedded.local_workers.commands.is_empty());
        let dev = settings.dev().check().unwrap();
        assert_eq!(dev.local_workers.commands.len(), 1);
    }
}
