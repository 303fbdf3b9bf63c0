//! Tests of the real binary over real sockets. One program, so that it is linked once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "all of it is test code; clippy.toml only knows functions marked as tests"
)]

mod auth;
mod checks;
mod client;
mod cluster;
mod cluster_conf;
mod compare;
mod configs;
mod conformance;
mod damage;
mod dice;
mod disk_full;
mod fuzz;
mod kill;
mod limits;
mod logs;
mod members;
mod metrics;
mod paused;
mod population;
mod push;
mod replay;
mod restart;
mod second;
mod server;
mod services;
mod signals;
mod store_tools;
mod switches;
mod sync;
mod systemd;
mod tools;
