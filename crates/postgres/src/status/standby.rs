//! Whether a standby can answer for its primary, and what is missing. Missing things are risks: the primary answers.

use super::{Finding, Severity};
use crate::fault;
use crate::identity::Identity;
use crate::log::grants;
use crate::pool::{Conn, Pool};
use crate::setup::name;
use candor_core::port::SourceError;

/// What the standby says of itself: the timeline it receives, whether statistics may be read, and whether the mark is there,
/// may be read, and may be written.
const SQL: &str = "
SELECT (SELECT received_tli FROM pg_stat_wal_receiver)::int8, pg_has_role('pg_read_all_stats', 'USAGE'), s.oid IS NOT NULL,
       coalesce(has_schema_privilege(to_regnamespace('candor')::oid, 'USAGE')
         AND has_sequence_privilege(s.oid, 'SELECT') AND has_sequence_privilege(s.oid, 'UPDATE'), false)
FROM (SELECT) AS one LEFT JOIN pg_class s ON s.oid = (
  SELECT c.oid FROM pg_class c WHERE c.relnamespace = to_regnamespace('candor') AND c.relname = 'mark' AND c.relkind = 'S')";

/// Asks the standby behind a pool.
pub(crate) async fn findings(pool: &Pool, primary: &Identity) -> Vec<Finding> {
    match asked(pool, primary).await {
        Ok(found) => found,
        Err(error) => vec![risk(
            format!("the standby cannot be asked, so the primary answers: {}", error.message),
            "mend the standby, or take `standby` out of the source",
        )],
    }
}

async fn asked(pool: &Pool, primary: &Identity) -> Result<Vec<Finding>, SourceError> {
    let mut held = pool.acquire().await?;
    held.busy();
    let (identity, in_recovery) = Conn::identity(&held).await?;
    let doing = |error: tokio_postgres::Error| fault::of("asking the standby", &error);
    let row = held.client.query_typed_one(SQL, &[]).await.map_err(doing)?;
    let timeline: Option<i64> = row.try_get(0).map_err(doing)?;
    let flag = |column: usize| row.try_get::<_, bool>(column).map_err(doing);
    let (may_know, has_mark, may_mark) = (flag(1)?, flag(2)?, flag(3)?);
    held.settled();
    let role = name(&pool.options().connect.user);
    let mut found = Vec::new();
    if !in_recovery {
        found.push(risk(
            "the server named as the standby is not one: the primary answers",
            "name a hot standby of the primary in `standby`",
        ));
    } else if identity.system != primary.system {
        found.push(risk(
            "the server named as the standby is a standby of another server: the primary answers",
            "name a hot standby of the primary in `standby`",
        ));
    }
    if !has_mark {
        found.push(risk(
            "the standby shows no place for the primary's mark: the primary answers",
            "run `candor setup`; if that was done, see whether the standby is far behind",
        ));
    } else if !may_mark {
        found.push(risk(
            format!("role {role} may not leave or read the primary's mark: the primary answers"),
            format!("on the primary: {}", grants(&pool.options().connect.user)),
        ));
    }
    match timeline {
        _ if !in_recovery => {}
        None if !may_know => found.push(risk(
            format!("role {role} may not know which timeline the standby receives: the primary answers"),
            format!("on the primary: GRANT pg_read_all_stats TO {role}"),
        )),
        None => found.push(risk(
            "the standby receives nothing from anybody: the primary answers",
            "look at primary_conninfo and the log of the standby",
        )),
        Some(timeline) if timeline != i64::from(primary.timeline) => found.push(risk(
            format!(
                "the standby receives timeline {timeline}, the primary writes {}: the primary answers",
                primary.timeline
            ),
            "let it follow this primary, or name another standby",
        )),
        Some(_) => {}
    }
    Ok(found)
}

fn risk(what: impl Into<String>, mend: impl Into<String>) -> Finding {
    Finding { severity: Severity::Risk, what: what.into(), mend: mend.into() }
}
