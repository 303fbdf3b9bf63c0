//! The write path without threads and without a store: a command is carried out where it is asked for. For simulations,
//! which play the part of the store with the rows they get back.

use super::batch::Batch;
use super::status::Status;
use super::{Origin, Request, resolve};
use crate::error::{Error, Result};
use crate::model::Row;
use crate::model::clock::Now;
use crate::model::command::{Command, Outcome};
use crate::registry::{Change, Registry};

/// What came of a command.
pub struct Done {
    /// What a store would have to hold.
    pub rows: Vec<Row>,
    /// What listeners would be told.
    pub changes: Vec<Change>,
    /// Whose changes those are.
    pub origin: Origin,
    /// What the one who asked would be told.
    pub outcome: Result<Outcome>,
}

/// Carries `command` out.
pub fn carry_out(registry: &Registry, command: Command, now: Now) -> Done {
    let resolved = resolve::resolve(registry, &command, now);
    let outcome = match &resolved {
        Ok(resolved) => resolved.outcome.clone(),
        Err(error) => Err::<Outcome, Error>(error.clone()),
    };
    let mut batch = Batch::default();
    batch.push(Request { command, waiter: None, agreed: None }, resolved);
    let (rows, origin) = (batch.rows().to_vec(), batch.origin());
    let (changes, _) = batch.apply(registry, now, None, &Status::default());
    Done { rows, changes, origin, outcome }
}
