//! Authentication and authorisation: who may what (`who`), and the known holes, each closed (`holes`).

mod holes;
mod needs;
mod users;
mod who;

use serde_json::Value;

use crate::client::{Answer, encode};
use crate::server::Server;

/// Key and identity are for tests only; they are those of the recorded cases.
pub(crate) const PROPERTIES: &str = "\
nacos.core.auth.enabled=true
nacos.core.auth.system.type=nacos
nacos.core.auth.default.token.secret.key=bmFjb3MtY29uZm9ybWFuY2UtdGVzdC1zZWNyZXQta2V5LTAxMjM0NTY3ODk=
nacos.core.auth.default.token.expire.seconds=18000
nacos.core.auth.enable.userAgentAuthWhite=false
nacos.core.auth.server.identity.key=conformance-identity
nacos.core.auth.server.identity.value=conformance-value
nacre.auth.admin.password=nacos
";

/// Tokens for `nacos`: expired in 2020; good until 2100 but signed with another key, or not at all.
const EXPIRED: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJuYWNvcyIsImV4cCI6MTYwMDAwMDAwMH0.BAcXQF0tacAXgeqF0ujUyfDmUP90lzGsjwq9Xj-mmZM";
const FORGED: &str =
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJuYWNvcyIsImV4cCI6NDEwMjQ0NDgwMH0.p6Xh6d8HHzkfGRdhwCzG6RSDhaJilBE2ajYN-hH2QIY";
const UNSIGNED: &str = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJuYWNvcyIsImV4cCI6NDEwMjQ0NDgwMH0.";

/// A server with authentication on, and how to talk to it.
struct Site {
    server: Server,
    admin: String,
}

impl Site {
    fn start() -> Self {
        Self::start_with(PROPERTIES, &[])
    }

    fn start_with(properties: &str, flags: &[&str]) -> Self {
        let mut site = Self { server: Server::configured(flags, properties), admin: String::new() };
        site.admin = site.token("nacos", "nacos");
        site
    }

    /// One request; `target` is the path below the context path, with its query.
    fn send(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.server.client().send(method, &format!("/nacos{target}"), &headers, None).expect("an answer")
    }

    /// The same with a token.
    fn by(&self, token: &str, method: &str, target: &str) -> Answer {
        self.send(method, target, &[("Authorization", &format!("Bearer {token}"))])
    }

    fn login(&self, user: &str, password: &str) -> Answer {
        let target = format!("/v1/auth/login?username={}&password={}", encode(user), encode(password));
        self.send("POST", &target, &[])
    }

    fn token(&self, user: &str, password: &str) -> String {
        let answer = self.login(user, password);
        assert_eq!(answer.status, 200, "{}", answer.text());
        json(&answer)["accessToken"].as_str().expect("a token").to_owned()
    }

    /// Something the admin does, which works.
    fn admin(&self, method: &str, target: &str) -> Value {
        let answer = self.by(&self.admin, method, target);
        assert_eq!(answer.status, 200, "{method} {target}: {}", answer.text());
        json(&answer)
    }

    /// A user, with a role of its own name if it is to have permissions; answers a token.
    fn user(&self, name: &str, password: &str, permissions: &[(&str, &str)]) -> String {
        self.admin("POST", &format!("/v1/auth/users?username={name}&password={password}"));
        if !permissions.is_empty() {
            self.admin("POST", &format!("/v1/auth/roles?role={name}&username={name}"));
        }
        for (resource, action) in permissions {
            let resource = encode(resource);
            self.admin("POST", &format!("/v1/auth/permissions?role={name}&resource={resource}&action={action}"));
        }
        self.token(name, password)
    }
}

fn json(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.text()))
}

/// The message of a refusal; `None` when whoever asked came through to the operation.
fn refusal(answer: &Answer) -> Option<String> {
    if answer.status != 403 || answer.body.is_empty() || answer.header("Content-Type") != Some("application/json") {
        return None;
    }
    let object = json(answer);
    (object["error"] == "Forbidden").then(|| object["message"].as_str().expect("a message").to_owned())
}
