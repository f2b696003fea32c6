//! Event triggers that write changes of the schema into the log.
//!
//! The log tells of a table's new shape only with the next change of a row, and of views, policies and functions never.
//! A message in the same transaction arrives in order with everything else. It is optional: event triggers are for
//! superusers, and what runs inside other people's migrations must be wanted.
//!
//! Temporary tables are left out: applications make them all day.

use crate::setup::MARK;
use crate::setup::facts::{Facts, Triggers};
use crate::setup::quote::literal;

/// The prefix of the messages, for whoever reads the log.
pub(crate) const PREFIX: &str = "candor";

/// The event triggers, with what they listen to.
const EVENTS: [(&str, &str); 2] = [("candor_ddl", "ddl_command_end"), ("candor_drop", "sql_drop")];

/// The body. A message is `ddl`, the command, and at most a thousand characters of what it was about. Names of catalogs
/// are written out: the search path is whatever the migration set.
const BODY: &str = "
DECLARE
  about text;
BEGIN
  IF TG_EVENT = 'sql_drop' THEN
    SELECT pg_catalog.string_agg(d.object_identity, ', ') INTO about
      FROM pg_catalog.pg_event_trigger_dropped_objects() d
      WHERE d.original AND NOT d.is_temporary;
  ELSE
    SELECT pg_catalog.string_agg(coalesce(c.object_identity, ''), ', ') INTO about
      FROM pg_catalog.pg_event_trigger_ddl_commands() c
      WHERE c.schema_name IS DISTINCT FROM 'pg_temp'
        AND c.command_tag NOT IN ('REFRESH MATERIALIZED VIEW', 'COMMENT');
  END IF;
  IF about IS NOT NULL THEN
    PERFORM pg_catalog.pg_logical_emit_message(true, 'candor', 'ddl ' || TG_TAG || ' ' || pg_catalog.left(about, 1000));
  END IF;
END
";

impl Triggers {
    /// The statements that make the schema, if it is not there.
    pub(super) fn schema(&self) -> Vec<String> {
        match self.has_schema {
            true => Vec::new(),
            false => {
                vec!["CREATE SCHEMA candor".into(), format!("COMMENT ON SCHEMA candor IS {}", literal(MARK))]
            }
        }
    }
}

/// What is missing. `has_schema` says that statements before these make the schema.
pub(crate) fn statements(facts: &Facts, has_schema: bool) -> Vec<String> {
    let found = &facts.triggers;
    let mut statements = Vec::new();
    if found.function.as_deref() != Some(BODY) {
        if !has_schema {
            statements.extend(found.schema());
        }
        statements.push(format!(
            "CREATE OR REPLACE FUNCTION candor.ddl() RETURNS event_trigger LANGUAGE plpgsql AS $candor${BODY}$candor$"
        ));
    }
    for (trigger, event) in EVENTS {
        match found.events.get(trigger) {
            Some(true) => {}
            // ALWAYS: it fires as well for a session that applies a replica's changes.
            Some(false) => statements.push(format!("ALTER EVENT TRIGGER {trigger} ENABLE ALWAYS")),
            None => {
                statements
                    .push(format!("CREATE EVENT TRIGGER {trigger} ON {event} EXECUTE FUNCTION candor.ddl()"));
                statements.push(format!("ALTER EVENT TRIGGER {trigger} ENABLE ALWAYS"));
            }
        }
    }
    if !statements.is_empty() && !facts.role.is_superuser {
        statements.insert(0, "-- event triggers: a superuser has to run the statements that follow".into());
    }
    statements
}

/// What takes them out.
pub(crate) fn removal(facts: &Facts) -> Vec<String> {
    let found = &facts.triggers;
    let mut statements: Vec<String> = EVENTS
        .iter()
        .filter(|(trigger, _)| found.events.contains_key(*trigger))
        .map(|(trigger, _)| format!("DROP EVENT TRIGGER {trigger}"))
        .collect();
    if found.function.is_some() {
        statements.push("DROP FUNCTION candor.ddl()".into());
    }
    if found.is_schema_ours && !found.is_schema_shared {
        statements.push("DROP SCHEMA candor".into());
    }
    statements
}

/// Whether everything is there and fires.
pub(crate) fn is_installed(facts: &Facts) -> bool {
    facts.triggers.function.is_some()
        && EVENTS.iter().all(|(trigger, _)| facts.triggers.events.get(*trigger) == Some(&true))
}
