//! The crate against real servers: the races of a cache in front of Postgres, each made certain.

mod main {
    mod races;
    mod restarts;
    mod views;
    mod world;
}
