//! The one place where a request's key becomes a view's key.
//!
//! A private view has a key column that is filled with the caller's authenticated subject. A request gives the other
//! columns, in order, and has no way to say anything about this one: there is no position in the path, in JSON or in a
//! command that reaches it. So an entry of one subject cannot be named by another, whatever the door.

use super::Subject;
use candor_core::{KeyValue, ViewQuery};

/// Why a key was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// The request's part does not fit the view.
    #[error("{0}")]
    Bad(String),
    /// The view is private and the caller has no subject.
    #[error("the view `{view}` is private and this caller has no subject")]
    NoSubject {
        /// The view.
        view: Box<str>,
    },
    /// The subject is not of the column's type, so it cannot own anything in this view.
    #[error("the caller's subject does not fit the private view `{view}`: {why}")]
    WrongSubject {
        /// The view.
        view: Box<str>,
        /// What its column would have accepted.
        why: String,
    },
}

/// Completes a key: `given` are the request's parts in order, without the private column, at index `private`.
///
/// # Errors
///
/// [`KeyRefusal`]; the first kind is the request's fault, the others are the token's.
pub fn complete(
    query: &ViewQuery,
    private: Option<usize>,
    given: &[impl AsRef<str>],
    subject: Option<&Subject>,
) -> Result<Box<[KeyValue]>, KeyRefusal> {
    #[cfg(candor_sabotage)]
    let private = private.filter(|_| {
        use candor_core::sabotage::{Sabotage, is};
        given.len() < query.key.len() || !is(Sabotage::SubjectFromRequest)
    });
    let Some((index, column)) = private.and_then(|index| Some((index, query.key.get(index)?))) else {
        return query.parse_key(given.iter().map(AsRef::as_ref)).map_err(KeyRefusal::Bad);
    };
    let mut parts: Vec<&str> = given.iter().map(AsRef::as_ref).collect();
    let subject = subject.ok_or_else(|| KeyRefusal::NoSubject { view: query.name.clone() })?.as_str();
    // Told apart from the request's own faults, whose message would speak of the subject as if it had been given.
    let wrong = |why: String| KeyRefusal::WrongSubject { view: query.name.clone(), why };
    let value = column.kind.parse(subject).map_err(|error| wrong(error.to_string()))?;
    // `7` and `007` are two subjects to whoever names them, and would be one key.
    if value.to_string() != subject {
        return Err(wrong(format!(
            "`{subject}` is another way to write `{value}`, and so not a subject's own name"
        )));
    }
    let others: Vec<&str> = query
        .key
        .iter()
        .enumerate()
        .filter(|(at, _)| *at != index)
        .map(|(_, column)| &*column.name)
        .collect();
    if parts.len() != others.len() {
        return Err(KeyRefusal::Bad(format!(
            "the private view `{}` takes {} key column(s) from a request ({}; `{}` is the caller's subject), but {} were given",
            query.name,
            others.len(),
            others.join(", "),
            column.name,
            parts.len()
        )));
    }
    parts.insert(index, subject);
    query.parse_key(parts.into_iter()).map_err(KeyRefusal::Bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_ways_to_write_one_value_are_not_two_subjects_with_one_entry() {
        for (kind, subject, accepted) in [
            (KeyType::Int8, "7", true),
            (KeyType::Int8, "007", false),
            (KeyType::Int8, "-0", false),
            (KeyType::Uuid, "0f8fad5b-d9cb-469f-a165-70867728950e", true),
            (KeyType::Uuid, "0F8FAD5B-D9CB-469F-A165-70867728950E", false),
            (KeyType::Bool, "t", false),
        ] {
            let query = query(&[("subject", kind)]);
            let key = complete(&query, Some(0), &[] as &[&str], Some(&Subject::new(subject).unwrap()));
            assert_eq!(key.is_ok(), accepted, "{subject}: {key:?}");
        }
    }
    use candor_core::{KeyColumn, KeyType, ProofKind, Rows};

    fn query(columns: &[(&str, KeyType)]) -> ViewQuery {
        ViewQuery {
            name: "cart".into(),
            key: columns.iter().map(|(name, kind)| KeyColumn { name: (*name).into(), kind: *kind }).collect(),
            sql: "".into(),
            rows: Rows::One,
            invalidated_by: None,
            proof: ProofKind::Log,
        }
    }

    fn ints(key: Result<Box<[KeyValue]>, KeyRefusal>) -> Vec<i64> {
        key.unwrap().iter().map(|value| if let KeyValue::Int(int) = value { *int } else { -1 }).collect()
    }

    #[test]
    fn the_subject_takes_its_column_wherever_it_stands() {
        let columns = [("a", KeyType::Int8), ("b", KeyType::Int8), ("c", KeyType::Int8)];
        let subject = Subject::new("9");
        for (private, expected) in [(0, [9, 1, 2]), (1, [1, 9, 2]), (2, [1, 2, 9])] {
            let key = complete(&query(&columns), Some(private), &["1", "2"], subject.as_ref());
            assert_eq!(ints(key), expected);
        }
        assert_eq!(ints(complete(&query(&columns[..1]), Some(0), &[] as &[&str], subject.as_ref())), [9]);
    }

    #[test]
    fn a_request_cannot_name_the_subject() {
        let private = query(&[("subject", KeyType::Int8), ("item", KeyType::Int8)]);
        let subject = Subject::new("9");
        for given in [&["7", "1"][..], &["9", "1"], &["1", "7"], &[], &["1", "2", "3"]] {
            let refused = complete(&private, Some(0), given, subject.as_ref());
            assert!(
                matches!(&refused, Err(KeyRefusal::Bad(message)) if message.contains("(item; `subject`")),
                "{given:?}"
            );
        }
    }

    #[test]
    fn no_subject_or_a_subject_of_another_kind_reads_nothing() {
        let private = query(&[("subject", KeyType::Int8)]);
        let none: &[&str] = &[];
        assert!(matches!(complete(&private, Some(0), none, None), Err(KeyRefusal::NoSubject { .. })));
        assert!(matches!(complete(&private, Some(0), &["9"], None), Err(KeyRefusal::NoSubject { .. })));
        let alice = Subject::new("alice");
        assert!(matches!(
            complete(&private, Some(0), none, alice.as_ref()),
            Err(KeyRefusal::WrongSubject { .. })
        ));
    }

    #[test]
    fn views_for_everybody_ignore_the_subject() {
        let shared = query(&[("id", KeyType::Int8)]);
        assert_eq!(ints(complete(&shared, None, &["42"], Subject::new("9").as_ref())), [42]);
        assert!(matches!(complete(&shared, None, &["x"], None), Err(KeyRefusal::Bad(_))));
    }
}
