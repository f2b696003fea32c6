//! The small worlds: ours is clean in every state of them, and the search finds out each variant.

use candor_model::{Size, Variant, exhaust, refute};

#[test]
fn no_interleaving_of_a_small_world_yields_a_false_answer() {
    for size in Size::small() {
        let name = size.name;
        let found = exhaust(size, Variant::Ours, 2);
        println!("{name}: {} states, {} steps, depth {}", found.states, found.steps, found.depth);
        assert!(found.broken.is_empty(), "{name}: {}", found.broken[0].1);
        assert!(found.never.is_empty(), "{name} proves nothing: never {:?}", found.never);
    }
}

#[test]
fn the_search_finds_out_every_rule_that_is_unsound_and_every_defence_that_is_missing() {
    for variant in Variant::BROKEN {
        let found = refute(Size::that_shows(variant), variant);
        let found = found.unwrap_or_else(|| panic!("nobody notices: {}", variant.words()));
        println!("\n{}: {}\n{}", variant.words(), found.property, found.history);
    }
}
