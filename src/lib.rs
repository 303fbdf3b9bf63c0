//! nacre

pub mod error;
pub mod model;
