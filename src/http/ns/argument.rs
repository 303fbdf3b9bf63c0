//! Parameters that the reference takes as arguments of a method: sent or not sent is what counts, and nothing is
//! trimmed. Where one is missing or malformed, the answer is another than elsewhere (`spec/service-api.md` 2.1, 4).

use crate::error::{Error, Result};
use crate::http::call::{Call, Named, missing};
use crate::wire::number::switch_word;

fn malformed(name: &str, kind: &str, text: &str) -> Error {
    Error::Refused(format!("Failed to convert value of type 'String' to '{kind}' for '{name}': \"{text}\""))
}

/// A text; maybe empty.
pub(super) fn text<'c>(call: &'c Call<'_>, name: &str) -> Result<&'c str> {
    call.params.raw(name).ok_or_else(|| missing(name, "String"))
}

/// A 32-bit integer.
pub(super) fn integer(call: &Call<'_>, name: &str) -> Result<i32> {
    let text = call.params.raw(name).ok_or_else(|| missing(name, "int"))?;
    text.trim().parse().map_err(|_| malformed(name, "int", text))
}

/// A truth value in one of eight words. `None` when it is not sent.
pub(super) fn boolean(call: &Call<'_>, name: &str) -> Result<Option<bool>> {
    let Some(text) = call.params.raw(name) else { return Ok(None) };
    switch_word(text.trim()).map(Some).ok_or_else(|| malformed(name, "boolean", text))
}

/// The service. A name without a character, once sent, is the name of a service that can't exist.
pub(super) fn service<'c>(call: &'c Call<'_>) -> Result<Named<'c>> {
    let params = &call.params;
    if params.given("serviceName").or_else(|| params.given("dom")).is_some() {
        return call.service_unchecked();
    }
    let sent = params.raw("serviceName").or_else(|| params.raw("dom"));
    let name = sent.ok_or_else(|| missing("serviceName", "String"))?;
    Ok(Named { namespace: call.namespace(), name: name.into() })
}
