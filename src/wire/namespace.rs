//! Namespaces as the console reads them (`spec/operator-api.md` 7).

use super::json;
use crate::model::settings::Namespace;

/// Shown for every namespace; it counts configurations, which there are none of.
const QUOTA: &str = ",\"quota\":200,\"configCount\":0,\"type\":";
const PUBLIC_TYPE: &str = "0";
const OWN_TYPE: &str = "2";

fn head(id: &str, name: &str, kind: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"namespace\":");
    json::string(id, out);
    out.extend_from_slice(b",\"namespaceShowName\":");
    json::string(name, out);
    out.extend_from_slice(QUOTA.as_bytes());
    out.extend_from_slice(kind.as_bytes());
}

/// The list: the public namespace, which has no label, and those with one.
pub fn list<'a>(labels: impl IntoIterator<Item = (&'a str, &'a Namespace)>) -> Vec<u8> {
    let mut out = b"[".to_vec();
    head("", "public", PUBLIC_TYPE, &mut out);
    for (id, label) in labels {
        out.extend_from_slice(b"},");
        head(id, &label.name, OWN_TYPE, &mut out);
    }
    out.extend_from_slice(b"}]");
    out
}

/// One namespace with its description; `None` is the public one.
pub fn detail(label: Option<(&str, &Namespace)>) -> Vec<u8> {
    let mut out = Vec::new();
    let description = match label {
        None => {
            head("", "Public", PUBLIC_TYPE, &mut out);
            Some("Public Namespace")
        }
        Some((id, label)) => {
            head(id, &label.name, OWN_TYPE, &mut out);
            label.description.as_deref()
        }
    };
    out.extend_from_slice(b",\"namespaceDesc\":");
    match description {
        Some(text) => json::string(text, &mut out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let dev = Namespace { name: "Dev \"x\"".into(), description: None, created: 1 };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(list([("dev", &dev)])),
            "[{\"namespace\":\"\",\"namespaceShowName\":\"public\",\"quota\":200,\"configCount\":0,\"type\":0},\
             {\"namespace\":\"dev\",\"namespaceShowName\":\"Dev \\\"x\\\"\",\"quota\":200,\"configCount\":0,\"type\":2}]"
        );
        assert_eq!(
            text(detail(Some(("dev", &dev)))),
            "{\"namespace\":\"dev\",\"namespaceShowName\":\"Dev \\\"x\\\"\",\"quota\":200,\"configCount\":0,\"type\":2,\
             \"namespaceDesc\":null}"
        );
        assert_eq!(
            text(detail(None)),
            "{\"namespace\":\"\",\"namespaceShowName\":\"Public\",\"quota\":200,\"configCount\":0,\"type\":0,\
             \"namespaceDesc\":\"Public Namespace\"}"
        );
    }
}
