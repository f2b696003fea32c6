//! The smallest program: a key, a loader, a receipt.

use candor::{Cache, LoadContext};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), candor::ReadError> {
    let cache: Cache<u64, String> = Cache::builder().build();
    let load =
        |context: LoadContext<u64, String>| async move { Ok::<_, String>(format!("user {}", context.key())) };
    #[expect(clippy::print_stdout, reason = "an example shows what it got")]
    {
        println!("{:?}", cache.get(&7, load).await?);
        println!("{}", cache.read(&7, load).await?.receipt());
    }
    Ok(())
}
