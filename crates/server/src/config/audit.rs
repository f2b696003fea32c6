//! `[audit]`: how often served answers are held against the source.

use super::section::Section;
use super::suggest::{listed, nearest};
use candor_core::duration;
use std::time::Duration;

/// What `[audit]` says. Rationale: one watch a second is two or three small questions to the source; a service that is
/// read at all judges some hundred thousand answers a day with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// Between two watches; `None` for no audit unless somebody asks for one. Source: `every`, default 1 s; `"never"`.
    pub every: Option<Duration>,
    /// How long served answers are heard between two looks. Source: `window`, default 250 ms: several times the bound
    /// of most answers, so that most are judged, and short enough for few changes to fall into it.
    pub window: Duration,
    /// The views that are watched; `None` for all. Source: `views`.
    pub views: Option<Vec<Box<str>>>,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { every: Some(Duration::from_secs(1)), window: Duration::from_millis(250), views: None }
    }
}

const EVERY_MIN: Duration = Duration::from_millis(20);
const WINDOW_MIN: Duration = Duration::from_millis(20);
const WINDOW_MAX: Duration = Duration::from_secs(10);

/// `known` are the declared views.
pub(super) fn read(root: &Section<'_>, known: &[&str]) -> AuditSettings {
    let default = AuditSettings::default();
    let Some(section) = root.table("audit") else { return default };
    let every = section.parsed("every", |text| match text {
        "never" => Ok(None),
        _ => match duration::parse(text)? {
            every if every < EVERY_MIN => {
                Err(format!("`{text}` between two watches is too little; write at least 20ms, or \"never\""))
            }
            every => Ok(Some(every)),
        },
    });
    let window = section.parsed("window", |text| match duration::parse(text)? {
        window if (WINDOW_MIN..=WINDOW_MAX).contains(&window) => Ok(window),
        _ => Err(format!("`{text}` is not a window; write something from 20ms to 10s")),
    });
    let views = section.texts("views").map(|views| {
        for view in views.iter().filter(|view| !known.contains(&view.text)) {
            let mend = match nearest(view.text, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("the views are {}", listed(known.iter().copied())),
            };
            section.reader.complain(view.span.clone(), format!("there is no view `{}`", view.text), mend);
        }
        views.iter().map(|view| view.text.into()).collect()
    });
    section.finish();
    AuditSettings { every: every.unwrap_or(default.every), window: window.unwrap_or(default.window), views }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Origin};

    fn parse(section: &str) -> Result<AuditSettings, String> {
        let text = format!(
            "[source.s]\nkind = \"sqlite\"\npath = \"s.db\"\n[view.user]\nowner = \"a\"\nsource = \"s\"\nkey = []\n\
             sql = \"SELECT 1 AS one\"\n{section}"
        );
        let config = Config::parse(Origin::new("candor.toml", text), &|_| None);
        config.map(|config| config.audit).map_err(|complaints| complaints.to_string())
    }

    #[test]
    fn the_audit_is_on_unless_it_is_told_to_be_silent() {
        assert_eq!(parse("").unwrap(), AuditSettings::default());
        assert_eq!(AuditSettings::default().every, Some(Duration::from_secs(1)));
        let all = "[audit]\nevery = \"5s\"\nwindow = \"1s\"\nviews = [\"user\"]\n";
        let expected = AuditSettings {
            every: Some(Duration::from_secs(5)),
            window: Duration::from_secs(1),
            views: Some(vec!["user".into()]),
        };
        assert_eq!(parse(all).unwrap(), expected);
        assert_eq!(parse("[audit]\nevery = \"never\"\n").unwrap().every, None);
    }

    #[test]
    fn what_makes_no_sense_is_complained_about_with_the_mend() {
        for (section, says) in [
            ("every = \"1ms\"", "write at least 20ms"),
            ("every = 1", "put it in quotes"),
            ("window = \"1m\"", "from 20ms to 10s"),
            ("views = [\"usr\"]", "did you mean `user`?"),
            ("rate = 5", "has no field `rate`"),
        ] {
            let told = parse(&format!("[audit]\n{section}\n")).unwrap_err();
            assert!(told.contains(says), "{section}: {told}");
        }
    }
}
