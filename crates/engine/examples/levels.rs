//! One source, one cache, every level; and a function that no hint can reach.

use candor::testing::MemorySource;
use candor::{Answer, Any, Bounded, Cache, ReadError, Session, Strong};
use std::time::Duration;

/// Only a strong answer will do, and the compiler sees to it.
fn withdraw(balance: &Answer<i64, Strong>, amount: i64) -> Option<i64> {
    balance.value().map(|held| held - amount).filter(|left| *left >= 0)
}

#[tokio::main(flavor = "current_thread")]
#[expect(clippy::print_stdout, reason = "an example shows what it got")]
async fn main() -> Result<(), ReadError> {
    let source = MemorySource::<&str, i64>::new();
    source.commit([("ada", Some(100)), ("grace", Some(250))]);
    let cache = Cache::builder().log(source.log()).build();
    cache.follower().following().await;
    let balances = cache.bind(source.reader());

    let certain = balances.at(Strong).read(&"ada").await?;
    println!("strong:   {:?}  {}", withdraw(&certain, 30), certain.receipt());

    source.commit([("ada", Some(70))]);
    let session = Session(cache.fence().await?);
    println!("session:  {}", balances.at(session).read(&"ada").await?.receipt());
    println!("bounded:  {}", balances.at(Bounded(Duration::from_secs(1))).read(&"ada").await?.receipt());
    println!("any:      {}", balances.at(Any).read(&"grace").await?.receipt());

    let both = cache.snapshot(&["ada", "grace"], Strong, source.many_loader()).await?;
    println!(
        "snapshot: {} in all, {}",
        both.iter().filter_map(Answer::value).sum::<i64>(),
        both[0].receipt()
    );
    Ok(())
}
