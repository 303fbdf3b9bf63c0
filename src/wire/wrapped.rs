//! The wrapper around the answers of `core` and the list of namespaces (`spec/operator-api.md` 5.1). It has a code of
//! its own; the HTTP status stays that of a success.

use super::json;

/// A success with `data`, which is JSON.
pub fn success(data: &[u8]) -> Vec<u8> {
    let mut out = br#"{"code":200,"message":null,"data":"#.to_vec();
    out.extend_from_slice(data);
    out.push(b'}');
    out
}

/// A success with a text.
pub fn success_text(text: &str) -> Vec<u8> {
    let mut data = Vec::new();
    json::string(text, &mut data);
    success(&data)
}

/// A failure that the caller can mend.
pub fn illegal(message: &str) -> Vec<u8> {
    failure("400", message)
}

/// A failure of the server.
pub fn failed(message: &str) -> Vec<u8> {
    failure("500", message)
}

fn failure(code: &str, message: &str) -> Vec<u8> {
    let mut out = format!("{{\"code\":{code},\"message\":").into_bytes();
    json::string(message, &mut out);
    out.extend_from_slice(br#","data":null}"#);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        assert_eq!(success(b"[]"), br#"{"code":200,"message":null,"data":[]}"#);
        assert_eq!(success_text("ok"), br#"{"code":200,"message":null,"data":"ok"}"#);
        assert_eq!(illegal("a\"b"), br#"{"code":400,"message":"a\"b","data":null}"#);
        assert_eq!(failed("x"), br#"{"code":500,"message":"x","data":null}"#);
    }
}
