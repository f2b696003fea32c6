//! Defences taken out, and the search for the history that misses them.

use super::plan::{FLAWS, Flaw, Plan};
use super::search::{Found, search};
use std::time::Duration;

/// A defence that is left out.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// In the real code.
    #[cfg(candor_sabotage)]
    Real(&'static str, candor::sabotage::Sabotage),
    /// In the model of the source, where the real code talks to sockets.
    Modelled(&'static str, Flaw),
}

impl Mutant {
    /// All of them; those in the real code only in a build that has the switches.
    pub fn all() -> Vec<Self> {
        let modelled = FLAWS.iter().filter(|(_, flaw)| *flaw != Flaw::None);
        let modelled = modelled.map(|(name, flaw)| Self::Modelled(name, *flaw));
        #[cfg(candor_sabotage)]
        let modelled = {
            let real = candor::sabotage::Sabotage::ALL.iter();
            real.map(|(name, sabotage)| Self::Real(name, *sabotage)).chain(modelled)
        };
        modelled.collect()
    }

    /// The defence.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(candor_sabotage)]
            Self::Real(name, _) => name,
            Self::Modelled(name, _) => name,
        }
    }

    /// Where it is left out.
    pub fn place(self) -> &'static str {
        match self {
            #[cfg(candor_sabotage)]
            Self::Real(..) => "code",
            Self::Modelled(..) => "model",
        }
    }

    /// Runs this with the defence left out of the real code; what is left out of the model, each plan says.
    pub fn without<T>(self, run: impl FnOnce() -> T) -> T {
        match self {
            #[cfg(candor_sabotage)]
            Self::Real(_, sabotage) => {
                candor::sabotage::set(sabotage);
                let outcome = run();
                candor::sabotage::set(candor::sabotage::Sabotage::Nothing);
                outcome
            }
            Self::Modelled(..) => run(),
        }
    }

    /// The plan with the defence left out of the model, if that is where it stands.
    pub fn plan(self, plan: &Plan) -> Plan {
        match self {
            #[cfg(candor_sabotage)]
            Self::Real(..) => plan.clone(),
            Self::Modelled(_, flaw) => Plan { flaw, ..plan.clone() },
        }
    }

    /// Searches with the defence left out.
    pub fn search(self, root: u64, limit: Duration, seeds_max: u64, jobs: usize) -> Found {
        self.without(|| search(root, limit, seeds_max, jobs, &|plan| *plan = self.plan(plan)))
    }
}
