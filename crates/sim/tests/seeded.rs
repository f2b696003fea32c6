//! The seeded world as a test.
