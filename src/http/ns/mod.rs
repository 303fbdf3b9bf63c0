//! `/v1/ns`: the naming API. A file for each first part of the path.

pub mod cluster;
pub mod health;
pub mod instance;
pub mod legacy;
pub mod operator;
pub mod service;
