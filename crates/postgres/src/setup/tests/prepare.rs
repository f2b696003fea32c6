//! Setting up: the difference alone, in an order that harms nobody.

use super::bench::{Bench, broken, needs};
use crate::setup::{self, SetupOptions};

/// Tables of every sort, with `v` to be changed.
const SHOP: &str = r#"
CREATE TABLE keyed (id int PRIMARY KEY, v int);
CREATE TABLE keyless (id int, v int);
CREATE TABLE indexed (id int, code text NOT NULL UNIQUE, v int);
CREATE TABLE deferred (id int PRIMARY KEY DEFERRABLE, v int);
CREATE TABLE silent (id int PRIMARY KEY, v int);
ALTER TABLE silent REPLICA IDENTITY NOTHING;
CREATE TABLE parted (id int, region text, v int) PARTITION BY LIST (region);
CREATE TABLE parted_eu PARTITION OF parted FOR VALUES IN ('eu');
CREATE TABLE parted_us PARTITION OF parted FOR VALUES IN ('us') PARTITION BY RANGE (id);
CREATE TABLE parted_us_1 PARTITION OF parted_us FOR VALUES FROM (0) TO (100);
CREATE TABLE parent (id int, v int);
CREATE TABLE child () INHERITS (parent);
CREATE SCHEMA "Odd ""one""";
CREATE TABLE "Odd ""one"""."select" (id int, "Group" text NOT NULL, v int);
CREATE UNIQUE INDEX "the ""index""" ON "Odd ""one"""."select" ("Group");
"#;

const TABLES: &[(&str, &[&str])] = &[
    ("public.keyed", &["id"]),
    ("public.keyless", &["id"]),
    ("public.indexed", &["code"]),
    ("public.deferred", &[]),
    ("public.silent", &["id"]),
    ("public.parted", &["id"]),
    ("public.parent", &[]),
    ("Odd \"one\".select", &["Group"]),
];

const ROWS: &str = r#"
INSERT INTO keyed VALUES (1, 0); INSERT INTO keyless VALUES (1, 0); INSERT INTO indexed VALUES (1, 'a', 0);
INSERT INTO deferred VALUES (1, 0); INSERT INTO silent VALUES (1, 0); INSERT INTO parent VALUES (1, 0);
INSERT INTO child VALUES (2, 0); INSERT INTO parted VALUES (1, 'eu', 0), (1, 'us', 0);
INSERT INTO "Odd ""one"""."select" VALUES (1, 'g', 0);
"#;

const CHANGES: &str = r#"
UPDATE keyed SET v = v + 1; UPDATE keyless SET v = v + 1; UPDATE indexed SET v = v + 1; UPDATE deferred SET v = v + 1;
UPDATE silent SET v = v + 1; UPDATE parent SET v = v + 1; UPDATE parted SET v = v + 1;
UPDATE "Odd ""one"""."select" SET v = v + 1;
DELETE FROM keyed; DELETE FROM keyless; DELETE FROM indexed; DELETE FROM deferred; DELETE FROM silent;
DELETE FROM parent; DELETE FROM parted; DELETE FROM "Odd ""one"""."select";
"#;

#[tokio::test]
async fn setting_up_again_changes_nothing() {
    let bench = Bench::start(SHOP).await;
    let needs = needs(TABLES);
    assert!(bench.status(&needs).await.needs_setup);
    let options = SetupOptions { event_trigger: true, ..SetupOptions::default() };
    let statements = bench.plan(&needs, options).await;
    assert_eq!(bench.apply(&statements).await.unwrap(), statements);
    assert_eq!(bench.plan(&needs, options).await, Vec::<String>::new());
    let status = bench.status(&needs).await;
    assert!(!status.needs_setup && status.has_event_trigger, "{status:#?}");
    assert_eq!(broken(&status), Vec::<&crate::status::Finding>::new());
    assert!(status.tables.iter().all(|table| table.is_published && table.is_identity_sufficient));
    assert_eq!(status.tables.len(), TABLES.len());
}

#[tokio::test]
async fn what_the_application_writes_never_fails_between_two_statements_of_a_plan() {
    let bench = Bench::start(SHOP).await;
    let write = |after: &str| {
        bench.cluster.psql(ROWS);
        let written = bench.cluster.try_psql(CHANGES);
        assert!(written.is_ok(), "after {after}: {written:?}");
    };
    write("nothing");
    let needs = needs(TABLES);
    for statement in bench.plan(&needs, SetupOptions { event_trigger: true, ..SetupOptions::default() }).await
    {
        bench.apply(std::slice::from_ref(&statement)).await.unwrap();
        write(&statement);
    }
    for statement in setup::removal(&bench.facts(&needs).await) {
        bench.apply(std::slice::from_ref(&statement)).await.unwrap();
        write(&statement);
    }
}

#[tokio::test]
async fn a_table_whose_updates_would_fail_stays_out_when_identities_may_not_be_set() {
    let bench = Bench::start(SHOP).await;
    let needs = needs(TABLES);
    let options = SetupOptions { replica_identity: false, ..SetupOptions::default() };
    let statements = bench.plan(&needs, options).await;
    assert!(
        statements.iter().any(|line| line.starts_with("-- left out: \"public\".\"keyless\"")),
        "{statements:?}"
    );
    assert!(!statements.iter().any(|line| line.contains("REPLICA IDENTITY")), "{statements:?}");
    bench.apply(&statements).await.unwrap();
    bench.cluster.psql(ROWS);
    bench.cluster.psql(CHANGES);
    assert_eq!(bench.cluster.psql("SELECT string_agg(tablename, ',') FROM pg_publication_tables"), "keyed");
}

#[tokio::test]
async fn a_table_no_view_reads_leaves_only_a_publication_that_is_ours() {
    let bench = Bench::start(SHOP).await;
    let (both, one) =
        (needs(&[("public.keyed", &[]), ("public.parent", &[])]), needs(&[("public.keyed", &[])]));
    let count = || bench.cluster.psql("SELECT count(*) FROM pg_publication_tables");
    bench.set_up(&both).await;
    assert_eq!(count(), "3");
    let narrowed = bench.set_up(&one).await;
    assert_eq!(count(), "1");
    assert_eq!(narrowed.len(), 1, "{narrowed:?}");
    bench.set_up(&both).await;
    bench.cluster.psql("COMMENT ON PUBLICATION candor IS NULL");
    assert_eq!(bench.set_up(&one).await, Vec::<String>::new());
    assert_eq!(count(), "3");
}

#[tokio::test]
async fn a_filter_on_our_publication_is_taken_away_at_once_and_on_another_it_is_told() {
    let bench = Bench::start(SHOP).await;
    let needs = needs(&[("public.keyed", &[]), ("public.silent", &[])]);
    bench.set_up(&needs).await;
    bench.cluster.psql("ALTER PUBLICATION candor SET TABLE keyed WHERE (id > 5), silent (id)");
    assert_eq!(broken(&bench.status(&needs).await).len(), 2);
    let statements = bench.set_up(&needs).await;
    assert_eq!(
        statements,
        ["ALTER PUBLICATION \"candor\" SET TABLE \"public\".\"keyed\", \"public\".\"silent\""]
    );
    assert_eq!(bench.plan(&needs, SetupOptions::default()).await, Vec::<String>::new());

    bench.cluster.psql("ALTER PUBLICATION candor SET TABLE keyed WHERE (id > 5), silent; COMMENT ON PUBLICATION candor IS NULL");
    let statements = bench.set_up(&needs).await;
    assert!(statements.len() == 1 && statements[0].starts_with("-- publication"), "{statements:?}");
    assert_eq!(broken(&bench.status(&needs).await).len(), 1);
}

#[tokio::test]
async fn a_publication_that_publishes_too_little_is_widened_if_it_is_ours() {
    let bench = Bench::start(SHOP).await;
    let needs = needs(&[("public.keyed", &[])]);
    bench.cluster.psql("CREATE PUBLICATION candor FOR TABLE keyed WITH (publish = 'insert')");
    let statements = bench.set_up(&needs).await;
    assert!(statements[0].starts_with("-- publication"), "{statements:?}");
    assert_eq!(broken(&bench.status(&needs).await).len(), 1);
    bench.cluster.psql(&format!("COMMENT ON PUBLICATION candor IS '{}'", setup::MARK));
    bench.set_up(&needs).await;
    assert_eq!(broken(&bench.status(&needs).await).len(), 0);
    assert_eq!(bench.plan(&needs, SetupOptions::default()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_table_that_inherits_later_is_added_for_its_parent_reads_it() {
    let bench = Bench::start(SHOP).await;
    let needs = needs(&[("public.parent", &[])]);
    bench.set_up(&needs).await;
    bench.cluster.psql("CREATE TABLE late () INHERITS (parent)");
    assert_eq!(broken(&bench.status(&needs).await).len(), 1);
    let statements = bench.set_up(&needs).await;
    assert_eq!(
        statements,
        [
            "ALTER TABLE \"public\".\"late\" REPLICA IDENTITY FULL",
            "ALTER PUBLICATION \"candor\" ADD TABLE ONLY \"public\".\"late\"",
        ]
    );
    assert_eq!(bench.plan(&needs, SetupOptions::default()).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_publication_of_a_schema_or_of_everything_holds_its_tables() {
    let bench = Bench::start(SHOP).await;
    let needs = needs(&[("public.keyed", &[]), ("public.parted", &[]), ("public.parent", &[])]);
    for all in ["FOR TABLES IN SCHEMA public", "FOR ALL TABLES"] {
        let with = "WITH (publish_via_partition_root = true)";
        bench
            .cluster
            .psql(&format!("DROP PUBLICATION IF EXISTS candor; CREATE PUBLICATION candor {all} {with}"));
        bench.set_up(&needs).await;
        assert_eq!(broken(&bench.status(&needs).await).len(), 0);
        assert_eq!(bench.plan(&needs, SetupOptions::default()).await, Vec::<String>::new());
    }
}
