//! Targets of requests: a path and parameters, escaped.

/// Bytes that stand for themselves in names and values.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::indexing_slicing, reason = "evaluated when it is compiled")]
        {
            plain[byte] = (byte as u8).is_ascii_alphanumeric() || matches!(byte as u8, b'-' | b'.' | b'_' | b'~');
        }
        byte += 1;
    }
    plain
};
const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// A path that parameters are added to.
#[derive(Debug, Clone)]
pub struct Query {
    text: String,
    any: bool,
}

impl Query {
    /// Without parameters yet. `parts` make up the path and stand there as they are; room is made for `bytes` more.
    pub fn of(parts: &[&str], bytes: usize) -> Self {
        let mut text = String::with_capacity(parts.iter().map(|part| part.len()).sum::<usize>() + bytes);
        parts.iter().for_each(|part| text.push_str(part));
        Self { text, any: false }
    }

    /// A body of type `application/x-www-form-urlencoded`.
    pub fn form() -> Self {
        Self { text: String::new(), any: true }
    }

    /// Adds a parameter.
    pub fn push(&mut self, name: &str, value: &str) {
        let separator = if self.any { '&' } else { '?' };
        if !(self.any && self.text.is_empty()) {
            self.text.push(separator);
        }
        self.any = true;
        escape(name, &mut self.text);
        self.text.push('=');
        escape(value, &mut self.text);
    }

    /// With one parameter more.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.push(name, value);
        self
    }

    /// How long it is by now, in bytes.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether there is nothing yet.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// The whole.
    pub fn into_text(self) -> String {
        self.text
    }
}

fn escape(text: &str, out: &mut String) {
    for &byte in text.as_bytes() {
        if PLAIN.get(usize::from(byte)).is_some_and(|plain| *plain) {
            out.push(char::from(byte));
        } else {
            let digit = |half: u8| HEX.get(usize::from(half)).map_or('0', |digit| char::from(*digit));
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_escaped_and_joined() {
        let query = Query::of(&["/nacos", "/v1/ns/x"], 0).with("a b", "c&d=e+f").with("k", "{\"ä\"}~-._").with("", "");
        assert_eq!(query.len(), 61);
        assert_eq!(query.into_text(), "/nacos/v1/ns/x?a%20b=c%26d%3De%2Bf&k=%7B%22%C3%A4%22%7D~-._&=");
        assert_eq!(Query::form().with("a", "1").with("b", "2").into_text(), "a=1&b=2");
        assert!(Query::form().is_empty());
    }
}
