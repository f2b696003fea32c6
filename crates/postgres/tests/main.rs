//! The crate against real servers: the races of a cache in front of Postgres, each made certain.

#![expect(clippy::disallowed_methods, reason = "a real server is waited for in real time")]

mod main {
    mod races;
    mod restarts;
    mod views;
    mod world;
}
