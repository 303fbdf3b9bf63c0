//! The servers that belong together. So far there is one: this.

pub mod members;
