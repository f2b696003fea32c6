//! Connections that are cut amid a record.

use super::world::{World, view};
use candor_core::{Rows, ViewQuery};
use candor_testbed::{Cluster, Proxy};

const SCHEMA: &str = "
    CREATE TABLE item (id int8 PRIMARY KEY, price int, about text);
    CREATE TABLE silent (id int8);
    INSERT INTO item SELECT i, 1, repeat('x', 300) FROM generate_series(1, 100) AS i;";

fn views() -> [ViewQuery; 1] {
    [view("item", "SELECT id, price FROM item WHERE id = $1", Rows::One)]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_cut_at_any_byte_lose_nothing_and_prove_nothing_false() {
    let cluster = Cluster::start();
    let proxy = Proxy::to(cluster.address());
    let world = World::through(&proxy, cluster, SCHEMA, &views()).await;
    for (round, bytes) in (0..4_600).step_by(211).enumerate() {
        world.followed().await;
        let (key, other) = (1 + round as i64 % 5, 6 + round as i64 % 5);
        world.warm(0, key).await;
        world.warm(0, other).await;
        let truth = 2 + round as i64;
        proxy.cut_after(bytes);
        // Several rows, so that a cut may fall between two of one transaction.
        world
            .cluster
            .psql(&format!("UPDATE item SET price = {truth} WHERE id IN ({key}, {other}, 50, 51, 52)"));
        assert_eq!(world.price(0, key).await, truth, "cut after {bytes} bytes");
        assert_eq!(world.price(0, other).await, truth, "cut after {bytes} bytes");
    }
    world.followed().await;
    for key in 1..=10 {
        let truth = world.cluster.psql(&format!("SELECT price FROM item WHERE id = {key}"));
        world.warm(0, key).await;
        assert_eq!(world.price(0, key).await.to_string(), truth);
    }
}
