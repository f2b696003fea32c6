//! The search: every state of a world for ours, the shortest way to a falsehood for the others.

use crate::defence::Variant;
use crate::protocol::{BOUNDED, Protocol, SESSION, SNAPSHOT, STRONG};
use crate::size::Size;
use stateright::{Checker, Expectation, HasDiscoveries, Model};
use std::collections::BTreeSet;

/// What a search of all states found.
#[derive(Clone, Debug)]
pub struct Searched {
    /// States that differ.
    pub states: usize,
    /// Steps between them that were tried.
    pub steps: usize,
    /// The longest history.
    pub depth: usize,
    /// What should always hold and does not, with the history in words.
    pub broken: Vec<(&'static str, String)>,
    /// What should happen in some history and never did.
    pub never: Vec<&'static str>,
}

/// A history that ends in a falsehood.
#[derive(Clone, Debug)]
pub struct Counterexample {
    /// What does not hold.
    pub property: &'static str,
    /// The shortest history, in words.
    pub history: String,
    /// The steps in it.
    pub steps: usize,
    /// How many states were looked at before it was found.
    pub states: usize,
}

/// Visits every state of a world.
pub fn exhaust(size: Size, variant: Variant, threads: usize) -> Searched {
    let protocol = Protocol { size, variant };
    let properties = protocol.properties();
    let checker = protocol.clone().checker().threads(threads).spawn_dfs().join();
    let mut found = checker.discoveries();
    let mut searched = Searched {
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        broken: Vec::new(),
        never: Vec::new(),
    };
    for property in properties {
        match (property.expectation, found.remove(property.name)) {
            (Expectation::Sometimes, None) => searched.never.push(property.name),
            (Expectation::Sometimes, Some(_)) | (_, None) => {}
            (_, Some(path)) => searched.broken.push((property.name, protocol.tell(&path.into_vec()))),
        }
    }
    searched
}

/// The shortest history in which a reader is given a false answer, if there is one.
pub fn refute(size: Size, variant: Variant) -> Option<Counterexample> {
    let protocol = Protocol { size, variant };
    let levels = BTreeSet::from([STRONG, BOUNDED, SESSION, SNAPSHOT]);
    let builder = protocol.clone().checker().finish_when(HasDiscoveries::AnyOf(levels.clone()));
    let checker = builder.spawn_bfs().join();
    let states = checker.unique_state_count();
    let found = checker.discoveries().into_iter().find(|(name, _)| levels.contains(name));
    found.map(|(property, path)| {
        let path = path.into_vec();
        // The path holds the states; a step leads from each to the next.
        let (steps, history) = (path.len().saturating_sub(1), protocol.tell(&path));
        Counterexample { property, history, steps, states }
    })
}
