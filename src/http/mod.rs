//! The HTTP side: connections and their limits (`server`, `conn`, `body`), from a request to parameters (`path`,
//! `params`), who may do what (`auth`), the table of the API (`router`), its handlers (`ns/`, `console`,
//! `actuator`; file path = URL path), requests by route and status (`traffic`), and the one place that picks a status
//! (`reply`).

pub mod actuator;
mod answered;
pub mod auth;
pub mod body;
pub mod call;
pub mod conn;
pub mod console;
pub mod core;
mod cors;
pub mod cs;
mod forward;
mod gate;
mod gzip;
pub mod hold;
pub mod live;
pub mod ns;
pub mod params;
pub mod path;
mod percent;
pub mod reply;
pub mod router;
pub mod server;
pub mod traffic;
pub mod ui;

#[cfg(test)]
mod world;
