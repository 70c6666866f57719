//! The two operating manuals as texts: headings, their anchors, blocks of commands.

use std::collections::BTreeSet;

/// The file names, the Chinese one first.
pub const BOTH: [&str; 2] = ["OPERATING.zh-CN.md", "OPERATING.md"];

/// Where a manual lies.
pub fn path(name: &str) -> String {
    format!("docs/{name}")
}

/// Depth and text of every heading, outside blocks of code.
pub fn headings(text: &str) -> Vec<(usize, &str)> {
    let mut inside = false;
    let mut all = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            inside = !inside;
        } else if !inside && line.starts_with('#') {
            let depth = line.len() - line.trim_start_matches('#').len();
            all.push((depth, line[depth..].trim()));
        }
    }
    all
}

/// The anchors of the headings, as Markdown's readers on the web make them: small letters, hyphens
/// for spaces, no punctuation.
pub fn anchors(text: &str) -> BTreeSet<String> {
    let keeps = |one: &char| one.is_alphanumeric() || matches!(one, ' ' | '-' | '_');
    let anchor = |heading: &str| {
        let kept: String = heading.to_lowercase().chars().filter(keeps).collect();
        kept.replace(' ', "-")
    };
    headings(text).into_iter().map(|(_, heading)| anchor(heading)).collect()
}
