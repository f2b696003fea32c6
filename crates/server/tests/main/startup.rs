//! What keeps the server from starting, and what it says.

use crate::world::{VIEWS, World, config, runtime, set_up, shop, start};
use candor_server::{Prepared, StartError};

fn refusal(text: &str, is_set_up: bool) -> String {
    let (dir, _writer) = shop();
    let runtime = runtime();
    if is_set_up {
        set_up(&runtime, &config(&dir, VIEWS));
    }
    match start(&runtime, &config(&dir, text)) {
        Ok(listener) => panic!("it started on {}", listener.address()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn without_setup_it_refuses_and_says_what_to_run() {
    let said = refusal(VIEWS, false);
    assert!(said.contains("candor.toml:") && said.contains("run `candor setup`"), "{said}");
    assert_eq!(said.matches("mend:").count(), 1, "once per source: {said}");
}

#[test]
fn views_on_the_clock_need_no_setup() {
    let (dir, writer) = shop();
    let text = "[source.shop]\nkind = \"sqlite\"\npath = \"shop.db\"\n[server]\nhttp = \"127.0.0.1:0\"\n\
        [view.user]\nowner = \"a\"\nsource = \"shop\"\nkey = [\"id:int8\"]\nproof = \"clock\"\n\
        invalidated_by = [\"users.id=$1\"]\nsql = \"SELECT name FROM users WHERE id = $1\"\n";
    let runtime = runtime();
    let listener = start(&runtime, &config(&dir, text)).unwrap();
    drop((listener, runtime));
    // The whole way, with nothing installed.
    let world = World::over(dir, writer, text, |_, _| {});
    world.ready();
    let first = world.get("/v1/views/user/1");
    assert_eq!((first.status, first.says("proof")), (200, Some("clock")));
    assert_eq!(world.get("/v1/views/user/1").says("from"), Some("l1"));
    world.get("/v1/views/user/2");
    world.write("UPDATE users SET name = 'Eve' WHERE id = 1");
    let told = world.post("/v1/invalidate", r#"{"tags":["users:id=1"]}"#);
    assert_eq!(told.json()["views"], serde_json::json!(["user"]));
    assert_eq!(world.get("/v1/views/user/1").json()["name"], "Eve");
    assert_eq!(world.at("any", "/v1/views/user/2").says("from"), Some("l1"));
    world.post("/v1/invalidate", r#"{"tags":["users"]}"#);
    assert_eq!(world.get("/v1/views/user/2").says("from"), Some("source"));
    world.post("/v1/fence", r#"{"source":"shop"}"#).is_problem(400, "bad-level");
    world.post("/v1/views/user", r#"{"keys":[[1]],"consistency":"snapshot"}"#).is_problem(400, "bad-level");
}

#[test]
fn refused_views_are_all_listed_with_their_places() {
    let bad = VIEWS
        .replace("SELECT id, name, email FROM users", "SELECT id, nme FROM users")
        .replace("SELECT line, place, guest FROM seats", "SELECT line, place, random() AS guest FROM seats");
    let said = refusal(&bad, true);
    assert!(
        said.contains("view `user`: there is no column `nme`") && said.contains("did you mean `name`"),
        "{said}"
    );
    assert!(said.contains("view `seat`: `random` gives another result each time"), "{said}");
    let line = 1 + bad.lines().position(|line| line.contains("nme")).unwrap();
    assert!(said.contains(&format!("candor.toml:{line}:")), "{said}");
}

#[test]
fn a_missing_database_is_named() {
    let said = refusal(&VIEWS.replace("shop.db", "shoe.db"), false);
    assert!(said.contains("the source `shop` cannot be opened") && said.contains("shoe.db"), "{said}");
}

#[test]
fn a_port_that_is_taken_is_named_with_the_mend() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let said = refusal(&format!("{VIEWS}\n[server]\nhttp = \"{address}\"\n"), true);
    assert!(said.contains(&format!("{address} is in use")) && said.contains("[server] http"), "{said}");
}

#[test]
fn an_address_of_another_machine_is_named() {
    let server = "[server]\nhttp = \"192.0.2.1:0\"\nauth = { tokens_file = \"tokens.toml\" }\n";
    let (dir, _writer) = shop();
    std::fs::write(
        dir.path().join("tokens.toml"),
        "[[token]]\nname = \"w\"\ntoken = \"${WEB_TOKEN}\"\nviews = [\"*\"]\n",
    )
    .unwrap();
    let runtime = runtime();
    set_up(&runtime, &config(&dir, VIEWS));
    let error = start(&runtime, &config(&dir, &format!("{VIEWS}\n{server}"))).err().unwrap();
    assert!(
        matches!(error, StartError::Listen(_))
            && error.to_string().contains("not an address of this machine"),
        "{error}"
    );
}

#[test]
fn what_a_source_found_out_can_be_asked_without_starting() {
    let (dir, _writer) = shop();
    let runtime = runtime();
    let config = config(&dir, VIEWS);
    let prepared = runtime.block_on(Prepared::open(&config)).unwrap();
    assert!(prepared.complaints(&config).to_string().contains("candor setup"));
    set_up(&runtime, &config);
    let prepared = runtime.block_on(Prepared::open(&config)).unwrap();
    assert_eq!(prepared.complaints(&config).count(), 0);
    let balance = prepared.views.iter().find(|view| &*view.name == "balance").unwrap();
    assert_eq!(&*balance.derived.reads[0].table, "orders");
}

#[test]
fn it_is_ready_once_the_log_is_followed_and_not_before() {
    let (dir, _writer) = shop();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = config(&dir, VIEWS);
    set_up(&runtime, &config);
    runtime.block_on(async {
        // On one thread nothing is followed before somebody waits.
        let service = Prepared::open(&config).await.unwrap().start(&config).unwrap();
        let unready = service.unready();
        assert_eq!(unready.len(), 1);
        assert_eq!(unready[0].source.as_deref(), Some("shop"));
        assert!(unready[0].why.contains("not followed yet"), "{unready:?}");
        service.followed().await;
        let token = service.fence(service.source("shop").unwrap()).await.unwrap();
        assert!(!token.is_empty() && service.unready().is_empty());
        let view = service.view("user").unwrap();
        let key = view.key(&["1"], None).unwrap();
        let demand = candor_core::Demand { level: candor_core::Level::Session, token: Some(token) };
        let answer = service.read(view, &key, demand).await.unwrap();
        assert!(answer.value().is_some_and(|json| json.as_bytes().starts_with(b"{\"id\":1")));
        assert!(service.close(std::time::Duration::from_secs(5)).await);
        let refused = service.read(view, &key, candor_core::Level::Any.into()).await;
        assert!(matches!(refused, Err(candor::ReadError::ShuttingDown)));
    });
}
