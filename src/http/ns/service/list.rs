//! Lists of services and of their subscribers (`spec/service-api.md` 2.5 to 2.7).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::http::ns::{argument, pattern::Pattern};
use crate::model::{DEFAULT_GROUP, GROUP_SEPARATOR};
use crate::registry::Service;
use crate::wire::filter::{self, Filter};
use crate::wire::number;
use crate::wire::push::subscribers as subscribers_shape;
use crate::wire::service as shape;

/// The group that stands for all groups.
const EVERY_GROUP: &str = "*";
/// Subscribers on a page when the request gives no number.
const SUBSCRIBERS_OF_PAGE: i64 = 1_000;

/// GET `list`: names of one namespace, page by page.
///
/// # Errors
/// A missing page, a negative size, a faulty selector. Nothing is faulty in a namespace without services.
pub fn list(call: &Call<'_>) -> Result<Step> {
    let page = (call.params.required("pageNo")?, call.params.required("pageSize")?);
    let group = call.params.optional("groupName", DEFAULT_GROUP);
    let mut services = services_of(call);
    if services.is_empty() {
        return Step::json(shape::names::<&str>([], 0));
    }
    let prefix = if group == EVERY_GROUP { String::new() } else { [group, GROUP_SEPARATOR].concat() };
    services.retain(|service| service.key().name.starts_with(&prefix));
    let filter = filter::parse(call.params.optional("selector", ""))?;
    services.retain(|service| keeps(&filter, service));
    let shown = cut(number_or_0(page.0), number_or_0(page.1), services.len())?;
    let names = services.get(shown).unwrap_or_default().iter().map(|service| {
        let name = &service.key().name;
        if prefix.is_empty() { name.to_string() } else { name.replace(&prefix, "") }
    });
    Step::json(shape::names(names, services.len()))
}

fn services_of(call: &Call<'_>) -> Vec<Arc<Service>> {
    call.app.registry.namespace(call.namespace()).map(|namespace| namespace.services()).unwrap_or_default()
}

fn keeps(filter: &Filter, service: &Service) -> bool {
    match filter {
        Filter::All => true,
        Filter::Service(pair) => pair.is_in(&service.settings().metadata),
        Filter::Instance(pair) => {
            service.any(|slot| slot.with(|known| known.metadata.as_ref().is_some_and(|metadata| pair.is_in(metadata))))
        }
    }
}

fn number_or_0(text: &str) -> i64 {
    number::integer(text).unwrap_or_default().into()
}

/// What a page shows of `count` things. Pages before the first are the first.
fn cut(page_no: i64, page_size: i64, count: usize) -> Result<Range<usize>> {
    if page_size < 0 && count > 0 {
        return Err(Error::Input(format!("pageSize must not be negative: {page_size}")));
    }
    let start = usize::try_from((page_no - 1) * page_size).unwrap_or_default().min(count);
    let end = start.saturating_add(usize::try_from(page_size).unwrap_or_default()).min(count);
    Ok(start..end)
}

/// GET `names`: plain names by namespace, those that an expression finds.
///
/// # Errors
/// A broken or unsupported expression; a truth value that is none.
pub fn names(call: &Call<'_>) -> Result<Step> {
    // Blank is not sent here. One node owns every service, so that it makes no difference.
    if call.params.given("responsibleOnly").is_some() {
        argument::boolean(call, "responsibleOnly")?;
    }
    let pattern = Pattern::containing(call.params.raw("expr").unwrap_or_default())?;
    let registry = &call.app.registry;
    let namespaces = match call.params.given("namespaceId") {
        Some(name) => registry.namespace(name).into_iter().collect(),
        None => registry.namespaces(),
    };
    let found: Vec<_> = namespaces
        .iter()
        .map(|namespace| {
            let services = namespace.services();
            let matching = services.iter().filter(|service| pattern.matches(&service.key().name));
            let names: BTreeSet<String> = matching.map(|service| service.key().plain_name().to_owned()).collect();
            (namespace.name().clone(), names)
        })
        .collect();
    Step::json(shape::names_by_namespace(&found))
}

/// GET `subscribers`: who is told of changes of the services whose name and group contain these texts (2.7)
///
/// # Errors
/// A missing name.
pub fn subscribers(call: &Call<'_>) -> Result<Step> {
    let named = call.service_unchecked()?.key();
    let page = (call.params.given("pageNo"), call.params.given("pageSize"));
    let (page_no, page_size) = (page.0.map_or(1, number_or_0), page.1.map_or(SUBSCRIBERS_OF_PAGE, number_or_0));
    let found = call.app.push.subscribers(&named.namespace, named.group(), named.plain_name());
    let start = usize::try_from((page_no - 1).saturating_mul(page_size)).unwrap_or_default();
    if start > found.len() || page_size < 0 {
        return Step::json(subscribers_shape(&named.namespace, &[], 0));
    }
    let end = start.saturating_add(usize::try_from(page_size).unwrap_or_default()).min(found.len());
    let shown = found.get(start..end).unwrap_or_default();
    Step::json(subscribers_shape(&named.namespace, shown, found.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_a_list() {
        assert_eq!(cut(1, 2, 5), Ok(0..2));
        assert_eq!(cut(3, 2, 5), Ok(4..5));
        assert_eq!(cut(4, 2, 5), Ok(5..5));
        assert_eq!((cut(0, 2, 5), cut(-4, 2, 5)), (Ok(0..2), Ok(0..2)));
        assert_eq!((cut(1, 0, 5), cut(3, 0, 5)), (Ok(0..0), Ok(0..0)));
        assert!(cut(1, -1, 5).is_err() && cut(0, -9, 5).is_err());
        assert_eq!(cut(1, -1, 0), Ok(0..0));
        let far = i64::from(i32::MAX);
        assert_eq!((cut(far, far, 5), cut(1, far, 5), cut(-far, far, 5)), (Ok(5..5), Ok(0..5), Ok(0..5)));
    }
}
