//! The statement by which a writer in any language takes a session token, as the documentation prints it.

use super::bench::{Bench, connect};
use candor_testbed::{Cluster, until};
use std::process::Command;

fn statement() -> &'static str {
    let page = include_str!("../../../../../docs/postgres.md");
    page.split("<!-- token -->\n```sql\n").nth(1).unwrap().split("```").next().unwrap()
}

/// The parts of a token taken by a role that may only log in.
async fn token(cluster: &Cluster) -> Vec<String> {
    let client = connect(cluster, "plain").await;
    let token: String = client.query_one(statement(), &[]).await.unwrap().get(0);
    token.split('.').map(str::to_owned).collect()
}

#[tokio::test]
async fn a_plain_role_takes_a_session_token_with_one_statement() {
    let bench = Bench::start("CREATE ROLE plain LOGIN").await;
    let parts = token(&bench.cluster).await;
    assert_eq!((parts.len(), parts[0].as_str(), parts[2].as_str()), (7, "pg1", "00000001"), "{parts:?}");
    assert_eq!(parts[6], "706f737467726573");
    assert!(parts[5].parse::<u64>().unwrap() > 0);
}

// The helpers block, and the client has to notice meanwhile that its session died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_that_the_server_recovers_from_by_itself_begins_another_log() {
    let bench = Bench::start("CREATE ROLE plain LOGIN").await;
    let before = token(&bench.cluster).await;
    let victim = bench.client.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0);
    assert!(Command::new("kill").args(["-9", &victim.to_string()]).status().unwrap().success());
    until("the server has recovered", || {
        bench.client.is_closed() && bench.cluster.try_psql("SELECT 1").is_ok()
    });
    let after = token(&bench.cluster).await;
    assert_eq!(before[..4], after[..4], "the cluster, the timeline and the server's start stay");
    assert_ne!(before[4], after[4], "the recovery tells");

    // An orderly restart is told by the start alone.
    bench.cluster.restart();
    let restarted = token(&bench.cluster).await;
    assert!(restarted[3] != after[3] && restarted[4] == after[4], "{after:?} {restarted:?}");
}
