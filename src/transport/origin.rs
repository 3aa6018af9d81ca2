//! Whose web pages may use this server: browsers say where a page came from, and
//! nobody else does.

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Uri};

/// Origins of web pages, as browsers write them: `https://app.example.com`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<HeaderValue>);

impl Origins {
    /// Reads a list with commas in between; an empty one is legal.
    ///
    /// # Errors
    /// What is no origin.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim);
        let parts = parts.filter(|part| !part.is_empty());
        let origins = parts.map(|part| {
            read(part).ok_or_else(|| {
                format!("\"{part}\" is not an origin such as https://app.example.com")
            })
        });
        origins.collect::<Result<_, _>>().map(Self)
    }

    /// As headers have them.
    pub(super) fn values(&self) -> Vec<HeaderValue> {
        self.0.clone()
    }

    /// Whether whoever sends these headers may open a stream: a program, which says no
    /// origin, or a page that is listed or comes from this very host.
    pub(super) fn allow(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(ORIGIN) else {
            return true;
        };
        self.0.contains(origin) || is_same_host(origin, headers.get(HOST))
    }
}

impl std::fmt::Display for Origins {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts = self.0.iter().filter_map(|origin| origin.to_str().ok());
        f.write_str(&texts.collect::<Vec<_>>().join(","))
    }
}

/// An origin in the form in which browsers send it.
fn read(text: &str) -> Option<HeaderValue> {
    let text = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?.as_str());
    let is_whole = text.len() == scheme.len() + "://".len() + authority.len();
    // Browsers leave the usual port out, and extensions have schemes of their own.
    let usual = match scheme {
        "https" => ":443",
        "http" => ":80",
        _ => "",
    };
    let text = match usual {
        "" => &text,
        usual => text.strip_suffix(usual).unwrap_or(&text),
    };
    (is_whole && !authority.contains('@')).then(|| HeaderValue::from_str(text).ok())?
}

fn is_same_host(origin: &HeaderValue, host: Option<&HeaderValue>) -> bool {
    let behind_scheme = |origin: &HeaderValue| {
        let (_, host) = origin.to_str().ok()?.split_once("://")?;
        Some(host.to_ascii_lowercase())
    };
    let host = host.and_then(|host| host.to_str().ok());
    let host = host.map(str::to_ascii_lowercase);
    host.is_some() && behind_scheme(origin) == host
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: Option<&'static str>, host: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static(host));
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn programs_listed_pages_and_pages_of_this_host_may_come_in_and_no_others() {
        let origins = Origins::parse("https://app.example.com, http://localhost:5173").unwrap();
        for (origin, is_allowed) in [
            (None, true),
            (Some("https://app.example.com"), true),
            (Some("http://localhost:5173"), true),
            (Some("https://desk.example.com"), true),
            (Some("http://app.example.com"), false),
            (Some("https://app.example.com:8443"), false),
            (Some("https://app.example.com.evil.test"), false),
            (Some("https://desk.example.com.evil.test"), false),
            (Some("null"), false),
            (Some(""), false),
        ] {
            let headers = headers(origin, "Desk.example.com");
            assert_eq!(origins.allow(&headers), is_allowed, "{origin:?}");
        }
        let mut no_host = headers(Some("null"), "x");
        no_host.remove(HOST);
        assert!(!Origins::default().allow(&no_host));
    }

    #[test]
    fn origins_are_brought_into_the_form_in_which_browsers_send_them() {
        let shown = |text: &str| Origins::parse(text).map(|origins| origins.to_string());
        let written = "https://App.example.com:443/,http://x:80,http://x:8080,app://desk";
        let sent = "https://app.example.com,http://x,http://x:8080,app://desk";
        assert_eq!(shown(written).as_deref(), Ok(sent));
        assert_eq!(shown(" , ").as_deref(), Ok(""));
        for wrong in [
            "example.com",
            "*",
            "https://x/path",
            "https://x?y",
            "https://u:p@x",
            "https://",
            "null",
        ] {
            assert!(shown(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
