//! Changes of the namespace labels that the console shows (`spec/operator-api.md` 7).

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A change of one namespace label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LabelChange {
    /// A new one; an id that exists answers [`Outcome::Exists`](super::Outcome::Exists).
    Create(Arc<str>, LabelText),
    /// Another text; an unknown id is no error.
    Rename(Arc<str>, LabelText),
    /// Gone; an unknown id is no error. Services of that namespace stay.
    Remove(Arc<str>),
}

/// What a label shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelText {
    /// Shown name.
    pub name: String,
    /// `None` when it was not sent.
    pub description: Option<String>,
}
