//! Reads the source tree as tokens (so that comments and texts are never mistaken for code) and keeps what the rules
//! look at: paths, names, macros, texts and functions, each with its line and whether it is test code.

use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Something at a line.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    pub(crate) what: T,
    pub(crate) line: usize,
    /// In `#[cfg(test)]`, `#[test]` or a file that is only compiled for tests.
    pub(crate) test: bool,
}

/// A function and its lines, from `fn` to the closing brace.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: String,
    pub(crate) line: usize,
    pub(crate) lines: usize,
}

/// A `mod` declared in a file.
#[derive(Debug)]
pub(crate) struct Module {
    /// Absolute, without `crate`.
    pub(crate) path: Vec<String>,
    pub(crate) public: bool,
    /// `mod name { ... }`
    pub(crate) inline: bool,
    pub(crate) documented: bool,
    pub(crate) test: bool,
    pub(crate) line: usize,
}

/// One Rust file.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Relative to the package, with `/`.
    pub(crate) file: String,
    pub(crate) text: String,
    /// Absolute module path without `crate`; empty for lib.rs, `main` for main.rs.
    pub(crate) module: Vec<String>,
    /// Paths within this crate, absolute, without `crate`.
    pub(crate) inner: Vec<At<Vec<String>>>,
    /// All other paths of two or more parts and everything imported, as written.
    pub(crate) outer: Vec<At<Vec<String>>>,
    pub(crate) idents: Vec<At<String>>,
    pub(crate) macros: Vec<At<String>>,
    pub(crate) attributes: Vec<At<String>>,
    pub(crate) literals: Vec<At<String>>,
    pub(crate) functions: Vec<Function>,
    pub(crate) modules: Vec<Module>,
    /// Begins with `//!`.
    pub(crate) documented: bool,
}

impl Source {
    /// The top-level module it belongs to; `lib` and `main` for those two files.
    pub(crate) fn room(&self) -> &str {
        self.module.first().map_or("lib", String::as_str)
    }

    /// True for the module `path` (`a::b`) and everything below it.
    pub(crate) fn is_in(&self, path: &str) -> bool {
        starts_with(&self.module, path)
    }
}

/// True when `path` begins with the parts of `prefix` (`a::b`).
pub(crate) fn starts_with(path: &[String], prefix: &str) -> bool {
    let parts: Vec<&str> = prefix.split("::").collect();
    path.len() >= parts.len() && path.iter().zip(&parts).all(|(a, b)| a == b)
}

/// Every file below `folder` (relative to the package), sorted; none when it does not exist.
pub(crate) fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![folder.to_owned()];
    while let Some(folder) = todo.pop() {
        let Ok(entries) = fs::read_dir(package().join(&folder)) else { continue };
        for entry in entries {
            let entry = entry.expect("a readable folder");
            let name = format!("{folder}/{}", entry.file_name().to_string_lossy());
            // Build output of the interop tests is not ours.
            if entry.file_type().expect("a file type").is_dir() {
                if !name.ends_with("/target") {
                    todo.push(name);
                }
            } else {
                found.push(name);
            }
        }
    }
    found.sort();
    found
}

/// The folder of Cargo.toml.
pub(crate) fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Text of a file of the package; `None` when there is none or it is not UTF-8.
pub(crate) fn text(file: &str) -> Option<String> {
    fs::read_to_string(package().join(file)).ok()
}

/// The Rust files below `folder`.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let mut all: Vec<Source> = files(folder)
        .into_iter()
        .filter(|file| file.ends_with(".rs"))
        .map(|file| {
            let text = text(&file).unwrap_or_else(|| panic!("{file} is not UTF-8 text"));
            parse(&file, &text)
        })
        .collect();
    let test_only: Vec<String> = all
        .iter()
        .flat_map(|source| source.modules.iter().filter(|module| module.test && !module.inline))
        .map(|module| module.path.join("::"))
        .collect();
    for source in all.iter_mut().filter(|source| test_only.iter().any(|path| source.is_in(path))) {
        source.inner.iter_mut().chain(&mut source.outer).for_each(|at| at.test = true);
        source.idents.iter_mut().chain(&mut source.literals).for_each(|at| at.test = true);
    }
    all
}

/// The file as the rules see it.
pub(crate) fn parse(file: &str, text: &str) -> Source {
    let tokens: TokenStream = text.parse().unwrap_or_else(|e| panic!("{file} is not Rust: {e}"));
    let mut parts: Vec<String> = file.trim_end_matches(".rs").split('/').skip(1).map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    let mut source =
        Source { file: file.to_owned(), text: text.to_owned(), module: parts.clone(), ..Source::default() };
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    source.documented = has_inner_docs(&tokens);
    Walk { source: &mut source, module: parts, test: false }.tokens(&tokens);
    source
}

fn has_inner_docs(tokens: &[TokenTree]) -> bool {
    tokens.windows(3).any(|w| {
        is_punct(Some(&w[0]), '#')
            && is_punct(Some(&w[1]), '!')
            && group_words(&w[2]).first().is_some_and(|w| w == "doc")
    })
}

struct Walk<'a> {
    source: &'a mut Source,
    module: Vec<String>,
    test: bool,
}

impl Walk<'_> {
    fn at<T>(&self, what: T, token: &TokenTree, test: bool) -> At<T> {
        At { what, line: token.span().start().line, test: self.test || test }
    }

    fn tokens(&mut self, tokens: &[TokenTree]) {
        // `test` and `documented` belong to the item that the last attributes stand before.
        let (mut test, mut documented, mut public) = (false, false, false);
        let mut i = 0;
        while let Some(token) = tokens.get(i) {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let inner = is_punct(tokens.get(i + 1), '!');
                    if let Some(attribute) =
                        tokens.get(i + 1 + usize::from(inner)).filter(|t| is_group(t, Delimiter::Bracket))
                    {
                        let words = group_words(attribute);
                        let has = |word: &str| words.iter().any(|w| w == word);
                        let first = words.first().cloned().unwrap_or_default();
                        documented |= first == "doc";
                        test |= words.last().is_some_and(|w| w == "test") && words.len() <= 2
                            || first == "cfg" && has("test") && !has("not");
                        if first != "doc" {
                            let at = self.at(words.join(" "), token, test);
                            self.source.attributes.push(at);
                            self.group(attribute, test);
                        }
                        i += 2 + usize::from(inner);
                        continue;
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == ';' => (test, documented, public) = (false, false, false),
                TokenTree::Punct(_) => {}
                TokenTree::Literal(literal) => {
                    let at = self.at(literal.to_string(), token, test);
                    self.source.literals.push(at);
                }
                TokenTree::Group(group) => {
                    self.group(token, test);
                    if group.delimiter() == Delimiter::Brace {
                        (test, documented, public) = (false, false, false);
                    }
                }
                TokenTree::Ident(ident) => {
                    let word = ident.to_string();
                    let at = self.at(word.clone(), token, test);
                    self.source.idents.push(at);
                    public |= word == "pub";
                    i = match word.as_str() {
                        "use" if !is_punct(tokens.get(i + 1), '<') => self.import(tokens, i + 1, test),
                        "extern" if word_of(tokens.get(i + 1)).as_deref() == Some("crate") => i + 1,
                        "crate" if i > 0 && word_of(tokens.get(i - 1)).as_deref() == Some("extern") => {
                            self.import(tokens, i + 1, test)
                        }
                        "mod" => {
                            let last = self.declare(tokens, i, test, documented, public);
                            (test, documented, public) = (false, false, false);
                            last
                        }
                        "fn" => {
                            self.function(tokens, i);
                            i
                        }
                        _ => self.path(tokens, i, test),
                    };
                }
            }
            i += 1;
        }
    }

    fn group(&mut self, token: &TokenTree, test: bool) {
        let TokenTree::Group(group) = token else { return };
        let inner: Vec<TokenTree> = group.stream().into_iter().collect();
        Walk { source: self.source, module: self.module.clone(), test: self.test || test }.tokens(&inner);
    }

    /// `mod name;` or `mod name { ... }`; returns the index of its last token.
    fn declare(&mut self, tokens: &[TokenTree], i: usize, test: bool, documented: bool, public: bool) -> usize {
        let Some(name) = word_of(tokens.get(i + 1)) else { return i };
        let body = tokens.get(i + 2).filter(|t| is_group(t, Delimiter::Brace));
        let mut path = self.module.clone();
        path.push(name);
        let inner: Vec<TokenTree> = match body {
            Some(TokenTree::Group(group)) => group.stream().into_iter().collect(),
            _ => Vec::new(),
        };
        self.source.modules.push(Module {
            path: path.clone(),
            public,
            inline: body.is_some(),
            documented: documented || has_inner_docs(&inner),
            test: self.test || test,
            line: tokens[i].span().start().line,
        });
        if body.is_none() {
            return i + 1;
        }
        Walk { source: self.source, module: path, test: self.test || test }.tokens(&inner);
        i + 2
    }

    fn function(&mut self, tokens: &[TokenTree], i: usize) {
        let Some(name) = word_of(tokens.get(i + 1)) else { return };
        let line = tokens[i].span().start().line;
        for token in &tokens[i..] {
            if is_punct(Some(token), ';') {
                return;
            }
            if is_group(token, Delimiter::Brace) {
                let lines = token.span().end().line + 1 - line;
                self.source.functions.push(Function { name, line, lines });
                return;
            }
        }
    }

    /// A path in code; returns the index of its last token.
    fn path(&mut self, tokens: &[TokenTree], i: usize, test: bool) -> usize {
        if is_punct(tokens.get(i + 1), '!') && !is_punct(tokens.get(i + 2), '=') {
            let at = self.at(word_of(tokens.get(i)).unwrap_or_default(), &tokens[i], test);
            self.source.macros.push(at);
            return i;
        }
        // `<T as X>::name` and `.name` go on from something else.
        let continued = i >= 2 && is_separator(tokens, i - 2) && i >= 3 && is_punct(tokens.get(i - 3), '>');
        let mut parts = vec![word_of(tokens.get(i)).unwrap_or_default()];
        let mut last = i;
        while is_separator(tokens, last + 1) {
            let Some(word) = word_of(tokens.get(last + 3)) else { break };
            parts.push(word.clone());
            last += 3;
            let at = self.at(word, &tokens[last], test);
            self.source.idents.push(at);
        }
        if parts.len() > 1 && !continued {
            self.found(parts, &tokens[i], test);
        }
        if is_punct(tokens.get(last + 1), '!') && !is_punct(tokens.get(last + 2), '=') && last > i {
            let at = self.at(word_of(tokens.get(last)).unwrap_or_default(), &tokens[last], test);
            self.source.macros.push(at);
        }
        last
    }

    /// The tree after `use`, up to its `;`; returns the index before that.
    fn import(&mut self, tokens: &[TokenTree], start: usize, test: bool) -> usize {
        let end = (start..tokens.len()).find(|&i| is_punct(tokens.get(i), ';')).unwrap_or(tokens.len());
        let mut found = Vec::new();
        use_tree(&tokens[start..end], &[], &mut found);
        for (parts, token) in found {
            let idents = parts.iter().map(|part| self.at(part.clone(), &token, test)).collect::<Vec<_>>();
            self.source.idents.extend(idents);
            self.found(parts, &token, test);
        }
        end - 1
    }

    fn found(&mut self, mut parts: Vec<String>, token: &TokenTree, test: bool) {
        // The binary sees the library under its name.
        let root = parts[0] == "crate" || (self.source.file == "src/main.rs" && parts[0] == "nacre");
        let absolute = if root {
            Some(parts.split_off(1))
        } else if parts[0] == "self" || parts[0] == "super" {
            let up = parts.iter().take_while(|part| *part == "super").count();
            let keep = self.module.len().saturating_sub(up);
            let rest = parts.iter().skip_while(|part| *part == "super" || *part == "self").cloned();
            Some(self.module[..keep].iter().cloned().chain(rest).collect())
        } else {
            None
        };
        let at = |what| At { what, line: token.span().start().line, test: self.test || test };
        match absolute {
            Some(path) => self.source.inner.push(at(path)),
            None => self.source.outer.push(at(parts)),
        }
    }
}

/// The leaves of a `use` tree.
fn use_tree(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<(Vec<String>, TokenTree)>) {
    for branch in tokens.split(|token| is_punct(Some(token), ',')) {
        let mut parts = prefix.to_vec();
        let mut renamed = false;
        let mut grouped = false;
        for token in branch {
            match token {
                TokenTree::Ident(ident) if ident == "as" => renamed = true,
                TokenTree::Ident(ident) if !renamed && (ident != "self" || parts.is_empty()) => {
                    parts.push(ident.to_string())
                }
                TokenTree::Punct(punct) if punct.as_char() == '*' => parts.push("*".to_owned()),
                TokenTree::Group(group) => {
                    grouped = true;
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    use_tree(&inner, &parts, found);
                }
                _ => {}
            }
        }
        if let (false, Some(first)) = (grouped || parts.is_empty(), branch.first()) {
            found.push((parts, first.clone()));
        }
    }
}

fn is_separator(tokens: &[TokenTree], i: usize) -> bool {
    matches!(tokens.get(i), Some(TokenTree::Punct(p)) if p.as_char() == ':' && p.spacing() == Spacing::Joint)
        && is_punct(tokens.get(i + 1), ':')
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn is_group(token: &TokenTree, delimiter: Delimiter) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == delimiter)
}

fn word_of(token: Option<&TokenTree>) -> Option<String> {
    match token {
        Some(TokenTree::Ident(ident)) => Some(ident.to_string()),
        _ => None,
    }
}

/// All words in a group, at any depth.
fn group_words(token: &TokenTree) -> Vec<String> {
    match token {
        TokenTree::Ident(ident) => vec![ident.to_string()],
        TokenTree::Group(group) => group.stream().into_iter().flat_map(|token| group_words(&token)).collect(),
        _ => Vec::new(),
    }
}
