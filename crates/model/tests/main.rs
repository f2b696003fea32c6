//! Draft.
use candor_model::*;
use stateright::{Checker, Model};
#[test]
fn ours() {
    for size in Size::small() {
        let name = size.name;
        if std::env::var("ONLY").is_ok_and(|only| only != name) { continue }
        let t = std::time::Instant::now();
        let c = Protocol { size, variant: Variant::Ours }.checker().threads(2).timeout(std::time::Duration::from_secs(30)).spawn_dfs().join();
        println!("{name}: {} unique, {} gen, depth {}, {:?}", c.unique_state_count(), c.state_count(), c.max_depth(), t.elapsed());
        for (k, p) in c.discoveries() { println!("   {k}: {}", p.into_actions().len()); }
    }
}
