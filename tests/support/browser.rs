//! A real Chromium, driven by `browser.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use super::programs::ROOT;

/// A browser with windows of different people.
pub struct Browser {
    process: Child,
    /// Closed, it ends the browser.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Browser {
    pub fn start() -> Browser {
        let mut process = Command::new(Path::new(ROOT).join(".venv/bin/python"))
            .arg(Path::new(ROOT).join("tests/support/browser.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts; .ci/setup makes it");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it was piped"));
        Browser { process, input, output }
    }

    /// Opens a window at an address of the network, as a proxy tells it.
    pub fn open(&mut self, name: &str, url: &str, address: &str, language: &str) -> String {
        self.open_without("", name, url, address, language)
    }

    /// Another tab of the browser of a window.
    pub fn tab(&mut self, name: &str, of: &str, url: &str) {
        self.say(json!({ "do": "tab", "name": name, "of": of, "url": url }));
    }

    /// The same without `is` in style sheets.
    pub fn plain_tab(&mut self, name: &str, of: &str, url: &str) {
        self.say(json!({ "do": "tab", "name": name, "of": of, "url": url, "without": "is" }));
    }

    /// A window in a browser without `scripts`, `streams`, `workers`, or without `is` in style
    /// sheets, as before Chrome 88.
    pub fn open_without(
        &mut self,
        without: &str,
        name: &str,
        url: &str,
        address: &str,
        language: &str,
    ) -> String {
        let said = self.say(json!({
            "do": "open", "name": name, "url": url, "address": address, "language": language,
            "width": 1366, "height": 768, "without": without,
        }));
        said.as_str().expect("an address").to_owned()
    }

    /// Does something in a window.
    pub fn window(&mut self, name: &str, what: &str, with: Value) -> Value {
        let mut command = with;
        command["do"] = json!(what);
        command["name"] = json!(name);
        self.say(command)
    }

    /// The texts of what a selector finds.
    pub fn texts(&mut self, name: &str, selector: &str) -> Vec<String> {
        let said = self.window(name, "texts", json!({ "selector": selector }));
        said.as_array().expect("a list").iter().map(|one| one.as_str().unwrap().into()).collect()
    }

    pub fn click(&mut self, name: &str, selector: &str) {
        self.window(name, "click", json!({ "selector": selector }));
    }

    pub fn wait(&mut self, name: &str, selector: &str) {
        self.window(name, "await", json!({ "selector": selector }));
    }

    /// A picture of the window at both sizes that doctors have, without anything sticking out.
    pub fn pictures(&mut self, name: &str, folder: &Path, title: &str) {
        for (width, height) in [(1366, 768), (1920, 1080)] {
            self.window(name, "size", json!({ "width": width, "height": height }));
            let over = self.window(name, "overflow", json!({}));
            assert!(over.as_i64().unwrap() <= 0, "{title} at {width}: {over} pixels too wide");
            let path = folder.join(format!("{title}-{width}.png"));
            self.window(name, "picture", json!({ "path": path }));
        }
    }

    fn say(&mut self, command: Value) -> Value {
        let input = self.input.as_mut().expect("it is open until the end");
        writeln!(input, "{command}").expect("the browser listens");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the browser answers");
        let answer: Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("the browser ended ({error}) at {command}"));
        assert!(answer.get("error").is_none(), "{command}: {}", answer["error"]);
        answer["said"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It closes Chromium, which would outlive it if it were killed.
        drop(self.input.take());
        let _ = self.process.wait();
    }
}
