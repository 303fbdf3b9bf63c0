use proptest::prelude::*;

use super::*;

fn printed(metadata: &Option<Metadata>) -> String {
    let mut out = Vec::new();
    write_json(metadata, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn either_form_is_read() {
    for (text, json) in [
        ("", "{}"),
        (" ", "{}"),
        ("{}", "{}"),
        ("null", "null"),
        (" null ", "null"),
        (r#"{"a":1,"b":true,"c":1.50,"d":null,"e":"x"}"#, r#"{"a":"1","b":"true","c":"1.50","e":"x"}"#),
        (
            r#"{"n":-1.0E+5,"big":123456789012345678901234567890}"#,
            r#"{"big":"123456789012345678901234567890","n":"-1.0E+5"}"#,
        ),
        (r#"{"":"empty","k":""}"#, r#"{"":"empty","k":""}"#),
        (r#"{"a":"1","a":"2"}"#, r#"{"a":"2"}"#),
        (r#"{"a":"1","a":null,"b":"2"}"#, r#"{"b":"2"}"#),
        (r#"{"a":null,"a":"1"}"#, r#"{"a":"1"}"#),
        (r#"{"a":"1"} and more"#, r#"{"a":"1"}"#),
        (r#" {"a" : "1"}"#, r#"{"a":"1"}"#),
        (
            r#"{"quote":"a\"b\\c/d","lines":"x\ny\tz","html":"<b>&amp;</b>"}"#,
            r#"{"html":"<b>&amp;</b>","lines":"x\ny\tz","quote":"a\"b\\c/d"}"#,
        ),
        ("{\"\u{4f4d}\":\"\u{5317}\",\"emoji\":\"\u{1f600}\"}", "{\"emoji\":\"\u{1f600}\",\"\u{4f4d}\":\"\u{5317}\"}"),
        ("a=1", r#"{"a":"1"}"#),
        ("a=1,b=2", r#"{"a":"1","b":"2"}"#),
        ("a=1,b=2,", r#"{"a":"1","b":"2"}"#),
        ("a=1,,,", r#"{"a":"1"}"#),
        (",", "{}"),
        ("a = 1 , b = 2", r#"{" b ":" 2","a ":" 1 "}"#),
        ("a=1,a=2", r#"{"a":"2"}"#),
        ("=1", r#"{"":"1"}"#),
        ("a=b=", r#"{"a":"b"}"#),
        ("a=b==", r#"{"a":"b"}"#),
        (r#"{"a"=1}"#, r#"{"{\"a\"":"1}"}"#),
        ("nullable=1", r#"{"nullable":"1"}"#),
        ("null=1", r#"{"null":"1"}"#),
        ("\u{43a}=\u{437},\u{e9}=\u{fc}", "{\"\u{e9}\":\"\u{fc}\",\"\u{43a}\":\"\u{437}\"}"),
        ("a=%20+", r#"{"a":"%20+"}"#),
    ] {
        assert_eq!(printed(&parse(text).unwrap()), json, "{text:?}");
    }
}

#[test]
fn neither_form_is_refused_and_quoted() {
    for text in [
        "nonsense",
        "a=1,b",
        "a=b=c",
        "a=",
        "=",
        "==",
        ",a=1",
        "a=1,,b=2",
        "a==1",
        r#"{"a":{"b":1}}"#,
        r#"{"a":[1]}"#,
        "[1]",
        r#""text""#,
        "1",
        "true",
        "{",
        r#"{"a":1"#,
        r#"{"a":tru}"#,
        r#"{"a":"1",}"#,
        "{a:1}",
        "{'a':'1'}",
    ] {
        assert_eq!(parse(text), Err(Error::Refused(format!("metadata format incorrect:{text}"))), "{text:?}");
    }
}

#[test]
fn many_nulls_take_no_quadratic_time() {
    let keys: Vec<String> = (0..100_000).map(|n| format!("\"k{n}\":1")).collect();
    let nulls: Vec<String> = (1..100_000).map(|n| format!("\"k{n}\":null")).collect();
    let text = format!("{{{},{}}}", keys.join(","), nulls.join(","));
    assert_eq!(printed(&parse(&text).unwrap()), r#"{"k0":"1"}"#);
}

proptest! {
    #[test]
    fn parsing_never_panics(text in any::<String>(), near in "[{}\\[\\]\",:=a1 \\\\un]{0,30}") {
        let _ = (parse(&text), parse(&near));
    }

    #[test]
    fn printed_metadata_reads_back(pairs in proptest::collection::vec(any::<(String, String)>(), 0..8)) {
        let metadata: Option<Metadata> = Some(pairs.into_iter().collect());
        prop_assert_eq!(parse(&printed(&metadata)).unwrap(), metadata);
    }

    #[test]
    fn pairs_are_split_as_by_java(text in "[a=,]{1,12}") {
        // A second, literal reading of the rule: split, drop empty parts at the end, exactly two each.
        fn split(text: &str, at: char) -> Vec<&str> {
            let mut parts: Vec<&str> = text.split(at).collect();
            while parts.last().is_some_and(|part| part.is_empty()) { parts.pop(); }
            parts
        }
        let expected = split(&text, ',').into_iter().map(|part| match split(part, '=')[..] {
            [key, value] => Some((key, value)),
            _ => None,
        }).collect::<Option<Metadata>>();
        prop_assert_eq!(parse(&text).ok().flatten(), expected);
    }
}
