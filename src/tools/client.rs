//! A client of the HTTP API: [`Session`] says where the server is and who asks, [`Connection`] sends requests that are
//! ready as bytes and reads the answers. Nothing here is tied to one server: lengths or chunks, kept or closed
//! connections.

mod answer;
mod connection;
mod server;
mod session;

pub use connection::{Answer, Connection, Fault};
pub use server::Server;
pub use session::Session;

#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod tests;

/// `text` for a query or a form: everything but letters, digits and `-._~` is percent-encoded.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0').to_ascii_uppercase();
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}
