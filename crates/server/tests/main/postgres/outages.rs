//! A server that is not there, lets nobody in, lacks what is needed, or dies while it is read from.

use super::world::{PgWorld, SCHEMA, VIEWS, shop, source, text};
use candor_testbed::{Cluster, Mode, until};

#[test]
fn a_server_that_is_down_at_the_start_is_awaited_and_then_known() {
    let cluster = shop();
    let text = text(&cluster);
    drop(PgWorld::new(&text));
    cluster.stop(Mode::Fast);
    let world = PgWorld::served(&text, false).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(world.get("/healthz").status, 200);
    let unready = world.get("/readyz");
    assert_eq!(unready.status, 503, "{}", unready.text());
    world.get("/v1/views/user/1").is_problem(503, "source-down");
    world.at("strong", "/v1/views/user/1").is_problem(503, "source-down");
    let awaited = || world.metric("candor_view_awaited{view=\"user\"}");
    assert_eq!(awaited(), Some(1.0));
    cluster.start_again();
    world.ready();
    assert_eq!(world.at("strong", "/v1/views/user/1").json()["name"], "user 1");
    until("the views are known", || {
        let views = ["user", "user_or_stale", "orders", "balance"];
        views.iter().all(|view| world.metric(&format!("candor_view_awaited{{view=\"{view}\"}}")) == Some(0.0))
    });
    // What a view depends on is known now, so an invalidation of a table that it does not read leaves it alone.
    let views = world.post("/v1/invalidate", r#"{"tags":["users"]}"#).json()["views"].to_string();
    assert!(views.contains("user") && views.contains("orders") && !views.contains("balance"), "{views}");
}

#[test]
fn a_server_that_dies_while_it_is_read_from_is_what_the_contract_says() {
    let cluster = shop();
    let world = PgWorld::new(&text(&cluster));
    for view in ["user", "user_or_stale"] {
        assert_eq!(world.get(&format!("/v1/views/{view}/1")).status, 200);
    }
    let token = world.post("/v1/fence", r#"{"source":"shop"}"#).session().to_owned();
    cluster.crash();
    until("the loss is noticed", || world.get("/readyz").status == 503);
    world.at("strong", "/v1/views/user/1").is_problem(503, "source-down");
    world.get("/v1/views/user/2").is_problem(503, "source-down");
    // Inside its bound the answer is as good as ever.
    until("the bound is over", || {
        let old = world.get("/v1/views/user_or_stale/1");
        assert_eq!(old.status, 200, "{}", old.text());
        old.says("degraded") == Some("source-down")
    });
    world.at("strong", "/v1/views/user_or_stale/1").is_problem(503, "source-down");
    assert_eq!(world.metric("candor_slot_read{source=\"shop\"}").filter(|read| *read > 1.0), None);
    cluster.start_again();
    world.ready();
    let fresh = world.at("strong", "/v1/views/user/1");
    assert_eq!((fresh.status, fresh.says("proof")), (200, Some("log")), "{}", fresh.text());
    let lost = world.with("/v1/views/user/1", &[("Candor-Session", &token)]);
    lost.is_problem(409, "lost-session");
}

/// What stands in the way, whether it is told at the start or by readiness.
fn hindrance(text: &str) -> String {
    match PgWorld::served(text, false) {
        Err(error) => error.to_string(),
        Ok(world) => {
            let mut told = String::new();
            until("the reason is told", || {
                told = world.get("/readyz").text().to_owned();
                told.contains("cannot be followed")
            });
            // Without a log the source itself answers, if it lets us.
            let strong = world.at("strong", "/v1/views/user/1");
            assert!(strong.status != 200 || strong.says("from") == Some("source"), "{}", strong.text());
            told
        }
    }
}

#[test]
fn what_stands_in_the_way_is_told_in_words_and_without_the_password() {
    let cluster = Cluster::builder().password("right-and-secret").start();
    cluster.psql(SCHEMA);
    cluster.psql("CREATE ROLE reader LOGIN PASSWORD 'reader-secret'; CREATE ROLE blind LOGIN REPLICATION PASSWORD 'blind-secret'");
    cluster.psql("GRANT SELECT ON users, orders TO reader");
    drop(PgWorld::new(&text(&cluster)));
    let by = |role: &str, password: &str| {
        let url = format!("postgres://{role}:{password}@{}/postgres", cluster.address());
        let told = hindrance(&format!("{}{VIEWS}", source(&url)));
        assert!(!told.contains("secret"), "{told}");
        told
    };
    let told = by("postgres", "wrong-secret");
    assert!(told.contains("password") && told.contains("postgres"), "{told}");
    let told = by("reader", "reader-secret");
    assert!(told.contains("REPLICATION") || told.contains("replication"), "{told}");
    let told = by("blind", "blind-secret");
    assert!(told.contains("GRANT SELECT") || told.contains("permission denied"), "{told}");
}

#[test]
fn a_server_that_does_not_log_rows_is_told_in_words() {
    let cluster = Cluster::builder().setting("wal_level", "replica").start();
    cluster.psql(SCHEMA);
    let told = hindrance(&text(&cluster));
    assert!(told.contains("wal_level") || told.contains("candor setup"), "{told}");
}
