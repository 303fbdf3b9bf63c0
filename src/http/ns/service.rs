//! `/v1/ns/service`: services (`spec/service-api.md` 2). So far creation.

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::model::command::Command;
use crate::model::{Selector, ServiceSettings};
use crate::wire::{metadata, number, selector};

/// POST: creates a service with stored settings.
///
/// # Errors
/// Faulty parameters, and a service that exists, in the order of the reference.
pub fn create(call: &Call<'_>) -> Result<Step> {
    let missing = "Required request parameter 'serviceName' for method parameter type String is not present";
    let named = call.service_unchecked().map_err(|_| Error::Refused(missing.into()))?;
    let protect_threshold = threshold(call)?;
    if named.find(&call.app.registry).is_some() {
        return Err(Error::Input(format!("specified service already exists, serviceName : {}", named.name)));
    }
    let metadata = metadata::parse(call.params.optional("metadata", ""))?.unwrap_or_default();
    let selector = selector_of(call)?;
    let settings = ServiceSettings { protect_threshold, metadata, selector };
    Step::write(Command::CreateService(named.key(), settings))
}

fn threshold(call: &Call<'_>) -> Result<f32> {
    let Some(text) = call.params.given("protectThreshold") else {
        return Ok(0.0);
    };
    let wrong = || Error::Refused(format!("Failed to convert value of type 'String' to 'float': \"{text}\""));
    number::float(text).filter(|value| value.is_finite()).ok_or_else(wrong)
}

/// The parameter `selector`, whose text is URL-decoded once more.
fn selector_of(call: &Call<'_>) -> Result<Selector> {
    let Some(text) = call.params.given("selector") else {
        return Ok(Selector::None);
    };
    let plain = text.replace('+', " ");
    let decoded = percent_decode_str(&plain).decode_utf8();
    let decoded = decoded.map_err(|_| Error::Input("the selector is not URL-encoded UTF-8".into()))?;
    selector::parse(&decoded)
}
