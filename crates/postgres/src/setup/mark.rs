//! The sequence in which the primary's mark is left for standbys.

use crate::setup::MARK;
use crate::setup::facts::Facts;
use crate::setup::quote::literal;

/// What is missing, where a standby is to answer.
pub(super) fn statements(facts: &Facts) -> Vec<String> {
    if facts.triggers.has_mark {
        return Vec::new();
    }
    let mut statements = facts.triggers.schema();
    statements.push("CREATE SEQUENCE candor.mark".into());
    statements.push(format!("COMMENT ON SEQUENCE candor.mark IS {}", literal(MARK)));
    statements
}

/// What takes it out.
pub(super) fn removal(facts: &Facts) -> Option<String> {
    facts.triggers.is_mark_ours.then(|| "DROP SEQUENCE candor.mark".into())
}
