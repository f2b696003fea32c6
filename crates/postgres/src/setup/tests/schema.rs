//! The event triggers: what they write into the log, and what they keep out of it.

use super::bench::{Bench, needs};
use crate::setup::SetupOptions;

const EVENTS: SetupOptions = SetupOptions { event_trigger: true, replica_identity: true, standby: false };

/// The messages since the last call, without those of setup itself.
fn messages(bench: &Bench) -> Vec<String> {
    let sql = "SELECT substr(encode(data, 'escape'), strpos(encode(data, 'escape'), 'ddl ')) FROM \
        pg_logical_slot_get_binary_changes('candor', NULL, NULL, 'proto_version', '1', 'publication_names', 'candor', \
        'messages', 'true') WHERE get_byte(data, 0) = ascii('M')";
    bench.cluster.psql(sql).lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn changes_of_the_schema_are_in_the_log_and_temporary_tables_are_not() {
    let bench = Bench::start(
        "CREATE TABLE t (id int PRIMARY KEY); CREATE ROLE app LOGIN; GRANT CREATE ON SCHEMA public TO app",
    )
    .await;
    let needs = needs(&[("public.t", &["id"])]);
    bench.apply(&bench.plan(&needs, EVENTS).await).await.unwrap();
    assert_eq!(messages(&bench), Vec::<String>::new());
    // Whoever changes the schema, under whatever search path.
    bench.cluster.psql(
        "ALTER TABLE t ADD COLUMN a int; ALTER TABLE t DROP COLUMN a; SET ROLE app; SET search_path = ''; \
         CREATE TABLE public.mine (id int); DROP TABLE public.mine",
    );
    assert_eq!(
        messages(&bench),
        [
            "ddl ALTER TABLE public.t",
            "ddl ALTER TABLE public.t.a",
            "ddl ALTER TABLE public.t",
            "ddl CREATE TABLE public.mine",
            "ddl DROP TABLE public.mine",
        ]
    );
    bench.cluster.psql(
        "CREATE TEMP TABLE x (id serial PRIMARY KEY); ALTER TABLE x ADD COLUMN a int; DROP TABLE x; \
         CREATE TEMP TABLE y AS SELECT 1; COMMENT ON TABLE t IS 'x'",
    );
    assert_eq!(messages(&bench), Vec::<String>::new());
    bench
        .cluster
        .psql("CREATE MATERIALIZED VIEW m AS SELECT 1; BEGIN; ALTER TABLE t ADD COLUMN b int; ROLLBACK");
    assert_eq!(messages(&bench), ["ddl CREATE MATERIALIZED VIEW public.m"]);
    bench.cluster.psql("REFRESH MATERIALIZED VIEW m");
    assert_eq!(messages(&bench), Vec::<String>::new());
}

#[tokio::test]
async fn event_triggers_that_were_changed_or_switched_off_are_mended() {
    let bench = Bench::start("CREATE TABLE t (id int PRIMARY KEY)").await;
    let needs = needs(&[("public.t", &["id"])]);
    bench.apply(&bench.plan(&needs, EVENTS).await).await.unwrap();
    bench.cluster.psql(
        "ALTER EVENT TRIGGER candor_ddl DISABLE; DROP EVENT TRIGGER candor_drop; \
         CREATE OR REPLACE FUNCTION candor.ddl() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'",
    );
    assert!(!bench.status(&needs).await.has_event_trigger);
    assert_eq!(bench.plan(&needs, EVENTS).await.len(), 4);
    bench.apply(&bench.plan(&needs, EVENTS).await).await.unwrap();
    assert_eq!(bench.plan(&needs, EVENTS).await, Vec::<String>::new());
    assert!(bench.status(&needs).await.has_event_trigger);
}
