//! # nacre: a service registry that does not forget
//!
//! A server that every Nacos 1.x client can use unchanged. Nacos keeps ephemeral instances in memory only; nacre
//! writes every change of its registry to a local store *before* it takes effect, so that a restarted node comes back
//! with every instance that it acknowledged, and its first list is complete.
//!
//! ## Flow
//! ```text
//!  read:   client -> http -> registry -> answer
//!  write:  http, health, cluster -> commit -> store (append, sync) -> registry (apply) -> acknowledge
//!                                                                            |
//!                                                                          Change -> health wheel
//!                                                                                 -> push -> subscribers (UDP)
//!                                                                                 -> cluster -> peers (Distro)
//!  beat:   client -> http -> registry (touch: one atomic store; never the disk)
//!  start:  store -> registry -> health wheel, subscribers -> cluster compares -> listen
//!  not ours: client -> http -> peer that owns the service, which tells this server what has changed -> answer (the peer
//!            can't be reached: here)
//!  in a cluster, of what all have to agree on:
//!          http, health -> consensus -> log of a majority -> commit on every server, as above -> acknowledge
//!  subscribe: client -> http -> push -> answer; push -> commit -> store (no sync of its own), without waiting
//! ```
//!
//! ## Rooms, in reading order
//! | room | what it holds |
//! |---|---|
//! | [`model`] | the nouns: keys, instances, settings, commands, rows |
//! | [`error`] | one error, classed by what the caller can do |
//! | [`registry`] | the state in memory: `apply(row)` and queries; no I/O, no clock, no await |
//! | [`store`] | the state on disk: open, recover, append; the only room that knows sled and bincode; tools for data at rest |
//! | [`commit`] | the write path, the only place that knows the order |
//! | [`health`] | beats and their absence: timing wheel, expiry, empty services; active checks of persistent instances |
//! | [`push`] | subscribers (stored too) and the datagrams that tell them of changes; lists as both see them |
//! | [`cluster`] | members, who owns which service, what members tell each other: decided without I/O, then carried out |
//! | [`consensus`] | what all members have to agree on: persistent instances, settings, users; a Raft group on openraft |
//! | [`wire`] | Nacos' shapes as text, from and to the model |
//! | [`http`] | the API: one table of routes, handlers, the one place that picks a status |
//! | [`config`] | flags > environment > file > default; the only reader of `conf/` |
//! | [`telemetry`] | log lines, their files and limits, the access log; how figures are counted and shown |
//! | [`tools`] | load generator and restart drill for any server with this API, bench; they know nothing of the rooms above |
//! | [`node`] | composition: start order, stop order; the only file that knows all |
//!
//! ## What never happens
//! - Nothing is visible, and nothing is acknowledged, before it is as durable as configured. (What health finds out is
//!   the exception while the store is broken: it waits for nobody and is healed from memory.)
//! - Nobody but `commit` changes the registry or appends to the store.
//! - No beat touches the disk; no write waits for the clock; no list is built twice for one state of a service.
//! - No instance is expired for time during which this process did not run, or by a server that does not own its service.
//! - What a peer told is told on to and by the owner of the service alone, and only what is new: nothing goes round.
//! - No list of a peer takes away what lives and the peer never knew.
//! - Damaged data are never deleted, and never go unreported.
//! - `tests/tidy.rs` checks who may import whom, and the size of files and functions.

pub mod cluster;
pub mod commit;
pub mod config;
pub mod consensus;
pub mod error;
pub mod health;
pub mod http;
pub mod model;
pub mod node;
pub mod push;
pub mod registry;
pub mod store;
pub mod telemetry;
pub mod tools;
pub mod wire;
