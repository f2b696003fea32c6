//! Every ability of the testbed, once, against a real server.

mod cluster;
