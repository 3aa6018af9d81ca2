//! Which tools there are beside the built-in ones, and who may execute them where.

use std::fs;

use super::check::{given, take};
use super::work::truth;
use crate::tools::routing::{Mode, Modes};
use crate::tools::{Catalogue, Policy, Settings as Routing};

/// The settings of tools.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Tools")]
pub struct ToolSettings {
    /// File with tools of your own, in TOML; docs/tools.md says how they are declared.
    #[arg(long, env = "TOOLS_FILE", value_name = "FILE")]
    pub tools_file: Option<String>,
    /// true or false: whether devices can be reached from their user's other sessions.
    #[arg(
        long,
        env = "DEVICE_GATEWAY",
        default_value = "true",
        value_name = "BOOL"
    )]
    pub device_gateway: Option<String>,
    /// Who may use other devices of its user than the one it is: claim (whose token has
    /// the claim devices: true), everybody or nobody.
    #[arg(
        long,
        env = "DEVICE_PERMISSION",
        default_value = "claim",
        value_name = "WHO"
    )]
    pub device_permission: String,
    /// Whether tools of devices are offered to desktops: local or none.
    #[arg(
        long,
        env = "TOOLS_ON_DESKTOP",
        default_value = "local",
        value_name = "MODE"
    )]
    pub tools_on_desktop: String,
    /// Whether tools of devices are offered to pages in a browser: local or none.
    #[arg(
        long,
        env = "TOOLS_ON_WEB",
        default_value = "local",
        value_name = "MODE"
    )]
    pub tools_on_web: String,
}

impl ToolSettings {
    /// The tools, and where they run.
    pub(super) fn check(&self, wrong: &mut Vec<String>) -> (Catalogue, Routing) {
        let Self {
            tools_file,
            device_gateway,
            device_permission,
            tools_on_desktop,
            tools_on_web,
        } = self;
        let policy = match device_permission.trim() {
            "claim" => Ok(Policy::claim()),
            "everybody" => Ok(Policy::new(|_| true)),
            "nobody" => Ok(Policy::new(|_| false)),
            said => Err(format!("\"{said}\" is none of claim, everybody and nobody")),
        };
        let policy = take(wrong, "DEVICE_PERMISSION", policy);
        let settings = Routing {
            gateway: truth(wrong, "DEVICE_GATEWAY", device_gateway, true),
            modes: Modes {
                desktop: mode(wrong, "TOOLS_ON_DESKTOP", tools_on_desktop),
                web: mode(wrong, "TOOLS_ON_WEB", tools_on_web),
            },
            policy: policy.unwrap_or_else(Policy::claim),
        };
        (catalogue(wrong, given(tools_file)), settings)
    }
}

fn mode(wrong: &mut Vec<String>, name: &str, said: &str) -> Mode {
    let mode = match said.trim() {
        "local" => Ok(Mode::Local),
        "none" => Ok(Mode::None),
        said => Err(format!("\"{said}\" is neither local nor none")),
    };
    take(wrong, name, mode).unwrap_or(Mode::Local)
}

fn catalogue(wrong: &mut Vec<String>, path: Option<&str>) -> Catalogue {
    let Some(path) = path else {
        return Catalogue::builtin();
    };
    let read = fs::read_to_string(path).map_err(|error| vec![format!("{path}: {error}")]);
    let made = read.and_then(|text| Catalogue::with(&[(path.to_owned(), text)]));
    made.unwrap_or_else(|flaws| {
        wrong.extend(flaws.iter().map(|flaw| format!("TOOLS_FILE: {flaw}")));
        Catalogue::builtin()
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::Settings;

    #[test]
    fn tools_of_an_operator_are_read_and_all_mistakes_are_told() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let tool = "[[tool]]\nname = \"clipboard\"\ndescription = \"Reads it.\"\n\
                    executors = [\"client\"]\nparameters = { type = \"object\" }\n";
        file.write_all(tool.as_bytes()).unwrap();
        let mut settings = Settings::defaults().embedded();
        settings.tools.tools_file = Some(file.path().display().to_string());
        settings.tools.device_gateway = Some("0".to_owned());
        settings.tools.tools_on_web = "none".to_owned();
        let config = settings.check().unwrap();
        assert!(config.catalogue.find("clipboard").is_some());
        assert!(!config.routing.gateway);
        assert_eq!(config.routing.modes.web, Mode::None);

        file.write_all(b"[[tool]]\nname = 1\n").unwrap();
        settings.tools.device_gateway = Some("perhaps".to_owned());
        settings.tools.device_permission = "some".to_owned();
        settings.tools.tools_on_desktop = "remote".to_owned();
        let wrong = settings.mistakes();
        let expected = [
            "DEVICE_GATEWAY",
            "DEVICE_PERMISSION",
            "TOOLS_FILE",
            "TOOLS_ON_DESKTOP",
        ];
        assert_eq!(wrong.names(), expected);
        settings.tools.tools_file = Some("/no/such/file".to_owned());
        assert!(settings.mistakes().names().contains(&"TOOLS_FILE"));
    }
}
