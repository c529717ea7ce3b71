//! Runs the commands in README.md exactly as they are shown.

use std::process::Command;
use std::time::Duration;

use crate::process::{Process, eventually};
use crate::stack::Stack;

const MARK: &str = "<!-- tested -->";
/// Separates the outputs of two blocks.
const RULE: &str = "----- next block -----";

/// The `sh` blocks that have the mark.
fn tested_blocks(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line.trim() != MARK {
            continue;
        }
        let fence = lines.by_ref().find(|line| !line.trim().is_empty());
        assert_eq!(fence, Some("```sh"), "a block of shell commands follows {MARK}");
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        blocks.push(block.join("\n"));
    }
    blocks
}

/// The `sh` block of a page after `<!-- tested: NAME -->`.
pub fn tested_block(page: &str, name: &str) -> String {
    let mark = format!("<!-- tested: {name} -->\n```sh\n");
    let (_, block) = page.split_once(&mark).unwrap_or_else(|| panic!("there is no block {mark}"));
    block.split_once("\n```").expect("a block ends").0.to_owned()
}

/// Runs the blocks in one shell, which stops at the first failure, and returns the output of each.
async fn run(blocks: &[String], url: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    let text = format!("set -euo pipefail\n{}\n", blocks.join(&format!("\necho '{RULE}'\n")));
    std::fs::write(&script, text).unwrap();
    let mut command = Command::new("bash");
    command.arg(&script).current_dir(folder.path()).env("STOCKYARD", url);
    // Directly to the loopback address, even if the environment names a proxy.
    command.env("no_proxy", "127.0.0.1");
    let mut shell = Process::start("bash", folder.path(), command);
    let status = eventually("the commands end", Duration::from_secs(60), async || shell.has_ended()).await;
    let written = shell.log();
    assert!(status.success(), "{status}\n{written}");
    written.split(RULE).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_commands_of_the_readme_work() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md");
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let blocks = tested_blocks(&page);
    assert!(blocks.len() >= 3, "{} tested blocks", blocks.len());
    let stack = Stack::embedded().await;
    let written = run(&blocks, &stack.urls[0]).await;
    let last = written.last().unwrap();
    for part in ["\"symbol\":\"AAPL\"", "\"average_buy_price\":", "\"total_value\":"] {
        assert!(last.contains(part), "{part} is not in the last output: {last}");
    }
    stack.ends_well().await;
}

#[test]
fn only_marked_blocks_are_run() {
    let page = "# A\n\n```sh\nno\n```\n\n<!-- tested -->\n```sh\none\n  two\n```\n\n```sh\nno\n```\n<!-- tested -->\n\n```sh\nthree\n```\n";
    assert_eq!(tested_blocks(page), ["one\n  two", "three"]);
}
