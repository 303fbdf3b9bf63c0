//! Nacos' shapes as text: JSON objects, numbers, metadata, user agents. Pure functions from text to [`crate::model`]
//! and back; no I/O, no clock, no state. Writers append to one growing `Vec<u8>`, readers borrow from what they read.
//!
//! Section numbers without a page are those of `spec/instance-api.md`.

pub mod agent;
pub mod beat;
pub mod catalog;
pub mod checker;
pub mod checksum;
pub mod datum;
pub mod distro;
pub mod filter;
pub mod instance;
pub mod json;
pub mod list;
pub mod member;
pub mod metadata;
pub mod namespace;
pub mod number;
mod object;
pub mod push;
pub mod selector;
pub mod service;
pub mod statuses;
pub mod switches;
pub mod wrapped;
