//! Pages of the lists of users, roles and permissions (`spec/auth.md` 6).

use serde::Serialize;

use super::required_of;
use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::wire::number;

/// A page, members in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    total_count: usize,
    page_number: usize,
    pages_available: usize,
    page_items: Vec<T>,
}

/// The page of `all` that the request asks for; past the end it has no items.
///
/// # Errors
/// Missing or unreadable page numbers, and such below 1. They are not repeated in the answer.
pub(super) fn page<T: Serialize>(call: &Call<'_>, all: impl FnOnce() -> Vec<T>) -> Result<Step> {
    let number = |name| -> Result<i32> {
        let text = required_of(call, name, "int")?;
        let unreadable = || Error::Refused(format!("Failed to convert the value of '{name}' to 'int'"));
        number::integer(text.trim()).ok_or_else(unreadable)
    };
    let positive = |number| usize::try_from(number).ok().filter(|number| *number > 0);
    let (Some(page_number), Some(size)) = (positive(number("pageNo")?), positive(number("pageSize")?)) else {
        return Err(Error::Input("pageNo and pageSize must be greater than zero".into()));
    };
    let all = all();
    let (total_count, pages_available) = (all.len(), all.len().div_ceil(size));
    let page_items = all.into_iter().skip((page_number - 1).saturating_mul(size)).take(size).collect();
    json(&Page { total_count, page_number, pages_available, page_items })
}

/// Any value as JSON.
///
/// # Errors
/// None that these values cause.
pub(super) fn json(value: &impl Serialize) -> Result<Step> {
    Step::json(serde_json::to_vec(value).map_err(|e| Error::Refused(e.to_string()))?)
}
