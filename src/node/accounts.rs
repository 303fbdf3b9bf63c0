//! What authentication needs before the first request: the key of the tokens, and somebody who can log in.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::config::{Config, Secret};
use crate::error::{Error, Result};
use crate::http::auth::{Auth, Options, password};
use crate::http::call::App;
use crate::model::account::{ADMIN_ROLE, ADMIN_USER, AccountChange};
use crate::model::command::Command;

/// In the data folder: the key of the tokens, when none is configured.
const KEY_FILE: &str = "token.key";
const KEY_BYTES: usize = 32;
/// Passwords below this are warned of.
const GOOD_PASSWORD_CHARS: usize = 12;
/// How often a server of several looks whether it is time to make the first admin.
const ADMIN_PAUSE: Duration = Duration::from_millis(500);
/// The password that everybody tries first.
const KNOWN_PASSWORD: &str = "nacos";

/// How to tell who asks.
///
/// # Errors
/// [`Error::Setup`] when the key of the tokens can't be read or kept.
pub(super) fn auth(config: &Config) -> Result<Auth> {
    Auth::new(options(config)?)
}

/// The same as options.
///
/// # Errors
/// As for [`auth`].
pub(super) fn options(config: &Config) -> Result<Options> {
    let settings = &config.auth;
    let token_key = match (&settings.token_key, settings.enabled) {
        // With authentication off tokens mean nothing, and must not mean anything once it is on.
        (_, false) => password::random::<KEY_BYTES>()?.to_vec(),
        (Some(Secret(key)), true) => key.clone(),
        (None, true) => kept_key(&config.data_dir)?,
    };
    let identity = identity(config);
    let (enabled, check_peers, token_ttl_s) = (settings.enabled, settings.check_peers, settings.token_ttl_s);
    Ok(Options { enabled, token_key, token_ttl_s, identity, check_peers })
}

/// Header and value by which the servers of a cluster know each other.
pub(super) fn identity(config: &Config) -> Option<(String, String)> {
    config.auth.identity.as_ref().map(|(header, Secret(value))| (header.clone(), value.clone()))
}

/// The key in the data folder, made if there is none. Only this user can read it.
fn kept_key(data_dir: &Path) -> Result<Vec<u8>> {
    let path = data_dir.join(KEY_FILE);
    let fault = |what: &str| Error::Setup(format!("the key of the tokens in {}: {what}", path.display()));
    match File::open(&path) {
        Ok(file) => read_key(file, &path).map_err(|what| fault(&what)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let key = password::random::<KEY_BYTES>()?;
            write_key(&path, &key).map_err(|error| fault(&error.to_string()))?;
            Ok(key.to_vec())
        }
        Err(error) => Err(fault(&error.to_string())),
    }
}

fn read_key(file: File, path: &Path) -> Result<Vec<u8>, String> {
    let mode = file.metadata().map_err(|error| error.to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(path = %path.display(), "others can read or change the key of the tokens: chmod 600");
    }
    let mut text = String::new();
    // Longer than any key, so that a wrong file is not read to its end.
    file.take(4_096).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let key = STANDARD.decode(text.trim()).ok().filter(|key| key.len() >= KEY_BYTES);
    key.ok_or_else(|| {
        format!("not Base64 of {KEY_BYTES} bytes; without the file a new key is made and all log in again")
    })
}

/// Never leaves a file that is there but not whole.
fn write_key(path: &Path, key: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("key.new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new)?;
    writeln!(file, "{}", STANDARD.encode(key))?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

/// Makes the first admin if there is none, and warns of a bad password. Nothing to do with authentication off.
///
/// # Errors
/// [`Error::Setup`] when the admin can't be stored or its password not be told.
pub(super) async fn ensure_admin(config: &Config, app: &App) -> Result<()> {
    if !config.auth.enabled {
        return Ok(());
    }
    let given = config.auth.admin_password.as_ref().map(|Secret(text)| text.as_str());
    let settings = app.registry.settings();
    if !settings.roles().iter().any(|(role, _)| **role == *ADMIN_ROLE) {
        let password = match given {
            Some(password) => password.to_owned(),
            None => invented()?,
        };
        let hash = password::hash(&password)?;
        let made = app.run(Command::Account(AccountChange::FirstAdmin { user: ADMIN_USER.into(), hash })).await;
        made.map_err(|error| Error::Setup(format!("the user {ADMIN_USER} could not be made: {error}")))?;
        tracing::info!("first start with authentication: made the user {ADMIN_USER}");
    }
    warn_of_weak(given, settings.user(ADMIN_USER).map(|user| user.password_hash));
    Ok(())
}

/// The same for a server of several, while it serves: all of them have the same users, so it waits until they agree on things,
/// and it is for the one that leads.
pub(super) async fn ensure_admin_of_group(config: Config, app: Arc<App>) {
    let Some(group) = app.consensus.as_ref().filter(|_| config.auth.enabled) else { return };
    loop {
        let leads = group.has_caught_up() && group.state().is_some_and(|state| state.is_leader);
        let has_admin = app.registry.settings().roles().iter().any(|(role, _)| **role == *ADMIN_ROLE);
        if leads || has_admin {
            match ensure_admin(&config, &app).await {
                Ok(()) => return,
                Err(error) => tracing::warn!(%error, "it is tried again"),
            }
        }
        tokio::time::sleep(ADMIN_PAUSE).await;
    }
}

/// A password that nobody has, told once: before it counts, so that a crash in between locks nobody out. Not by the log,
/// which is kept and sent around.
fn invented() -> Result<String> {
    let password = URL_SAFE_NO_PAD.encode(password::random::<15>()?);
    let told = writeln!(
        io::stderr().lock(),
        "nacre: first start with authentication: user {ADMIN_USER}, password {password} (shown this once)"
    );
    told.map_err(|error| Error::Setup(format!("the password of {ADMIN_USER} can't be shown: {error}")))?;
    Ok(password)
}

/// Looks whether the password in force is the one everybody knows, or a short one of the configuration.
fn warn_of_weak(given: Option<&str>, stored: Option<String>) {
    let Some(stored) = stored else { return };
    let short = given.filter(|password| password.chars().count() < GOOD_PASSWORD_CHARS && *password != KNOWN_PASSWORD);
    if password::fits(KNOWN_PASSWORD, &stored) {
        tracing::warn!("the user {ADMIN_USER} has the password that everybody tries first: change it now");
    } else if short.is_some_and(|password| password::fits(password, &stored)) {
        tracing::warn!("the user {ADMIN_USER} has a password below {GOOD_PASSWORD_CHARS} characters: change it");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_for_this_user_alone() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let key = kept_key(&data).unwrap();
        assert_eq!((key.len(), kept_key(&data).unwrap()), (KEY_BYTES, key.clone()));
        let path = data.join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_file(&path).unwrap();
        fs::write(path.with_extension("key.new"), "left behind").unwrap();
        assert_ne!(kept_key(&data).unwrap(), key);
    }

    #[test]
    fn a_file_that_is_no_key_stops_the_start() {
        let home = tempfile::tempdir().unwrap();
        for text in ["", "abc", "AAAA", "\u{0}"] {
            fs::write(home.path().join(KEY_FILE), text).unwrap();
            let error = kept_key(home.path()).unwrap_err();
            assert!(matches!(&error, Error::Setup(text) if text.contains(KEY_FILE)), "{error}");
        }
    }
}
