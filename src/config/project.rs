//! The Firebase project whose users may connect.

use super::Settings;
use super::check::{given, is_sound, secret};

const FIREBASE: &str = "FIREBASE_PROJECT_ID";
const CLOUD: &str = "GOOGLE_CLOUD_PROJECT";
const ACCOUNT: &str = "SERVICE_ACCOUNT_JSON";

impl Settings {
    pub(super) fn project(&self, wrong: &mut Vec<String>) -> String {
        let firebase = given(&self.firebase_project_id).map(|id| (FIREBASE, id.to_owned()));
        let cloud = given(&self.google_cloud_project).map(|id| (CLOUD, id.to_owned()));
        let account = || secret(&self.service_account_json).map(|json| (ACCOUNT, id_in(json)));
        let Some((name, id)) = firebase.or(cloud).or_else(account) else {
            wrong.push(format!(
                "{FIREBASE}: is not set; set it to the Firebase project whose users may connect"
            ));
            return String::new();
        };
        // Vertex AI takes the second one, too, and may have said so.
        if let Err(why) = check(&id)
            && is_sound(wrong, name)
        {
            wrong.push(match name {
                // What was found in a secret is not repeated.
                ACCOUNT if id.is_empty() => {
                    format!("{name}: is not a JSON object with a project_id")
                }
                ACCOUNT => format!("{name}: its project_id {why}"),
                FIREBASE => format!("{name}: \"{id}\" {why}"),
                _ => format!(
                    "{name}: \"{id}\" {why}; if it is right for Vertex AI, set {FIREBASE} as well"
                ),
            });
        }
        id
    }
}

fn id_in(account: &str) -> String {
    let account: serde_json::Value = serde_json::from_str(account).unwrap_or_default();
    account["project_id"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

/// Google's rule for ids, but for their length (6 to 30): lowercase letters,
/// digits and hyphens, a letter first, no hyphen last
/// (<https://cloud.google.com/resource-manager/reference/rest/v1/projects>). The
/// oldest ones begin with a domain and a colon. Tokens are made out to the id; a
/// number would match none.
fn check(id: &str) -> Result<(), &'static str> {
    let (domain, own) = id.split_once(':').unwrap_or(("a.domain", id));
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if !own.is_empty() && own.chars().all(|c| c.is_ascii_digit()) {
        return Err("is a project's number; tokens name its id, such as my-project-1");
    }
    let is_id = own.starts_with(|c: char| c.is_ascii_lowercase())
        && !own.ends_with('-')
        && own.chars().all(word);
    let is_domain = domain.contains('.') && domain.chars().all(|c| word(c) || c == '.');
    match is_id && is_domain {
        true => Ok(()),
        false => Err(
            "is not a project's id, which has lowercase letters, digits and '-', a letter first",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(change: impl FnOnce(&mut Settings)) -> Vec<String> {
        let mut settings = Settings::defaults().embedded();
        settings.firebase_project_id = None;
        change(&mut settings);
        settings.mistakes().0
    }

    fn firebase(id: &str) -> Vec<String> {
        mistakes(|set| set.firebase_project_id = Some(id.to_owned()))
    }

    #[test]
    fn every_id_that_google_has_given_is_taken_and_no_other() {
        for id in [
            "my-project-1",
            "demo-test",
            "p",
            "project-1234567890",
            "example.com:project",
            "sub-1.example.com:my-project-2",
        ] {
            assert_eq!(firebase(id), [""; 0], "{id}");
        }
        for id in [
            "My-Project",
            "my_project",
            "my project",
            "\"my-project\"",
            "projects/my-project",
            "my-project.firebaseapp.com",
            "https://my-project.web.app",
            "my-project-",
            "1st-project",
            "example:project",
            "example.com:",
            ":project",
            "a.b:c:d",
            "projekt-ä",
        ] {
            let wrong = firebase(id);
            assert_eq!(wrong.len(), 1, "{id}: {wrong:?}");
            let told = format!("FIREBASE_PROJECT_ID: \"{id}\" is not a project's id");
            assert!(wrong[0].starts_with(&told), "{wrong:?}");
        }
    }

    #[test]
    fn a_number_is_told_by_the_variable_that_has_it() {
        assert!(firebase("123456789012")[0].contains("is a project's number"));
        let cloud = |set: &mut Settings| set.google_cloud_project = Some("123456789012".into());
        let wrong = mistakes(cloud);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("GOOGLE_CLOUD_PROJECT: \"123456789012\" is a project's"));
        assert!(wrong[0].contains("set FIREBASE_PROJECT_ID"), "{wrong:?}");
        let both = mistakes(|set| {
            cloud(set);
            set.firebase_project_id = Some("my-project".into());
        });
        assert_eq!(both, [""; 0]);
    }

    #[test]
    fn a_service_account_without_a_usable_project_is_told_without_its_content() {
        for account in [
            "s3cret",
            "{}",
            r#"{"project_id": "S3cret", "private_key": "s3cret"}"#,
        ] {
            let wrong = mistakes(|set| set.service_account_json = Some(account.into()));
            assert_eq!(wrong.len(), 1, "{wrong:?}");
            assert!(wrong[0].starts_with("SERVICE_ACCOUNT_JSON: "), "{wrong:?}");
            assert!(!wrong[0].to_lowercase().contains("s3cret"), "{wrong:?}");
        }
    }

    #[test]
    fn what_vertex_ai_said_of_its_project_is_not_said_again() {
        let wrong = mistakes(|set| {
            set.google_genai_use_vertexai = Some("1".into());
            set.google_cloud_project = Some("my project".into());
            set.google_cloud_location = Some("eu".into());
            set.gce_metadata_host = Some("127.0.0.1:1".into());
        });
        assert_eq!(wrong.len(), 1, "{wrong:?}");
    }
}
