//! Which replica identity is chosen.

use super::bench::{Bench, finding, needs};
use crate::setup::SetupOptions;
use crate::status::Severity;

async fn chosen(bench: &Bench, columns: &[&str]) -> Vec<String> {
    let statements = bench.plan(&needs(&[("public.t", columns)]), SetupOptions::default()).await;
    let identities = statements.into_iter().filter(|line| line.starts_with("ALTER TABLE"));
    identities.map(|line| line.replace("ALTER TABLE \"public\".\"t\" REPLICA IDENTITY ", "")).collect()
}

#[tokio::test]
async fn the_cheapest_identity_that_tells_enough_is_chosen() {
    let bench = Bench::start(
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL, b int NOT NULL, c int, UNIQUE (a, b), UNIQUE (c)); \
         CREATE UNIQUE INDEX t_some ON t (b) WHERE a > 0; CREATE UNIQUE INDEX t_sum ON t ((a + b)); \
         CREATE UNIQUE INDEX t_with ON t (a) INCLUDE (b, c)",
    )
    .await;
    assert_eq!(chosen(&bench, &[]).await, Vec::<String>::new());
    assert_eq!(chosen(&bench, &["id"]).await, Vec::<String>::new());
    assert_eq!(chosen(&bench, &["a"]).await, ["USING INDEX \"t_with\""]);
    assert_eq!(chosen(&bench, &["a", "b"]).await, ["USING INDEX \"t_a_b_key\""]);
    // Null may be in it; partial; an expression; not a key column: none of these serves.
    assert_eq!(chosen(&bench, &["c"]).await, ["FULL"]);
    assert_eq!(chosen(&bench, &["b", "id"]).await, ["FULL"]);

    bench.cluster.psql("ALTER TABLE t REPLICA IDENTITY NOTHING");
    assert_eq!(chosen(&bench, &["id"]).await, ["DEFAULT"]);
    bench.cluster.psql("ALTER TABLE t REPLICA IDENTITY FULL");
    assert_eq!(chosen(&bench, &["b", "id"]).await, Vec::<String>::new());
    // An index that was dropped leaves an identity that tells nothing.
    bench.cluster.psql("ALTER TABLE t REPLICA IDENTITY USING INDEX t_with; DROP INDEX t_with");
    assert_eq!(chosen(&bench, &[]).await, ["DEFAULT"]);
}

#[tokio::test]
async fn columns_that_somebody_else_rests_on_stay_in_the_log() {
    let bench = Bench::start(
        "CREATE TABLE t (id int PRIMARY KEY, a int NOT NULL UNIQUE); CREATE PUBLICATION theirs FOR TABLE t",
    )
    .await;
    assert_eq!(chosen(&bench, &["a"]).await, ["FULL"]);
    bench.cluster.psql("DROP PUBLICATION theirs; ALTER TABLE t REPLICA IDENTITY USING INDEX t_a_key");
    assert_eq!(chosen(&bench, &["id"]).await, ["FULL"]);
}

#[tokio::test]
async fn a_new_partition_without_the_identity_of_its_root_is_found_and_mended() {
    let bench = Bench::start(
        "CREATE TABLE t (id int PRIMARY KEY, a int) PARTITION BY RANGE (id); \
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10)",
    )
    .await;
    let needs = needs(&[("public.t", &["a"])]);
    bench.set_up(&needs).await;
    let before = bench.status(&needs).await;
    assert_eq!(finding(&before, "do not inherit").severity, Severity::Note);
    bench.cluster.psql("CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20)");
    let status = bench.status(&needs).await;
    assert!(status.needs_setup && !status.tables[0].is_identity_sufficient);
    let mend = "ALTER TABLE \"public\".\"t2\" REPLICA IDENTITY FULL";
    let found = finding(&status, "old values");
    assert_eq!((found.severity, found.mend.as_str()), (Severity::Risk, mend));
    assert_eq!(bench.set_up(&needs).await, [mend]);
}
