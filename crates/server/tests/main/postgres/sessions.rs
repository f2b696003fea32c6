//! Session tokens that a writer takes by SQL alone, with the statement that stands in docs/postgres.md.

use super::world::{PgWorld, SCHEMA, VIEWS, shop, source, text};
use crate::world::Reply;
use candor_testbed::{Cluster, Proxy};

/// The statement, as the page prints it.
fn statement() -> &'static str {
    let page = include_str!("../../../../../docs/postgres.md");
    page.split("<!-- token -->\n```sql\n").nth(1).unwrap().split("```").next().unwrap()
}

fn token(cluster: &Cluster, database: &str) -> String {
    cluster.psql_in(database, statement())
}

fn read(world: &PgWorld, level: &str, token: &str, path: &str) -> Reply {
    world.with(path, &[("Candor-Consistency", level), ("Candor-Session", token)])
}

#[test]
fn a_writer_without_candor_reads_its_own_write_by_the_statement_of_the_page() {
    let cluster = shop();
    // The log comes by a way of its own, which can be held up.
    let proxy = Proxy::to(cluster.address());
    let log = cluster.url_through(proxy.address(), "postgres");
    let world = PgWorld::new(&format!("{}\n[feed.shop]\nurl = \"{log}\"\n", text(&cluster)));
    for round in 0..3 {
        assert_eq!(world.at("strong", "/v1/views/user/1").status, 200);
        proxy.freeze();
        let name = format!("written {round}");
        // One process writes and commits, the next asks for the token: nothing but the text travels.
        cluster.psql(&format!("UPDATE users SET name = '{name}' WHERE id = 1"));
        let token = token(&cluster, "postgres");
        let old = world.at("any", "/v1/views/user/1");
        assert_ne!(old.json()["name"], *name, "nobody can know of the write yet: {}", old.receipt());
        let own = read(&world, "any", &token, "/v1/views/user/1");
        assert_eq!((own.status, &own.json()["name"]), (200, &name.clone().into()), "{}", own.text());
        proxy.thaw();
        world.ready();
        let own = read(&world, "session", &token, "/v1/views/user/1");
        assert_eq!(own.json()["name"], *name, "{}", own.receipt());
        let next = read(&world, "session", own.session(), "/v1/views/user/1");
        assert_eq!(
            next.json()["name"],
            *name,
            "the token that is given back is Candor's own: {}",
            own.session()
        );
        let body = format!(r#"{{"keys":[[1],[2]],"consistency":"session","session":"{token}"}}"#);
        assert_eq!(world.post("/v1/views/user", &body).json()["answers"][0]["value"]["name"], *name);
    }
}

#[test]
fn tokens_of_two_databases_travel_together() {
    let cluster = shop();
    cluster.psql("CREATE DATABASE stock");
    cluster.psql_in("stock", SCHEMA);
    let stock = "[source.stock]\nkind = \"postgres\"\nurl = \"URL\"\n[feed.stock]\nslot = \"stock\"\n\
        [view.item]\nowner = \"o\"\nsource = \"stock\"\nkey = [\"id:int8\"]\nsql = \"SELECT name FROM users WHERE id = $1\"\n";
    let world = PgWorld::new(&format!("{}\n{}", text(&cluster), stock.replace("URL", &cluster.url("stock"))));
    let (shop, stock) = (token(&cluster, "postgres"), token(&cluster, "stock"));
    let both = format!("{shop}, {stock}");
    for path in ["/v1/views/user/1", "/v1/views/item/1"] {
        let reply = read(&world, "session", &both, path);
        assert_eq!(reply.status, 200, "{}", reply.text());
        let session = candor_core::SessionToken::decode(reply.session(), None).unwrap();
        assert_eq!(session.positions().len(), 2, "what one read is told, the next keeps to");
        assert_eq!(read(&world, "session", reply.session(), "/v1/views/item/2").status, 200);
    }
    // Of each part the read keeps what concerns it: a position the other source never reached does not.
    let (log, at) = stock.rsplit_once('.').and_then(|(rest, _)| rest.rsplit_once('.')).unwrap();
    let far = stock.replace(&format!("{log}.{at}."), &format!("{log}.{}.", u64::MAX));
    assert_eq!(read(&world, "session", &format!("{shop},{far}"), "/v1/views/user/1").status, 200);
    read(&world, "session", &format!("{shop},{far}"), "/v1/views/item/1").is_problem(409, "lost-session");
}

#[test]
fn a_token_that_nothing_stands_behind_proves_nothing_and_holds_nobody_up() {
    let cluster = shop();
    cluster.psql("CREATE DATABASE other");
    let world = PgWorld::new(&text(&cluster));
    world.get("/v1/views/user/1");
    let whole = token(&cluster, "postgres");
    let bend = |part: usize, text: &str| {
        let mut parts: Vec<&str> = whole.split('.').collect();
        parts[part] = text;
        parts.join(".")
    };
    // Far in the future: the source itself says that it is not there yet. No wait, no answer, also for several keys.
    for at in ["18446744073709551615", "9223372036854775807", "99999999999999"] {
        let forged = bend(5, at);
        for level in ["session", "any", "strong", "bounded=1h"] {
            read(&world, level, &forged, "/v1/views/user/1").is_problem(409, "lost-session");
            read(&world, level, &forged, "/v1/views/user/199").is_problem(409, "lost-session");
        }
        let body = format!(r#"{{"keys":[[1],[2]],"session":"{forged}"}}"#);
        world.post("/v1/views/user", &body).is_problem(409, "lost-session");
    }
    // Of a log that is not followed here.
    for foreign in [bend(1, "7"), bend(2, "000000FF"), bend(3, "1"), bend(4, "1"), token(&cluster, "other")] {
        read(&world, "session", &foreign, "/v1/views/user/1").is_problem(409, "lost-session");
    }
    for garbage in
        ["pg1", "pg1.", &whole[..whole.len() - 1], &bend(5, "1e9"), &bend(5, "-1"), "pg2.1.2.3.4.5.6"]
    {
        let refused = read(&world, "any", garbage, "/v1/views/user/1");
        refused.is_problem(400, "bad-session");
    }
    let refused = read(&world, "any", &bend(2, "x"), "/v1/views/user/1");
    assert!(refused.detail().contains("timeline"), "{}", refused.text());
    // A new start of the server is a new log.
    cluster.restart();
    world.ready();
    read(&world, "session", &whole, "/v1/views/user/1").is_problem(409, "lost-session");
    assert_eq!(read(&world, "session", &token(&cluster, "postgres"), "/v1/views/user/1").status, 200);
}

#[test]
fn a_service_that_signs_its_tokens_takes_those_by_sql_only_if_told_to() {
    let cluster = shop();
    let server = "[server]\nhttp = \"127.0.0.1:0\"\nsession_secret = \"${SECRET}\"\n";
    let of = |more: &str| format!("{}{VIEWS}{server}{more}", source(&cluster.url("postgres")));
    let token = || token(&cluster, "postgres");
    {
        let world = PgWorld::new(&of(""));
        let refused = read(&world, "session", &token(), "/v1/views/user/1");
        refused.is_problem(400, "bad-session");
        assert!(refused.json()["mend"].as_str().unwrap().contains("sessions_from_sql"), "{}", refused.text());
    }
    let world = PgWorld::new(&of("sessions_from_sql = true\n"));
    let reply = read(&world, "session", &token(), "/v1/views/user/1");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(read(&world, "session", reply.session(), "/v1/views/user/1").status, 200);
    let mut bent = reply.session().to_owned();
    bent.replace_range(10..11, if &bent[10..11] == "A" { "B" } else { "A" });
    read(&world, "session", &bent, "/v1/views/user/1").is_problem(400, "bad-session");
}
