//! Subjects use each other in one direction: there is no import cycle across the folders of `services/src`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The folders that each folder imports from.
type Imports = BTreeMap<String, BTreeSet<String>>;

#[test]
fn there_is_no_import_cycle_across_folders() {
    let imports = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for (subject, expected) in [("trading", "books"), ("books", "stocks"), ("stocks", "market")] {
        assert!(imports[subject].contains(expected), "{subject} imports {expected}: {imports:?}");
    }
    assert_eq!(circles(imports), Imports::new(), "these folders import each other in a circle");
}

#[test]
fn an_import_cycle_is_found_with_its_folders() {
    let imports = |pairs: &[(&str, &str)]| {
        let mut all = Imports::new();
        for (from, to) in pairs {
            all.entry((*from).to_owned()).or_default().insert((*to).to_owned());
            all.entry((*to).to_owned()).or_default();
        }
        all
    };
    let straight = [("trading", "books"), ("trading", "market"), ("books", "market")];
    assert_eq!(circles(imports(&straight)), Imports::new());
    let around = [("trading", "books"), ("books", "market"), ("market", "books")];
    let expected = imports(&[("books", "market"), ("market", "books")]);
    assert_eq!(circles(imports(&around)), expected);
    let source =
        "use crate::{Clock, books::{cache, portfolios}};\n// crate::live\nlet x = crate::stocks::quote();";
    assert_eq!(first_names(source), ["Clock", "books", "stocks"]);
}

/// Removes folders that import from no other folder, or that no other folder imports from, until only cycles are left.
fn circles(mut imports: Imports) -> Imports {
    loop {
        let before = imports.len();
        let imported: BTreeSet<String> = imports.values().flatten().cloned().collect();
        imports.retain(|name, uses| !uses.is_empty() && imported.contains(name));
        let left: BTreeSet<String> = imports.keys().cloned().collect();
        for uses in imports.values_mut() {
            uses.retain(|name| left.contains(name));
        }
        if imports.len() == before {
            return imports;
        }
    }
}

fn imports(src: &Path) -> Imports {
    let mut files = Vec::new();
    collect(src, &mut files);
    let folder = |path: &Path| {
        let first = path.strip_prefix(src).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    let is_outside = |name: &str| matches!(name, "lib" | "testing");
    let mut all: Imports = files
        .iter()
        .map(|file| (folder(file), BTreeSet::new()))
        .filter(|(name, _)| !is_outside(name))
        .collect();
    let reexports = reexports(&std::fs::read_to_string(src.join("lib.rs")).unwrap());
    for file in &files {
        let name = folder(file);
        if is_outside(&name) {
            continue;
        }
        for used in first_names(&std::fs::read_to_string(file).unwrap()) {
            let used = reexports.get(&used).cloned().unwrap_or(used);
            if used != name && all.contains_key(&used) {
                all.get_mut(&name).unwrap().insert(used);
            }
        }
    }
    all
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, files),
            false => files.push(path),
        }
    }
}

/// The names that the crate's root re-exports, with their folders: `pub use market::Market;`.
fn reexports(root: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    for line in root.lines().filter_map(|line| line.strip_prefix("pub use ")) {
        let Some((folder, path)) = line.trim_end_matches(';').split_once("::") else { continue };
        let last = path.rsplit("::").next().unwrap_or(path);
        for name in last.trim_matches(['{', '}']).split(',') {
            names.insert(name.trim().to_owned(), folder.to_owned());
        }
    }
    names
}

/// The first name of each path that begins with `crate::`, including those in braces. Comments are ignored.
fn first_names(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut names = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.push(identifier(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (index, letter) in group.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ if depth == 0 && begins && !letter.is_whitespace() => {
                    names.push(identifier(&group[index..]));
                    begins = false;
                }
                _ => {}
            }
        }
    }
    names
}

fn identifier(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect()
}
