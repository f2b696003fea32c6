//! Who is asking, and what that entitles to. Independent of any protocol: each door takes the presented token from
//! wherever its protocol puts it and asks here.
//!
//! Invariant: a subject comes from a token, or from a header of a token that may act for others; never from a key, a
//! path or a body. That is what makes one subject's entry unreachable for another ([`key`]).
//!
//! Without configured tokens everybody on this machine is let in, and nobody else: [`exposure`] refuses to start on any
//! other address.

pub mod exposure;
pub mod key;
mod tokens;

pub use tokens::Tokens;

use std::fmt;
use std::sync::{Arc, LazyLock};

/// The authenticated subject that private views belong to, as text. A view brings it into the type of its key column.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject(Arc<str>);

/// Who is asking: the result of authentication.
#[derive(Clone, Debug)]
pub struct Caller {
    grant: Arc<Grant>,
    subject: Option<Subject>,
}

/// What a caller may do besides reading views.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Take a session token for "everything up to now".
    Fence,
    /// Invalidate entries by key or tag.
    Invalidate,
    /// See the life of an entry.
    Explain,
}

/// What one token entitles to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    /// For logs and metrics; never the token.
    pub(crate) name: Box<str>,
    pub(crate) subject: Option<Subject>,
    pub(crate) all_views: bool,
    pub(crate) views: Vec<Box<str>>,
    pub(crate) fence: bool,
    pub(crate) invalidate: bool,
    pub(crate) explain: bool,
    pub(crate) may_impersonate: bool,
}

/// Why a caller was turned away.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No token, or one that we do not know. The caller may try again with another.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// We know who it is, and it is not allowed. Trying again does not help.
    #[error("{message}")]
    Forbidden {
        /// What is not allowed.
        message: String,
        /// What whoever runs the service could change.
        mend: String,
    },
    /// The request contradicts itself about who is asking.
    #[error("{0}")]
    Unclear(&'static str),
}

impl Subject {
    /// Bytes of a subject; longer ones could not be a key.
    pub const BYTES_MAX: usize = candor_core::KeyType::TEXT_BYTES_MAX;

    /// A subject; `None` if it is empty, too long or holds control characters.
    pub fn new(text: &str) -> Option<Self> {
        let is_sound =
            !text.is_empty() && text.len() <= Self::BYTES_MAX && !text.chars().any(char::is_control);
        is_sound.then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Caller {
    /// Everybody on this machine, where no tokens are configured: may do anything but has no subject.
    pub fn anonymous() -> Self {
        static EVERYTHING: LazyLock<Arc<Grant>> = LazyLock::new(|| {
            Arc::new(Grant {
                name: "anonymous".into(),
                all_views: true,
                fence: true,
                invalidate: true,
                explain: true,
                ..Grant::default()
            })
        });
        Self { grant: Arc::clone(&EVERYTHING), subject: None }
    }

    pub(crate) fn of(grant: Arc<Grant>) -> Self {
        let subject = grant.subject.clone();
        Self { grant, subject }
    }

    /// The token's name, for logs and metrics.
    pub fn name(&self) -> &str {
        &self.grant.name
    }

    /// The authenticated subject, if there is one.
    pub fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    /// The same caller, acting for `subject`.
    ///
    /// # Errors
    ///
    /// Forbidden unless its token has `may_impersonate`. The wish is refused, not ignored: an ignored one would answer
    /// with the data of somebody else than the caller believes.
    pub fn acting_for(self, subject: Subject) -> Result<Self, Refusal> {
        if self.grant.may_impersonate {
            return Ok(Self { subject: Some(subject), ..self });
        }
        Err(Refusal::Forbidden {
            message: format!("the token `{}` may not act for a subject", self.name()),
            mend: "leave the subject header out, or give the token may_impersonate = true".into(),
        })
    }

    /// Whether the view may be read. Ask before looking the view up, so that a refusal does not tell what exists.
    ///
    /// # Errors
    ///
    /// Forbidden if the token does not list the view.
    pub fn may_read(&self, view: &str) -> Result<(), Refusal> {
        if self.grant.all_views || self.grant.views.iter().any(|known| **known == *view) {
            return Ok(());
        }
        Err(Refusal::Forbidden {
            message: format!("the token `{}` may not read the view `{view}`", self.name()),
            mend: "add the view to the token's views".into(),
        })
    }

    /// Whether every view may be read; what concerns all of them asks for that.
    ///
    /// # Errors
    ///
    /// Forbidden if the token lists its views one by one.
    pub fn may_read_all(&self) -> Result<(), Refusal> {
        if self.grant.all_views {
            return Ok(());
        }
        Err(Refusal::Forbidden {
            message: format!("the token `{}` may not ask for what concerns all views", self.name()),
            mend: "give the token views = [\"*\"], or ask with one that has it".into(),
        })
    }

    /// Whether the action is allowed.
    ///
    /// # Errors
    ///
    /// Forbidden if the token does not allow it.
    pub fn may(&self, action: Action) -> Result<(), Refusal> {
        let allowed = match action {
            Action::Fence => self.grant.fence,
            Action::Invalidate => self.grant.invalidate,
            Action::Explain => self.grant.explain,
        };
        if allowed {
            return Ok(());
        }
        Err(Refusal::Forbidden {
            message: format!("the token `{}` may not {action}", self.name()),
            mend: format!("give the token {action} = true"),
        })
    }
}

/// The word in tokens files.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fence => "fence",
            Self::Invalidate => "invalidate",
            Self::Explain => "explain",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(grant: Grant) -> Caller {
        Caller::of(Arc::new(grant))
    }

    #[test]
    fn a_token_reads_the_views_it_lists_and_no_others() {
        let one = caller(Grant { views: vec!["user".into()], ..Grant::default() });
        assert!(one.may_read("user").is_ok());
        for view in ["users", "use", "", "*"] {
            assert!(matches!(one.may_read(view), Err(Refusal::Forbidden { .. })), "{view}");
        }
        assert!(caller(Grant { all_views: true, ..Grant::default() }).may_read("user").is_ok());
    }

    #[test]
    fn each_action_is_granted_on_its_own() {
        let fencing = caller(Grant { fence: true, ..Grant::default() });
        let invalidating = caller(Grant { invalidate: true, ..Grant::default() });
        let explaining = caller(Grant { explain: true, ..Grant::default() });
        let allowed = |caller: &Caller| {
            [Action::Fence, Action::Invalidate, Action::Explain].map(|action| caller.may(action).is_ok())
        };
        assert_eq!(allowed(&fencing), [true, false, false]);
        assert_eq!(allowed(&invalidating), [false, true, false]);
        assert_eq!(allowed(&explaining), [false, false, true]);
    }

    #[test]
    fn only_a_trusted_token_acts_for_others_and_nobody_is_ignored() {
        let subject = Subject::new("42").unwrap();
        let own = Subject::new("7").unwrap();
        let trusted = caller(Grant { may_impersonate: true, subject: Some(own.clone()), ..Grant::default() });
        assert_eq!(trusted.subject(), Some(&own));
        assert_eq!(trusted.acting_for(subject.clone()).unwrap().subject(), Some(&subject));
        for grant in [Grant::default(), Grant { subject: Some(own), all_views: true, ..Grant::default() }] {
            assert!(matches!(caller(grant).acting_for(subject.clone()), Err(Refusal::Forbidden { .. })));
        }
        assert!(Caller::anonymous().acting_for(subject).is_err());
    }

    #[test]
    fn subjects_are_short_printable_text() {
        assert!(Subject::new("user-42").is_some() && Subject::new("ü").is_some());
        for text in ["", "a\nb", "a\0", &"x".repeat(1025)] {
            assert!(Subject::new(text).is_none(), "{text:.10}");
        }
    }
}
