//! Standbys, before and after they take the primary's place.

use super::world::{World, view};
use candor::{FeedStatus, Level, Session};
use candor_core::port::Source;
use candor_core::{KeyValue, Rows, ViewQuery};
use candor_testbed::{Cluster, Proxy};
use std::sync::Arc;

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int);
    INSERT INTO item SELECT i, 1 FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

/// A cache behind a proxy, and a standby that no longer hears of anything.
async fn world_and_deaf_standby() -> (World, Proxy, Cluster) {
    let primary = Cluster::start();
    let proxy = Proxy::to(primary.address());
    let world = World::through(&proxy, primary, SCHEMA, &views()).await;
    let standby = world.cluster.standby("heir");
    standby.catch_up_with(&world.cluster);
    standby.set("primary_conninfo", "");
    candor_testbed::until("the standby is deaf", || {
        standby.psql("SELECT count(*) FROM pg_stat_wal_receiver") == "0"
    });
    (world, proxy, standby)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_is_another_log_and_what_it_never_had_is_forgotten() {
    let (world, proxy, standby) = world_and_deaf_standby().await;
    world.warm(0, 1).await;
    let before = world.log();
    world.cluster.psql("UPDATE item SET price = 2 WHERE id = 1");
    assert_eq!(world.price(0, 1).await, 2);
    world.warm(0, 1).await;
    let token = world.read(Level::Strong, 0, 1).await.session();
    world.cluster.crash();
    standby.promote();
    proxy.point_to(standby.address());
    proxy.cut();
    // The heir has no slot yet; its answers are good all the same, and not kept.
    assert_eq!(world.price(0, 1).await, 1, "the commit is lost");
    world.only_tells(1, 0, 1).await;
    candor_testbed::until(
        "the log is found to be gone",
        || matches!(world.cache().follower().status(), FeedStatus::Down(why) if why.contains("candor setup")),
    );
    assert!(!world.is_ever_kept(0, 1).await);
    world.postgres.setup(&views()).await.expect("setup");
    world.followed().await;
    world.warm(0, 1).await;
    assert_ne!(world.log(), before);
    world.only_tells(1, 0, 1).await;
    let again = world.cache().at(Session(token)).read(&(0, 1), world.loader()).await;
    assert!(again.is_err(), "a token of the lost log proves nothing");
    standby.psql("UPDATE item SET price = 3 WHERE id = 1");
    world.only_tells(3, 0, 1).await;
}

/// Ends everybody's session with a server but the walsenders', which go on telling.
fn ends_all_but_the_streams(cluster: &Cluster) {
    cluster.psql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
    );
}

/// The old primary lives on beside its heir, and the stream with it; what is asked from now on, the heir answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_of_another_server_proves_nothing_about_this_log() {
    let (world, proxy, standby) = world_and_deaf_standby().await;
    // The heir's positions lie far below what the old primary has told.
    world.cluster.psql("SELECT pg_switch_wal(); UPDATE item SET price = 1 WHERE id = 9");
    world.warm(0, 1).await;
    standby.promote();
    proxy.point_to(standby.address());
    ends_all_but_the_streams(&world.cluster);
    standby.psql("UPDATE item SET price = 2 WHERE id = 1");
    world.only_tells(2, 0, 1).await;
    assert!(!world.is_ever_kept(0, 1).await, "the heir has no slot");
}

/// The other way around: the questions stay with the old primary, and a new stream would come from its heir.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_another_server_is_not_the_log_of_the_one_that_is_asked() {
    let (world, proxy, standby) = world_and_deaf_standby().await;
    world.warm(0, 1).await;
    standby.promote();
    standby.psql("SELECT pg_create_logical_replication_slot('candor', 'pgoutput')");
    // The heir's positions lie far above, so that it would prove anything.
    standby.psql("SELECT pg_switch_wal(); UPDATE item SET price = 1 WHERE id = 9");
    proxy.point_to(standby.address());
    world.cluster.psql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
    // Were that stream taken for the old primary's, it would soon prove what is filled from there.
    for _ in 0..100 {
        if world.is_kept(0, 1).await {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    world.cluster.psql("UPDATE item SET price = 2 WHERE id = 1");
    world.only_tells(2, 0, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standbys_answer_is_refused_where_the_log_is_the_proof() {
    let (world, proxy, standby) = world_and_deaf_standby().await;
    world.warm(0, 1).await;
    world.cluster.psql("UPDATE item SET price = 2");
    world.only_tells(2, 0, 1).await;
    proxy.point_to(standby.address());
    proxy.cut();
    for key in [1, 2] {
        for _ in 0..20 {
            let strong = world.try_read(Level::Strong, 0, key).await;
            let value = strong.ok().and_then(|answer| answer.value().map(|json| json.to_string()));
            assert!(value.is_none(), "the standby is behind: {value:?}");
        }
    }
    // It is the answer that is refused, whoever asks and whatever for.
    let keys: Arc<[Box<[KeyValue]>]> = Arc::new([Box::new([KeyValue::Int(3)])]);
    let handle = world.derived[0].handle.expect("prepared");
    let refused = world.postgres.fill(handle, keys).await.expect_err("refused");
    assert!(refused.message.contains("standby"), "{refused:?}");
    let refused = world.postgres.reading(async |_| Ok(())).await.expect_err("refused");
    assert!(refused.message.contains("standby"), "{refused:?}");
    // Nothing about the standby was learnt that would outlive it.
    proxy.point_to(world.cluster.address());
    proxy.cut();
    assert_eq!(world.price(0, 1).await, 2);
    world.followed().await;
    world.warm(0, 2).await;
    world.only_tells(2, 0, 2).await;
}
