//! Which clients can be pushed to (`spec/push.md` 1).

use crate::model::settings::Switches;
use crate::wire::agent::{Agent, Kind, Version};

/// Whether a client of that kind and version understands datagrams, as the switches have it.
pub fn is_pushable(agent: &Agent, switches: &Switches) -> bool {
    let least = match agent.kind {
        Kind::Java => &switches.push_java_version,
        Kind::Dns => &switches.push_python_version,
        Kind::C => &switches.push_c_version,
        Kind::Go => &switches.push_go_version,
        Kind::CSharp => &switches.push_csharp_version,
        Kind::JavaSdk | Kind::Tengine | Kind::NacosServer | Kind::Unknown => return false,
    };
    agent.version >= Version::parse(least)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_from_their_versions_on() {
        let mut switches = Switches::default();
        let pushable = |name: &str, switches: &Switches| is_pushable(&Agent::parse(name, ""), switches);
        for (kind, least, below) in [
            ("Nacos-Java-Client", "0.1.0", "0.0.9"),
            ("Nacos-DNS", "0.4.3", "0.4.2"),
            ("Nacos-C-Client", "1.0.12", "1.0.11"),
            ("vip-client4cpp", "1.0.12", "1.0.11"),
            ("Nacos-Go-Client", "0.1.0", "0.0.9"),
            ("Nacos-CSharp-Client", "0.9.0", "0.8.9"),
        ] {
            assert!(pushable(&format!("{kind}:v{least}"), &switches), "{kind}");
            assert!(!pushable(&format!("{kind}:v{below}"), &switches), "{kind}");
        }
        for other in ["", "curl/8.0", "Nacos-SDK-Java:v9.0.0", "unit-nginx:v9.0.0", "Nacos-Server:v1.4.8"] {
            assert!(!pushable(other, &switches), "{other}");
        }
        switches.push_java_version = "1.4.3".into();
        assert!(!pushable("Nacos-Java-Client:v1.4.2", &switches) && pushable("Nacos-Java-Client:v1.4.3", &switches));
    }
}
