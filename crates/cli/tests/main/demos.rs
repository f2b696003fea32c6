//! `demo`: what it prints, and that nothing of it is left behind.

use crate::world::{World, begun, ran};
use std::process::{Command, Stdio};

/// With a temporary folder of the test's own, so that what is left behind is seen.
fn demo(world: &World, args: &[&str]) -> Command {
    let mut command = world.command(&[&["demo", "--products", "5"], args].concat());
    command.env("TMPDIR", world.path().join("tmp"));
    std::fs::create_dir_all(world.path().join("tmp")).unwrap();
    command
}

fn left_behind(world: &World) -> Vec<std::path::PathBuf> {
    std::fs::read_dir(world.path().join("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn an_order_to_stop_leaves_nothing_behind_whenever_it_comes() {
    let world = World::bare();
    for signal in ["TERM", "INT"] {
        let mut measuring = demo(&world, &["--seconds", "600"]).stdout(Stdio::null()).spawn().unwrap();
        while left_behind(&world).iter().all(|folder| !folder.join("shop.db-wal").exists()) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let pid = measuring.id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
        assert_eq!(measuring.wait().unwrap().code(), Some(1), "{signal} while it measures");
        assert!(left_behind(&world).is_empty(), "{signal} while it measures");

        let mut serving = begun(demo(&world, &["--seconds", "1", "--http", "127.0.0.1:0", "--json"]));
        serving.line("http");
        serving.signal(signal);
        assert!(serving.wait().success());
        assert!(left_behind(&world).is_empty(), "{signal} while it serves");
    }
}

#[test]
fn quiet_prints_the_result_and_nothing_else() {
    let world = World::bare();
    let told = ran(demo(&world, &["--seconds", "1", "--no-serve", "--quiet"])).expect(0);
    let told = told.says(&["after 1 s", "false", "Without Candor"]);
    assert!(!told.out.contains("A shop of") && told.err.is_empty(), "{told:#?}");
    ran(demo(&world, &["--seconds", "1", "--no-serve"])).expect(0).says(&["A shop of 5 products"]);
}

#[test]
fn failures_are_json_for_programs() {
    let world = World::bare();
    let exposed = ran(demo(&world, &["--http", "0.0.0.0:0", "--json"])).expect(2).json();
    assert!(exposed["error"]["what"].as_str().unwrap().contains("only listens on loopback"), "{exposed}");
    let mut nowhere = demo(&world, &["--json"]);
    nowhere.env("TMPDIR", world.path().join("candor.toml"));
    let failed = ran(nowhere).expect(70).json();
    assert!(failed["error"]["what"].as_str().unwrap().contains("cannot make the folder"), "{failed}");
}
