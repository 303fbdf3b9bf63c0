//! `/v1/console/namespaces`: names for the console (`spec/operator-api.md` 7). Nothing in the registry depends on them.

use crate::error::{Error, Result};
use crate::http::call::{Call, Step, Then};
use crate::http::reply::Reply;
use crate::model::DEFAULT_NAMESPACE;
use crate::model::command::{Command, LabelChange, LabelText};
use crate::wire::{namespace, wrapped};

const MAX_ID_CHARS: usize = 128;
const MAX_NAME_CHARS: usize = 128;
const MAX_DESCRIPTION_CHARS: usize = 256;

fn truth(value: bool) -> Result<Step> {
    Step::json(if value { "true" } else { "false" })
}

/// GET: the list; one with `show=all`; whether there is one with `checkNamespaceIdExist=true`.
///
/// # Errors
/// Missing parameters; an unknown id; both questions at once.
pub fn show(call: &Call<'_>) -> Result<Step> {
    let settings = call.app.registry.settings();
    let one = call.params.raw("show") == Some("all");
    let check = call.params.raw("checkNamespaceIdExist") == Some("true");
    match (one, check) {
        (true, true) => Err(Error::Refused("show and checkNamespaceIdExist don't go together".into())),
        (true, false) => match call.present("namespaceId")? {
            "" => Step::json(namespace::detail(None)),
            id => {
                let unknown = || Error::Refused(format!("namespace {id} not found"));
                let label = settings.namespace(id).ok_or_else(unknown)?;
                Step::json(namespace::detail(Some((id, &label))))
            }
        },
        (false, true) => {
            let id = call.present("customNamespaceId")?;
            truth(id == DEFAULT_NAMESPACE || settings.namespace(id).is_some())
        }
        (false, false) => {
            let labels = settings.namespaces();
            let list = namespace::list(labels.iter().map(|(id, label)| (&**id, label)));
            Step::json(wrapped::success(&list))
        }
    }
}

/// Whether a namespace may have this id. `public` is that of the one without a label: a second would only confuse.
fn is_id(id: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    id.len() <= MAX_ID_CHARS && id != DEFAULT_NAMESPACE && id.bytes().all(fits)
}

fn text(call: &Call<'_>, name: &str, failure: &str) -> Result<LabelText> {
    let description = call.params.raw("namespaceDesc");
    let too_long = |text: &str, limit| text.chars().nth(limit).is_some();
    if too_long(name, MAX_NAME_CHARS) || description.is_some_and(|text| too_long(text, MAX_DESCRIPTION_CHARS)) {
        return Err(Error::Refused(failure.into()));
    }
    Ok(LabelText { name: name.to_owned(), description: description.map(str::to_owned) })
}

/// POST: a new one; `false` when the id is no id or is taken. A blank id: a random one.
///
/// # Errors
/// Missing parameters; texts that are too long.
pub fn create(call: &Call<'_>) -> Result<Step> {
    call.present("customNamespaceId")?;
    let name = call.present("namespaceName")?;
    let id = match call.params.given("customNamespaceId") {
        Some(id) if !is_id(id) => return truth(false),
        Some(id) => id.to_owned(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    let text = text(call, name, "Namespace creation failed")?;
    Ok(Step::Write(Command::Label(LabelChange::Create(id.into(), text)), Then::Made))
}

fn write(change: LabelChange) -> Result<Step> {
    Ok(Step::Write(Command::Label(change), Then::Answer(Reply::json("true"))))
}

/// PUT: another name and description; `true` also for an unknown id.
///
/// # Errors
/// Missing parameters; texts that are too long.
pub fn rename(call: &Call<'_>) -> Result<Step> {
    let (id, name) = (call.present("namespace")?, call.present("namespaceShowName")?);
    write(LabelChange::Rename(id.into(), text(call, name, "Namespace update failed")?))
}

/// DELETE: gone; `true` also for an unknown id. Services of that namespace stay.
///
/// # Errors
/// A missing id.
pub fn remove(call: &Call<'_>) -> Result<Step> {
    write(LabelChange::Remove(call.present("namespaceId")?.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for id in ["a", "A-b_9", &"x".repeat(128)] {
            assert!(is_id(id), "{id}");
        }
        for id in ["a b", "a.b", "é", "public", &"x".repeat(129)] {
            assert!(!is_id(id), "{id}");
        }
    }
}
