//! `switches`: what can be switched while the server runs (`spec/operator-api.md` 1.6 and 2).

use crate::error::Result;
use crate::http::call::{Call, Step};
use crate::http::reply::Reply;
use crate::model::command::{Command, SwitchChange};
use crate::wire::switches;

/// GET: all of them.
///
/// # Errors
/// None in practice.
pub fn show(call: &Call<'_>) -> Result<Step> {
    Step::json(switches::json(call.switches)?)
}

/// PUT: changes one, or all with `batch`.
///
/// # Errors
/// Missing parameters; a value that is not for this entry.
pub fn change(call: &Call<'_>) -> Result<Step> {
    let debug = call.boolean("debug", false)?;
    let (entry, value) = (call.present("entry")?, call.present("value")?);
    match switches::parse(entry, value)? {
        Some(switch) => Step::write(Command::Switch(SwitchChange { switch, debug })),
        None => Ok(Step::Answer(Reply::ok())),
    }
}
