//! Dates and times that a query has from text. `now`, `today`, `tomorrow` and `yesterday` mean the time at which they are read,
//! wherever a date or time may stand: alone, in a range, an array, a row or a domain over these.
//!
//! A literal the server reads once, when the statement is prepared, and keeps what it was. So the tree tells that there is a
//! literal of such a type, and only the text what was written. Text that becomes one while the query runs is an oddity of
//! the query, whatever it says.

use super::placeholders::Scanned;
use super::server::{lists_after, numbers_after};
use crate::refuse::refused;
use candor_core::Finding;
use std::collections::BTreeSet;
use tokio_postgres::Client;
use tokio_postgres::error::Error;

/// `date`, `time`, `timestamp`, `timestamptz`, `timetz`, arrays of them, `tsrange`, `tstzrange`, `daterange`, arrays of them,
/// their multiranges, arrays of those.
const TIMES: [u32; 22] = [
    1082, 1083, 1114, 1184, 1266, 1182, 1183, 1115, 1185, 1270, 3908, 3910, 3912, 3909, 3911, 3913, 4533,
    4534, 4535, 6152, 6153, 6155,
];

/// Types from here on are made by somebody, or are rows of the catalog. Of these the catalog tells what is inside them.
const FIRST_MADE: u32 = 10_000;

const WORDS: [&str; 4] = ["now", "today", "tomorrow", "yesterday"];

/// Texts with such words are few. Beyond so many parts of them nobody is asked any more.
const PARTS_MAX: usize = 32;

/// Types that stand in a tree.
#[derive(Debug, Default)]
pub(super) struct Types {
    literals: BTreeSet<u32>,
    /// What text becomes while the query runs.
    casts: BTreeSet<u32>,
}

impl Types {
    /// Takes in a tree. The types stand after what is cast; looking for both anywhere is coarse and misses nothing.
    pub(super) fn note(&mut self, tree: &str) {
        self.literals.extend(numbers_after(tree, ":consttype "));
        if tree.contains("{COERCEVIAIO ") {
            self.casts.extend(numbers_after(tree, ":resulttype "));
        }
        // XMLTABLE and JSON_TABLE, then JSON_VALUE and its like.
        if tree.contains("{TABLEFUNC ") {
            self.casts.extend(lists_after(tree, ":coltypes (o ").flatten());
        }
        if tree.contains("{JSONEXPR ") {
            self.casts.extend(numbers_after(tree, ":typid "));
        }
    }

    /// Whether there are literals of dates or times, and whether text becomes one.
    pub(super) async fn have_times(&self, client: &Client) -> Result<(bool, bool), Error> {
        let all = self.literals.union(&self.casts).copied();
        let made: Vec<u32> = all.filter(|oid| *oid >= FIRST_MADE).collect();
        let times = if made.is_empty() { Vec::new() } else { with_times_inside(client, &made).await? };
        let has = |types: &BTreeSet<u32>| types.iter().any(|oid| TIMES.contains(oid) || times.contains(oid));
        Ok((has(&self.literals), has(&self.casts)))
    }
}

/// Those of the types that have a date or time somewhere inside. A type of an extension counts if it does not always read
/// the same text as the same value.
async fn with_times_inside(client: &Client, types: &[u32]) -> Result<Vec<u32>, Error> {
    let rows = client
        .query(
            "WITH RECURSIVE inside(made, oid) AS ( \
               SELECT made, made FROM unnest($1::oid[]) AS made \
               UNION \
               SELECT inside.made, part.oid FROM inside JOIN pg_type t ON t.oid = inside.oid, LATERAL ( \
                 SELECT t.typbasetype AS oid WHERE t.typtype = 'd' \
                 UNION ALL SELECT t.typelem WHERE t.typelem <> 0 \
                 UNION ALL SELECT a.atttypid FROM pg_attribute a \
                   WHERE t.typrelid <> 0 AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped \
                 UNION ALL SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid \
                 UNION ALL SELECT r.rngtypid FROM pg_range r \
                   WHERE (to_jsonb(r) ->> 'rngmultitypid')::oid = t.oid) part) \
             SELECT DISTINCT inside.made FROM inside JOIN pg_type t ON t.oid = inside.oid \
             JOIN pg_proc p ON p.oid = t.typinput \
             WHERE t.oid = ANY ($2::oid[]) \
                OR (t.oid >= $3::oid AND t.typtype = 'b' AND t.typelem = 0 AND p.provolatile <> 'i')",
            &[&types, &TIMES.as_slice(), &FIRST_MADE],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// The string that means the present where there are literals of dates or times, if there is one.
pub(super) async fn present(client: &Client, scanned: &Scanned) -> Result<Option<Finding>, Error> {
    if scanned.is_veiled {
        return Ok(Some(refused(
            "a string writes letters as numbers or behind backslashes, and beside dates or times it may mean the present",
            "write its letters as they are",
        )));
    }
    let mut asked = 0;
    for text in &scanned.strings {
        for part in parts(text).filter(|part| has_word(part)) {
            asked += 1;
            if asked > PARTS_MAX || is_time(client, &part).await? {
                return Ok(Some(refused(
                    format!("'{text}' as a date or time means the present"),
                    "leave it out, pass it in the key, or declare proof = \"clock\"; if it is mere text, write it in two \
                     pieces, such as 'tod' || 'ay'",
                )));
            }
        }
    }
    Ok(None)
}

/// What may be a value by itself in the text of a range, an array or a row, without quotes.
fn parts(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split(['(', ')', '[', ']', '{', '}', ',']).map(|part| part.replace(['"', '\'', '\\'], ""))
}

/// Digits and signs end a word as well as blanks do.
fn has_word(text: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_alphabetic())
        .any(|word| WORDS.iter().any(|known| known.eq_ignore_ascii_case(word)))
}

/// Whether the server reads a text as a date or time. `Buy now` it does not, nor does it where it is a literal of one.
async fn is_time(client: &Client, text: &str) -> Result<bool, Error> {
    for of_type in ["timestamptz", "timestamp", "date", "time", "timetz"] {
        client.batch_execute("SAVEPOINT candor_time").await?;
        let sql = format!("SELECT $1::text::pg_catalog.{of_type} IS NULL");
        match client.query_one(&sql, &[&text]).await {
            Ok(_) => return Ok(true),
            Err(error) if error.code().is_some_and(|code| code.code().starts_with("22")) => {
                client.batch_execute("ROLLBACK TO candor_time").await?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_the_present_is_found_wherever_it_may_stand() {
        for (text, found) in [
            ("now", true),
            (" Today 12:00", true),
            ("00:00 today", true),
            ("[today,tomorrow)", true),
            ("{{2026-01-01,\"NOW\"}}", true),
            ("(1,\"[yesterday,)\")", true),
            ("today,", true),
            ("today12:00", true),
            ("{to\\day}", true),
            ("Buy now", true),
            ("nowhere", false),
            ("2026-01-01", false),
            ("infinity", false),
            ("", false),
        ] {
            assert_eq!(parts(text).any(|part| has_word(&part)), found, "{text}");
        }
    }

    #[test]
    fn a_tree_tells_the_types_of_literals_and_of_what_text_becomes() {
        let noted = |tree: &str| {
            let mut types = Types::default();
            types.note(tree);
            (types.literals.into_iter().collect::<Vec<_>>(), types.casts.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(noted("{CONST :consttype 3912 :c} {RELABELTYPE :resulttype 1082 }"), (vec![3912], vec![]));
        assert_eq!(noted("{COERCEVIAIO :arg {} :resulttype 1082 :r}"), (vec![], vec![1082]));
        assert_eq!(noted("{RTE :coltypes (o 1082)}"), (vec![], vec![]));
        assert_eq!(noted("{TABLEFUNC :coltypes (o 25 1082)}"), (vec![], vec![25, 1082]));
        assert_eq!(noted("{JSONEXPR :returning {JSONRETURNING :typid 1114 }"), (vec![], vec![1114]));
    }
}
