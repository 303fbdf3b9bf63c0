//! `/v1/ns/service`: services (`spec/service-api.md` 2).

mod list;
mod status;

pub use list::{list, names, subscribers};
pub use status::{checksum, status};

use super::argument;
use crate::error::{Error, Result};
use crate::http::call::{Call, Named, Step};
use crate::http::percent::unescape;
use crate::model::command::Command;
use crate::model::{Selector, ServiceSettings};
use crate::wire::{metadata, number, selector, service as shape};

/// POST: creates a service with stored settings.
///
/// # Errors
/// Faulty parameters, and a service that exists, in the order of the reference.
pub fn create(call: &Call<'_>) -> Result<Step> {
    let named = argument::service(call)?;
    let protect_threshold = threshold(call)?;
    let settings = settings_of(call, protect_threshold);
    if is_sure(call, &settings) && named.find(&call.app.registry).is_some() {
        return Err(Error::Input(format!("specified service already exists, serviceName : {}", named.name)));
    }
    Step::write(Command::CreateService(named.key(), settings?))
}

/// DELETE: removes a service with all that it has.
///
/// # Errors
/// A missing name; an unknown service.
pub fn delete(call: &Call<'_>) -> Result<Step> {
    Step::write(Command::DeleteService(argument::service(call)?.key()))
}

/// PUT: replaces threshold, metadata and selector. What is not sent is reset.
///
/// # Errors
/// Faulty parameters and an unknown service, in the order of the reference.
pub fn update(call: &Call<'_>) -> Result<Step> {
    let named = call.service_unchecked()?;
    let protect_threshold = lenient_threshold(call.params.required("protectThreshold")?)?;
    let settings = settings_of(call, protect_threshold);
    if is_sure(call, &settings) && named.find(&call.app.registry).is_none() {
        return Err(Error::Refused(format!("service {} not found!", named.name)));
    }
    Step::write(Command::UpdateService(named.key(), settings?))
}

/// Whether a look at the registry here decides whether there is a service. Others may know better than a server of several,
/// and are asked on the way of the command; a faulty request doesn't get there.
fn is_sure(call: &Call<'_>, settings: &Result<ServiceSettings>) -> bool {
    settings.is_err() || call.app.consensus.is_none()
}

/// GET: settings of a service and of its clusters.
///
/// # Errors
/// A missing name; an unknown service.
pub fn detail(call: &Call<'_>) -> Result<Step> {
    let named = argument::service(call)?;
    let service = named.find(&call.app.registry).ok_or_else(|| not_found(&named))?;
    let view = service.view();
    let clusters = view.clusters.iter().map(|(name, settings)| (&**name, &**settings));
    Step::json(shape::detail(service.key(), &view.settings, clusters))
}

/// The error of a query for an unknown service.
pub(super) fn not_found(named: &Named<'_>) -> Error {
    Error::Refused(format!("service {} is not found!", named.name))
}

fn threshold(call: &Call<'_>) -> Result<f32> {
    let Some(text) = call.params.given("protectThreshold") else {
        return Ok(0.0);
    };
    let wrong = || Error::Refused(format!("Failed to convert value of type 'String' to 'float': \"{text}\""));
    number::float(text).filter(|value| value.is_finite()).ok_or_else(wrong)
}

/// A text that is no number is 0. What reads as a number but is none that can be compared is refused (a fix of the
/// reference, which keeps it).
fn lenient_threshold(text: &str) -> Result<f32> {
    match number::float(text) {
        Some(value) if !value.is_finite() => Err(Error::Input("protectThreshold must be a finite number".into())),
        Some(value) => Ok(value),
        None if text.trim_start_matches(['+', '-']) == "NaN" => {
            Err(Error::Input("protectThreshold must be a finite number".into()))
        }
        None => Ok(0.0),
    }
}

fn settings_of(call: &Call<'_>, protect_threshold: f32) -> Result<ServiceSettings> {
    let metadata = metadata::parse(call.params.optional("metadata", ""))?.unwrap_or_default();
    Ok(ServiceSettings { protect_threshold, metadata, selector: selector_of(call)? })
}

/// The parameter `selector`, whose text is URL-decoded once more.
fn selector_of(call: &Call<'_>) -> Result<Selector> {
    let Some(text) = call.params.given("selector") else {
        return Ok(Selector::None);
    };
    let decoded = unescape(text.as_bytes(), true).and_then(|bytes| String::from_utf8(bytes).ok());
    selector::parse(&decoded.ok_or_else(|| Error::Input("the selector is not URL-encoded UTF-8".into()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_threshold_may_be_any_text_but_must_not_be_infinite() {
        for (text, value) in [("0.5", 0.5), ("abc", 0.0), ("", 0.0), ("-1", -1.0), ("2", 2.0), ("1e-3", 0.001)] {
            assert_eq!(lenient_threshold(text), Ok(value), "{text}");
        }
        for text in ["NaN", "-NaN", "Infinity", "-Infinity", "1e99"] {
            assert!(matches!(lenient_threshold(text), Err(Error::Input(_))), "{text}");
        }
    }
}
