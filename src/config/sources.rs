//! Where values come from: flags, environment, file and defaults, first wins; names are taken loosely.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::keys::{self, Key};
use super::properties::{self, Property};
use super::{Flags, Note, NoteLevel, Secret, value};
use crate::error::{Error, Result};

/// `${a}` within `${b}` within ... deeper than this is refused.
const MAX_DEPTH: usize = 16;
/// More replacements than this in one value are refused.
const MAX_REPLACEMENTS: usize = 1000;
/// A value that grows beyond this by replacing is refused.
const MAX_VALUE_BYTES: usize = 64 << 10;
/// The start of our own names, in which typing errors are found.
const OWN_PREFIX: &str = "nacre.";

/// Where a value was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// This flag of the command line.
    Flag(&'static str),
    /// This variable of the environment.
    Environment(String),
    /// This line of this file.
    File(String, usize),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "flag {flag}"),
            Source::Environment(name) => write!(f, "environment variable {name}"),
            Source::File(path, line) => write!(f, "{path} line {line}"),
            Source::Default => f.write_str("default"),
        }
    }
}

/// A property in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Name of the property.
    pub key: &'static str,
    /// Its text, after `${...}` has been replaced; `(hidden)` for a secret.
    pub value: String,
    /// Where it was found.
    pub source: Source,
    /// Its text, also of a secret; to see whether it has changed.
    pub(super) text: Secret<String>,
}

/// The error of a bad value: one line with key, value, where it came from and what is allowed.
pub(super) fn bad_value(key: &str, text: &str, source: &Source, allowed: &str) -> Error {
    Error::Setup(format!("{key}={} (from {source}): must be {allowed}", value::shown(text)))
}

/// The text of a property as it may be seen.
fn shown_of<'t>(key: &Key, text: &'t str) -> &'t str {
    if key.is_secret() && !text.is_empty() { "(hidden)" } else { text }
}

/// A value in the course of being replaced.
struct Replacing {
    /// Canonical names of the properties within each other, outermost first.
    within: Vec<String>,
    /// How many `${...}` were met.
    count: usize,
}

/// Everything that was said about properties by anybody.
#[derive(Debug, Default)]
pub(super) struct Sources {
    flags: Vec<(&'static str, Key, String)>,
    /// By exact name.
    environment: BTreeMap<String, String>,
    /// By canonical name.
    file: BTreeMap<String, Property>,
    path: String,
    /// Every key that was read, in the order of reading.
    pub(super) settings: Vec<Setting>,
    pub(super) notes: Vec<Note>,
}

impl Sources {
    /// Collects flags and environment; the file is added by [`Sources::add_file`] once the home folder is known.
    pub(super) fn new(flags: &Flags, environment: impl IntoIterator<Item = (String, String)>) -> Self {
        Self {
            flags: flags.properties(),
            environment: environment.into_iter().filter(|(_, text)| !text.trim().is_empty()).collect(),
            ..Self::default()
        }
    }

    /// Reads the properties file, if there is one.
    pub(super) fn add_file(&mut self, path: &Path) -> Result<()> {
        self.path = path.display().to_string();
        let bytes = properties::read_file(path)?.unwrap_or_default();
        for property in properties::parse(&bytes, path)? {
            let (name, line) = (property.name.clone(), property.line);
            if let Some(before) = self.file.insert(canonical(&name), property) {
                let text =
                    format!("{name} is set on lines {} and {line} of {}: the last counts", before.line, self.path);
                self.note(NoteLevel::Warn, text);
            }
        }
        Ok(())
    }

    pub(super) fn note(&mut self, level: NoteLevel, text: String) {
        self.notes.push(Note { level, text });
    }

    /// Value of an environment variable that isn't a property.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str)
    }

    /// Reads a property by its rule, which answers what is allowed when the text isn't.
    pub(super) fn read<T>(&mut self, key: &Key, rule: impl FnOnce(&str) -> Result<T, String>) -> Result<T> {
        let (text, source) = self.find(key)?;
        let value = rule(&text).map_err(|allowed| bad_value(key.name, shown_of(key, &text), &source, &allowed))?;
        let shown = shown_of(key, &text).to_owned();
        self.settings.push(Setting { key: key.name, value: shown, source, text: Secret(text) });
        Ok(value)
    }

    /// Reads a property for which blank means "none".
    pub(super) fn read_optional<T>(
        &mut self,
        key: &Key,
        rule: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>> {
        self.read(key, |text| if text.is_empty() { Ok(None) } else { rule(text).map(Some) })
    }

    /// Where the property read last came from.
    pub(super) fn last_source(&self) -> &Source {
        self.settings.last().map_or(&Source::Default, |setting| &setting.source)
    }

    fn find(&self, key: &Key) -> Result<(String, Source)> {
        if let Some((flag, _, text)) = self.flags.iter().find(|(_, of, _)| of == key) {
            return Ok((text.trim().to_owned(), Source::Flag(flag)));
        }
        if let Some((name, text)) = self.environment_of(key.name) {
            return Ok((text.trim().to_owned(), Source::Environment(name.to_owned())));
        }
        if let Some(property) = self.file.get(&canonical(key.name)) {
            let source = Source::File(self.path.clone(), property.line);
            let text = self
                .expand(&property.value, &mut Replacing { within: vec![canonical(key.name)], count: 0 })
                .map_err(|fault| {
                    let text = value::shown(shown_of(key, &property.value));
                    let fault = if key.is_secret() { "a ${...} in it can't be replaced" } else { &fault };
                    Error::Setup(format!("{}={text} (from {source}): {fault}", key.name))
                })?;
            // A blank line of a template means "not set"; only a blank path is a value, as in Spring.
            if !text.trim().is_empty() || *key == keys::CONTEXT_PATH {
                return Ok((text.trim().to_owned(), source));
            }
        }
        Ok((key.default.to_owned(), Source::Default))
    }

    /// Variable for a property: `SERVER_PORT`; case and the place of underscores don't matter.
    fn environment_of(&self, name: &str) -> Option<(&str, &str)> {
        let exact: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        let entry = self.environment.get_key_value(&exact).or_else(|| {
            let wanted = letters(name);
            self.environment.iter().find(|(variable, _)| letters(variable) == wanted)
        });
        entry.map(|(variable, text)| (variable.as_str(), text.as_str()))
    }

    /// Replaces `${name}` and `${name:default}`.
    fn expand(&self, text: &str, replacing: &mut Replacing) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            expanded.push_str(before);
            let end = closing_brace(after).ok_or("a ${ without its }")?;
            let (inner, behind) = after.split_at(end);
            expanded.push_str(&self.replacement(inner, replacing)?);
            if expanded.len() > MAX_VALUE_BYTES {
                return Err(format!("grows beyond {MAX_VALUE_BYTES} bytes by replacing ${{...}}"));
            }
            rest = behind.strip_prefix('}').unwrap_or(behind);
        }
        expanded.push_str(rest);
        Ok(expanded)
    }

    fn replacement(&self, inner: &str, replacing: &mut Replacing) -> Result<String, String> {
        let (name, default) = inner.split_once(':').map_or((inner, None), |(name, default)| (name, Some(default)));
        let key = canonical(name);
        if replacing.within.contains(&key) {
            let path = replacing.within.join(" -> ");
            return Err(format!("${{{}}} refers back to itself: {path} -> {key}", value::shown(name)));
        }
        replacing.count += 1;
        if replacing.within.len() >= MAX_DEPTH || replacing.count > MAX_REPLACEMENTS {
            return Err(format!("more than {MAX_DEPTH} ${{...}} within each other or {MAX_REPLACEMENTS} in all"));
        }
        if let Some((_, _, text)) = self.flags.iter().find(|(_, of, _)| canonical(of.name) == key) {
            return Ok(text.clone());
        }
        if let Some(text) = self.variable(name).or_else(|| self.environment_of(name).map(|(_, text)| text)) {
            return Ok(text.to_owned());
        }
        let known = keys::ALL.iter().find(|of| canonical(of.name) == key).map(|of| of.default);
        let text = match (self.file.get(&key), default, known) {
            (Some(property), _, _) => &property.value,
            (None, Some(default), _) => default,
            (None, None, Some(default)) => return Ok(default.to_owned()),
            (None, None, None) => return Err(format!("${{{}}} is not set anywhere", value::shown(name))),
        };
        replacing.within.push(key);
        let expanded = self.expand(text, replacing)?;
        replacing.within.pop();
        Ok(expanded)
    }

    /// Refuses names of ours that don't exist and notes those of Nacos and Spring that have no effect.
    pub(super) fn check_names(&mut self) -> Result<()> {
        for (name, property) in std::mem::take(&mut self.file) {
            let place = format!("{} line {}", self.path, property.line);
            let shown = value::shown(&property.name);
            if name == canonical("nacos.home") {
                return Err(Error::Setup(format!("{shown} ({place}): is set by --home or NACOS_HOME only")));
            }
            if keys::ALL.iter().any(|key| canonical(key.name) == name) {
                continue;
            }
            if name.starts_with(OWN_PREFIX) {
                let nearest = nearest(&name, canonical).map_or("", |(key, _)| key);
                return Err(Error::Setup(format!("{shown} ({place}): no such property, did you mean {nearest}?")));
            }
            let level = if name.starts_with("server.ssl.") { NoteLevel::Warn } else { NoteLevel::Debug };
            let overruled = keys::OVERRULED.iter().find(|(overruled, _)| canonical(overruled) == name);
            let instead = overruled.map(|(_, key)| format!(", as in Nacos: {} counts", key.name)).unwrap_or_default();
            self.note(level, format!("{shown} ({place}) has no effect here{instead}"));
        }
        self.check_variables()
    }

    /// Other programs may use variables that begin like ours, so only what is nearly one of ours is refused.
    fn check_variables(&mut self) -> Result<()> {
        const TYPING_ERRORS: usize = 2;
        for name in self.environment.keys().filter(|name| name.to_ascii_uppercase().starts_with("NACRE_")) {
            let Some((key, distance)) = nearest(&letters(name), letters) else { continue };
            let shown = value::shown(name);
            if distance > TYPING_ERRORS {
                let text = format!("environment variable {shown} is no property of ours and has no effect");
                self.notes.push(Note { level: NoteLevel::Debug, text });
            } else if distance > 0 {
                let text = format!("environment variable {shown}: no such property, did you mean {key}?");
                return Err(Error::Setup(text));
            }
        }
        Ok(())
    }
}

/// Names that are the same property: case, `-` and `_` don't count.
pub(super) fn canonical(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '-' | '_')).flat_map(char::to_lowercase).collect()
}

/// A name as the environment can carry it: letters and digits alone.
fn letters(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).flat_map(char::to_lowercase).collect()
}

/// The property of ours that is nearest to `name` and how many letters are different, compared in the given form.
fn nearest(name: &str, form: impl Fn(&str) -> String) -> Option<(&'static str, usize)> {
    keys::ALL
        .iter()
        .filter(|key| key.name.starts_with(OWN_PREFIX))
        .map(|key| (key.name, strsim::osa_distance(name, &form(key.name))))
        .min_by_key(|(_, distance)| *distance)
}

/// Where the brace is that closes one opened before `text`.
fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}
