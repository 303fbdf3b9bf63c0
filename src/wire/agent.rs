//! Who is asking: kind and version from the header `User-Agent` (1.4).

/// What kind of client it is, by the prefix of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `Nacos-Java-Client`.
    Java,
    /// `Nacos-DNS`.
    Dns,
    /// `Nacos-C-Client` or `vip-client4cpp`.
    C,
    /// `Nacos-SDK-Java`.
    JavaSdk,
    /// `Nacos-Server`: a peer, or somebody who says so.
    NacosServer,
    /// `unit-nginx`.
    Tengine,
    /// `Nacos-Go-Client`.
    Go,
    /// `Nacos-CSharp-Client`.
    CSharp,
    /// Anything else.
    Unknown,
}

/// Prefixes in the order in which they are tried; none is a prefix of another.
const PREFIXES: [(&str, Kind); 9] = [
    ("Nacos-Java-Client", Kind::Java),
    ("Nacos-DNS", Kind::Dns),
    ("Nacos-C-Client", Kind::C),
    ("Nacos-SDK-Java", Kind::JavaSdk),
    ("Nacos-Server", Kind::NacosServer),
    ("unit-nginx", Kind::Tengine),
    ("vip-client4cpp", Kind::C),
    ("Nacos-Go-Client", Kind::Go),
    ("Nacos-CSharp-Client", Kind::CSharp),
];

/// Major, minor, patch; 0.0.0 when unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u32, pub u32, pub u32);

impl Version {
    /// Of a text such as `1.0.12`; fewer than two parts are 0.0.0.
    pub fn parse(text: &str) -> Self {
        let mut parts = text.trim().trim_end_matches(SEPARATORS).split(SEPARATORS);
        match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) => {
                Self(leading_number(major), leading_number(minor), parts.next().map_or(0, leading_number))
            }
            _ => Self::default(),
        }
    }
}

/// A client as it presents itself. Nothing of it is proven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agent {
    /// By the prefix of its name.
    pub kind: Kind,
    /// 0.0.0 for [`Kind::Unknown`].
    pub version: Version,
}

impl Agent {
    /// Of the headers `User-Agent` and, when that is missing or empty, `Client-Version`; missing ones are empty here.
    pub fn parse(user_agent: &str, client_version: &str) -> Self {
        let name = if user_agent.is_empty() { client_version } else { user_agent };
        match PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)) {
            Some(&(_, kind)) => Self { kind, version: version(name) },
            None => Self { kind: Kind::Unknown, version: Version::default() },
        }
    }

    /// A Java client of 1.0.0 or later: it sees grouped names, and its PUT doesn't create.
    pub fn is_modern_java(&self) -> bool {
        self.kind == Kind::Java && self.version >= Version(1, 0, 0)
    }
}

/// The version after the first `:v`, or in the text from the second character on. Fewer than two parts are 0.0.0 (the
/// reference fails on those).
fn version(name: &str) -> Version {
    let text = match name.split_once(":v") {
        Some((_, version)) => version,
        None => name.get(1..).unwrap_or_default(),
    };
    Version::parse(text)
}

const SEPARATORS: [char; 6] = ['-', '_', '.', '/', ';', ':'];

/// The digits a text begins with, 0 without any; more than 32 bits count as the largest number.
fn leading_number(text: &str) -> u32 {
    let digits = text.bytes().map_while(|b| b.is_ascii_digit().then(|| u32::from(b - b'0')));
    digits.fold(0, |number: u32, digit| number.saturating_mul(10).saturating_add(digit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn kinds_and_versions() {
        for (name, kind, version) in [
            ("Nacos-Java-Client:v1.4.2", Kind::Java, Version(1, 4, 2)),
            ("Nacos-Java-Client:v1.4", Kind::Java, Version(1, 4, 0)),
            ("Nacos-Java-Client:v1.4.8-SNAPSHOT", Kind::Java, Version(1, 4, 8)),
            ("Nacos-Java-Client:v1.4-SNAPSHOT", Kind::Java, Version(1, 4, 0)),
            ("Nacos-Java-Client:v0.9.1", Kind::Java, Version(0, 9, 1)),
            ("Nacos-Java-Client:v1.0.0", Kind::Java, Version(1, 0, 0)),
            ("Nacos-Java-Client:v12.34rc.5b6:v9.9.9", Kind::Java, Version(12, 34, 5)),
            ("Nacos-Java-Client:v1", Kind::Java, Version::default()),
            ("Nacos-Java-Client:v1.", Kind::Java, Version::default()),
            ("Nacos-Java-Client:vabc", Kind::Java, Version::default()),
            ("Nacos-Java-Client:v", Kind::Java, Version::default()),
            ("Nacos-Java-Client", Kind::Java, Version::default()),
            ("Nacos-Java-Client:1.4.2", Kind::Java, Version::default()),
            ("Nacos-Java-Client:v.1", Kind::Java, Version(0, 1, 0)),
            ("Nacos-Java-Client:v99999999999.1", Kind::Java, Version(u32::MAX, 1, 0)),
            ("Nacos-DNS:v1.0.1", Kind::Dns, Version(1, 0, 1)),
            ("Nacos-C-Client:v1.1", Kind::C, Version(1, 1, 0)),
            ("vip-client4cpp:v1.2.3", Kind::C, Version(1, 2, 3)),
            ("Nacos-SDK-Java:v1.2.3", Kind::JavaSdk, Version(1, 2, 3)),
            ("Nacos-Server:v1.4.8", Kind::NacosServer, Version(1, 4, 8)),
            ("unit-nginx:v1.2.3", Kind::Tengine, Version(1, 2, 3)),
            ("Nacos-Go-Client:v1.0.9", Kind::Go, Version(1, 0, 9)),
            ("Nacos-CSharp-Client:v0.1.2", Kind::CSharp, Version(0, 1, 2)),
            ("Nacos-Python-Client:v1.2.3", Kind::Unknown, Version::default()),
            ("nacos-java-client:v1.4.2", Kind::Unknown, Version::default()),
            ("curl/8.0", Kind::Unknown, Version::default()),
            ("", Kind::Unknown, Version::default()),
        ] {
            assert_eq!(Agent::parse(name, ""), Agent { kind, version }, "{name:?}");
        }
    }

    #[test]
    fn client_version_stands_in_for_an_empty_user_agent() {
        assert_eq!(Agent::parse("", "Nacos-Java-Client:v1.4.2").kind, Kind::Java);
        assert_eq!(Agent::parse("curl/8.0", "Nacos-Java-Client:v1.4.2").kind, Kind::Unknown);
    }

    #[test]
    fn modern_java() {
        let modern = |name| Agent::parse(name, "").is_modern_java();
        assert!(modern("Nacos-Java-Client:v1.0.0") && modern("Nacos-Java-Client:v2.0.3"));
        assert!(!modern("Nacos-Java-Client:v0.9.9") && !modern("Nacos-Java-Client:v1") && !modern("Nacos-Java-Client"));
        assert!(!modern("Nacos-SDK-Java:v1.4.2") && !modern("Nacos-Go-Client:v1.0.1"));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>(), tail in any::<String>()) {
            let _ = (Agent::parse(&text, &tail), Agent::parse(&format!("Nacos-Java-Client{tail}"), ""));
            let _ = (version(&text), version(&format!(":v{text}")));
        }
    }
}
