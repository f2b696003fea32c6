//! The crate against real servers: the races of a cache in front of Postgres, each made certain.

#![expect(clippy::disallowed_methods, reason = "a real server is waited for in real time")]

mod main {
    mod beginnings;
    mod cuts;
    mod failover;
    mod fences;
    mod instance;
    mod invisible;
    mod names;
    mod poolers;
    mod publications;
    mod races;
    mod restarts;
    mod rows;
    mod schema;
    mod silence;
    mod slots;
    mod standbys;
    mod views;
    mod world;
    mod wrap;
}
