//! Several keys at once: how many statements reach the server.

use super::world::{PgWorld, SCHEMA, text};
use candor_testbed::Cluster;

fn calls(cluster: &Cluster) -> u64 {
    let counted = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements \
        WHERE query LIKE '%name FROM users WHERE%' AND query NOT LIKE '%pg_stat_statements%'";
    cluster.psql(counted).parse().unwrap()
}

#[test]
fn a_hundred_keys_that_memory_lacks_are_one_statement_at_every_level() {
    let cluster = Cluster::builder().setting("shared_preload_libraries", "pg_stat_statements").start();
    cluster.psql("CREATE EXTENSION pg_stat_statements");
    cluster.psql(SCHEMA);
    // Where a fill takes long, what lives for 30 s only is renewed early, and that would be counted.
    let world = PgWorld::new(&text(&cluster).replace("[view.user]\n", "[view.user]\nrefresh = \"none\"\n"));
    let token = world.post("/v1/fence", r#"{"source":"shop"}"#).session().to_owned();
    for (at, level) in ["any", "bounded=1s", "session", "strong", "snapshot"].into_iter().enumerate() {
        // Keys that nobody has read yet; of the last ones there is no row.
        let keys: Vec<String> = (0..100).map(|n| format!("[{}]", 1 + at * 45 + n)).collect();
        let body = format!(r#"{{"keys":[{}],"consistency":"{level}","session":"{token}"}}"#, keys.join(","));
        // The pool's first connection asks more than the later ones. Never the same key: what is absent lives for 30 s only,
        // and a refresh of it in the background would be counted with what follows.
        world.at("strong", &format!("/v1/views/user/{}", 900 + at));
        let before = calls(&cluster);
        let reply = world.post("/v1/views/user", &body);
        assert_eq!(reply.status, 200, "{level}: {}", reply.text());
        let told = reply.json();
        let answers = told["answers"].as_array().unwrap();
        assert_eq!(answers.len(), 100);
        for (n, answer) in answers.iter().enumerate() {
            let id = 1 + at * 45 + n;
            let value = if id <= 200 { format!("user {id}").into() } else { serde_json::Value::Null };
            assert_eq!(answer["value"]["name"], value, "{level}: {answer}");
            assert_eq!(answer["receipt"]["proof"], "log", "{level}: {answer}");
        }
        let from: Vec<&str> =
            answers.iter().map(|answer| answer["receipt"]["from"].as_str().unwrap()).collect();
        assert_eq!(
            from.iter().filter(|from| **from == "source").count(),
            if at == 0 { 100 } else { 45 },
            "{level}"
        );
        assert_eq!(calls(&cluster) - before, 1, "{level}");
        let again = world.post("/v1/views/user", &body);
        assert_eq!((again.status, calls(&cluster) - before), (200, 1), "{level}: memory has them now");
    }
    assert!(world.metric("candor_pool_acquired_total{source=\"shop\"}").unwrap() >= 5.0);
}
