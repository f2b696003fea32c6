//! Session tokens: what a writer and a reader carry, and what becomes of broken, foreign and forged ones.

use crate::world::World;
use candor_core::{Epoch, LogId, Position, SessionToken};

fn fence(world: &World) -> String {
    let reply = world.post("/v1/fence", r#"{"source":"shop"}"#);
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json()["session"], reply.session());
    reply.session().to_owned()
}

fn read(world: &World, token: &str, path: &str) -> crate::world::Reply {
    world.ask("GET", path, &[("Candor-Consistency", "session"), ("Candor-Session", token)], "")
}

#[test]
fn a_writer_reads_its_own_writes_and_nobody_goes_back() {
    let world = World::new();
    world.get("/v1/views/user/1");
    world.get("/v1/views/user/2");
    let mut token = fence(&world);
    for round in 0..20 {
        world.write(&format!("UPDATE users SET name = 'w{round}' WHERE id IN (1, 2)"));
        token = fence(&world);
        let reply = read(&world, &token, "/v1/views/user/1");
        assert_eq!(reply.json()["name"], format!("w{round}"), "{}", reply.receipt());
        // What one key showed, the next does not go behind; and the token is honoured at every level.
        let headers = [("Candor-Consistency", "any"), ("Candor-Session", reply.session())];
        let other = world.ask("GET", "/v1/views/user/2", &headers, "");
        assert_eq!(other.json()["name"], format!("w{round}"), "{}", other.receipt());
        assert!(other.header("cache-control").unwrap().starts_with("private"), "{other:?}");
    }
    // A token sent twice in a row is still good, also for what is absent.
    read(&world, &token, "/v1/views/user/77").is_problem(404, "absent");
}

#[test]
fn broken_and_missing_tokens_are_refused() {
    let world = World::new();
    for token in ["", "x", "AQAA", "not base64 at all", &"A".repeat(4000)] {
        let token = if token.is_empty() { "%" } else { token };
        read(&world, token, "/v1/views/user/1").is_problem(400, "bad-session");
    }
    world.at("session", "/v1/views/user/1").is_problem(400, "bad-session");
    let mut bent = fence(&world);
    bent.replace_range(10..11, if &bent[10..11] == "A" { "B" } else { "A" });
    read(&world, &bent, "/v1/views/user/1").is_problem(400, "bad-session");
}

#[test]
fn tokens_of_another_log_or_ahead_of_the_source_are_a_conflict() {
    let world = World::new();
    let foreign = Position { epoch: Epoch { log: LogId(42), era: 0 }, at: 1 };
    let foreign = SessionToken::at(foreign).encode(None);
    read(&world, &foreign, "/v1/views/user/1").is_problem(409, "lost-session");
    let own = SessionToken::decode(&fence(&world), None).unwrap().positions()[0];
    let ahead = SessionToken::at(Position { at: own.at + 1000, ..own }).encode(None);
    read(&world, &ahead, "/v1/views/user/1").is_problem(409, "lost-session");
    let many = world
        .post("/v1/views/user", &format!(r#"{{"keys":[[1]],"consistency":"snapshot","session":"{ahead}"}}"#));
    many.is_problem(409, "lost-session");
}

#[test]
fn with_a_secret_a_forged_token_is_refused() {
    let world = World::with("[server]\nhttp = \"127.0.0.1:0\"\nsession_secret = \"${SECRET}\"\n");
    let token = fence(&world);
    assert_eq!(read(&world, &token, "/v1/views/user/1").status, 200);
    let own = SessionToken::at(Position { epoch: Epoch { log: LogId(1), era: 0 }, at: 1 });
    read(&world, &own.encode(None), "/v1/views/user/1").is_problem(400, "bad-session");
    let other = candor_core::TokenSecret::new(b"another sixteen bytes").unwrap();
    read(&world, &own.encode(Some(&other)), "/v1/views/user/1").is_problem(400, "bad-session");
}

#[test]
fn a_fence_needs_a_source_that_exists() {
    let world = World::new();
    world.post("/v1/fence", r#"{"source":"shoe"}"#).is_problem(404, "unknown-source");
    world.post("/v1/fence", r#"{"sauce":"shop"}"#).is_problem(400, "bad-request");
    world.post("/v1/fence", "{}").is_problem(400, "bad-request");
}

#[test]
fn a_restored_backup_voids_every_token() {
    let world = World::new();
    let backup = world.dir.path().join("backup.db");
    world.write(&format!("VACUUM INTO '{}'", backup.display()));
    world.write("UPDATE users SET name = 'lost' WHERE id = 1");
    let token = fence(&world);
    assert_eq!(read(&world, &token, "/v1/views/user/1").json()["name"], "lost");
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(world.dir.path().join(format!("shop.db{suffix}")));
    }
    std::fs::rename(&backup, world.database()).unwrap();
    world.until("the token to be refused", || {
        let reply = read(&world, &token, "/v1/views/user/1");
        // Until it is noticed, memory holds what the token's holder saw; nothing older is ever shown.
        assert!(reply.status != 200 || reply.json()["name"] == "lost", "{}", reply.text());
        reply.status == 409
    });
    assert_eq!(world.at("strong", "/v1/views/user/1").json()["name"], "Ada");
}
