//! Private servers for tests: real ones, on free ports, in temporary folders, gone when dropped.
