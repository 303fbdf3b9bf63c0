//! The health checker of a cluster as text (`spec/service-api.md` 3.2).

use super::json;
use super::object::{self, Scalar};
use crate::error::{Error, Result};
use crate::model::{HealthChecker, MASKED_PASSWORD};

/// Members that some type of checker has.
#[derive(Default)]
struct Members {
    kind: Option<String>,
    path: Option<String>,
    headers: Option<String>,
    expected_code: Option<i32>,
    user: Option<String>,
    pwd: Option<String>,
    cmd: Option<String>,
}

impl Members {
    /// Sets one member from its JSON text; unknown ones are ignored.
    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        let slot = match name {
            "type" => &mut self.kind,
            "path" => &mut self.path,
            "headers" => &mut self.headers,
            "user" => &mut self.user,
            "pwd" => &mut self.pwd,
            "cmd" => &mut self.cmd,
            "expectedResponseCode" => {
                self.expected_code = Some(Scalar::of(value)?.integer()?);
                return Some(());
            }
            _ => return Some(()),
        };
        *slot = Scalar::of(value)?.into_text().map(Into::into);
        Some(())
    }
}

/// Reads the parameter `healthChecker`. A missing or unknown type, also `tcp`, is [`HealthChecker::None`]. The JSON
/// `null` is wrong input; what is no JSON object is refused.
pub fn parse(text: &str) -> Result<HealthChecker> {
    if object::is_null(text) {
        return Err(Error::Input("Param 'healthChecker' is illegal, it can't be null".into()));
    }
    let mut members = Members::default();
    object::members(text, |name, value| members.set(&name, value)).ok_or_else(|| {
        Error::Refused("errCode: 101, errMsg: Nacos deserialize for class [healthChecker] failed.  ".into())
    })?;
    Ok(match members.kind.as_deref() {
        Some("TCP") => HealthChecker::Tcp,
        Some("HTTP") => HealthChecker::Http {
            path: members.path.unwrap_or_default(),
            headers: members.headers.unwrap_or_default(),
            expected_code: members.expected_code.unwrap_or(200),
        },
        Some("MYSQL") => HealthChecker::Mysql { user: members.user, pwd: members.pwd, cmd: members.cmd },
        _ => HealthChecker::None,
    })
}

/// Prints as JSON for answers: `type` first, absent members left out, a MySQL password masked (a fix of the reference).
pub fn write_json(checker: &HealthChecker, out: &mut Vec<u8>) {
    let kind = match checker {
        HealthChecker::Tcp => "TCP",
        HealthChecker::Http { .. } => "HTTP",
        HealthChecker::Mysql { .. } => "MYSQL",
        HealthChecker::None => "NONE",
    };
    write_members(checker, Some(kind), Some(MASKED_PASSWORD), out);
}

/// The form that checksums are computed from (5.10): no type, the true password.
pub(super) fn write_without_type(checker: &HealthChecker, out: &mut Vec<u8>) {
    write_members(checker, None, None, out);
}

fn write_members(checker: &HealthChecker, kind: Option<&str>, mask: Option<&str>, out: &mut Vec<u8>) {
    let mut texts: Vec<(&str, &str)> = Vec::with_capacity(4);
    texts.extend(kind.map(|kind| ("type", kind)));
    let mut code = None;
    match checker {
        HealthChecker::Tcp | HealthChecker::None => {}
        HealthChecker::Http { path, headers, expected_code } => {
            texts.extend([("path", path.as_str()), ("headers", headers.as_str())]);
            code = Some(*expected_code);
        }
        HealthChecker::Mysql { user, pwd, cmd } => {
            texts.extend(user.as_deref().map(|user| ("user", user)));
            texts.extend(pwd.as_deref().map(|pwd| ("pwd", mask.unwrap_or(pwd))));
            texts.extend(cmd.as_deref().map(|cmd| ("cmd", cmd)));
        }
    }
    out.push(b'{');
    json::separated(texts, out, |(name, value), out| {
        json::string(name, out);
        out.push(b':');
        json::string(value, out);
    });
    if let Some(code) = code {
        out.extend_from_slice(br#","expectedResponseCode":"#);
        json::integer(code.into(), out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(checker: &HealthChecker) -> String {
        let mut out = Vec::new();
        write_json(checker, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn checkers_read_and_print() {
        for (text, json) in [
            (r#"{"type":"TCP"}"#, r#"{"type":"TCP"}"#),
            (r#"{"type":"NONE","path":"/x"}"#, r#"{"type":"NONE"}"#),
            (r#"{"type":"HTTP"}"#, r#"{"type":"HTTP","path":"","headers":"","expectedResponseCode":200}"#),
            (
                r#"{"expectedResponseCode":204,"headers":"h:v","path":"/alive","type":"HTTP","more":{}}"#,
                r#"{"type":"HTTP","path":"/alive","headers":"h:v","expectedResponseCode":204}"#,
            ),
            (r#"{"type":"MYSQL"}"#, r#"{"type":"MYSQL"}"#),
            (r#"{"type":"MYSQL","cmd":"select \"1\"","user":null}"#, r#"{"type":"MYSQL","cmd":"select \"1\""}"#),
            (r#"{"type":"MYSQL","user":"u","pwd":"secret"}"#, r#"{"type":"MYSQL","user":"u","pwd":"******"}"#),
            (r#"{"type":"tcp"}"#, r#"{"type":"NONE"}"#),
            (r#"{"type":null}"#, r#"{"type":"NONE"}"#),
            (r#"{"type":"BOGUS"}"#, r#"{"type":"NONE"}"#),
            ("{}", r#"{"type":"NONE"}"#),
        ] {
            assert_eq!(printed(&parse(text).unwrap()), json, "{text}");
        }
    }

    #[test]
    fn the_password_is_kept() {
        let pwd = Some("secret".to_owned());
        let expected = HealthChecker::Mysql { user: None, pwd, cmd: None };
        assert_eq!(parse(r#"{"type":"MYSQL","pwd":"secret"}"#), Ok(expected));
    }

    #[test]
    fn refusals() {
        assert!(matches!(parse("null"), Err(Error::Input(_))));
        for text in ["", "x", "{", "[]", "1", r#"{"type":{}}"#, r#"{"type":"HTTP","expectedResponseCode":"x"}"#] {
            assert!(matches!(parse(text), Err(Error::Refused(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
