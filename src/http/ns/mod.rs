//! `/v1/ns`: the naming API. A file for each first part of the path.

mod argument;
pub mod catalog;
pub mod cluster;
pub mod distro;
pub mod health;
pub mod instance;
pub mod legacy;
pub mod operator;
mod pattern;
pub mod raft;
pub mod service;
