//! The platform that takes settlements: a real server over a socket. It keeps every body in the
//! order in which they came, holds the newest content of each thing as the real one does, and
//! misbehaves on demand.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use super::cloud::{Act, Asked, Cloud};

/// What makes a settlement the one it is, and what else must stay secret of it.
const NUMBERS: [&str; 4] = ["accessionNo", "studyOrderId", "setlId", "feedetlSn"];

/// Where either serial number stands for nobody's insurance (imaging cloud's document, 3.6).
pub const SELF_PAY: &str = "00000000000000000000";

/// What becomes of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub enum Weather {
    /// It is kept, and answered as the document says.
    Fair,
    /// It is kept, and answered with that body.
    Kept(Value),
    /// It is kept, and answered only after a while.
    Slow(Duration),
    /// It is not kept: this status, these headers, this body.
    Says(u16, Vec<(&'static str, String)>, String),
    /// It is kept, and the answer breaks off in the middle.
    Half,
    /// It is kept, and the connection ends without an answer.
    Breaks,
    /// It is kept, and nothing is ever answered.
    Hangs,
}

impl Weather {
    /// Only a status.
    pub fn status(status: u16) -> Weather {
        Weather::Says(status, Vec::new(), "no".into())
    }

    /// HTTP 200 with that code in the body.
    pub fn code(code: Value) -> Weather {
        Weather::Says(200, Vec::new(), json!({ "code": code, "message": "x" }).to_string())
    }
}

/// A delivery as it came.
#[derive(Debug, Clone)]
pub struct Came {
    /// The path.
    pub path: String,
    pub body: Value,
}

/// The platform. It ends with this value.
pub struct Platform {
    cloud: Cloud,
    came: Arc<Mutex<Vec<Came>>>,
    held: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Platform {
    /// In fair weather.
    pub fn start() -> Platform {
        let platform = Platform {
            cloud: Cloud::alone(|_| Act::status(503)),
            came: Arc::default(),
            held: Arc::default(),
        };
        platform.behave(|_| Weather::Fair);
        platform
    }

    /// From now on deliveries meet this weather. What hangs is let go.
    pub fn behave(&self, mut weather: impl FnMut(&Value) -> Weather + Send + 'static) {
        let (came, held) = (Arc::clone(&self.came), Arc::clone(&self.held));
        self.cloud.behave(move |asked| {
            let body = body(asked);
            let one = Came { path: asked.target.clone(), body: body.clone() };
            came.lock().expect("no rule panicked").push(one);
            let weather = weather(&body);
            if !matches!(weather, Weather::Says(..)) {
                let thing = thing(&asked.target, &body);
                held.lock().expect("no rule panicked").insert(thing, body);
            }
            act(weather)
        });
    }

    /// Closes the door: connections are refused, open ones end.
    pub fn down(&mut self) {
        self.cloud.down();
    }

    /// Opens it again at the same address.
    pub fn up(&mut self) {
        self.cloud.up();
    }

    /// Everything that came, in order.
    pub fn came(&self) -> Vec<Came> {
        self.came.lock().expect("no rule panicked").clone()
    }

    /// The bodies of everything that came, in order.
    pub fn bodies(&self) -> Vec<Value> {
        self.came().into_iter().map(|one| one.body).collect()
    }

    /// The headers of what came last.
    pub fn last_headers(&self) -> Vec<(String, String)> {
        self.cloud.asked().last().map(|asked| asked.headers.clone()).unwrap_or_default()
    }

    /// The newest content that it has of this settlement.
    pub fn holds(&self, settlement: &Value) -> Option<Value> {
        let thing = thing(super::forepost::SETTLE, settlement);
        self.held.lock().expect("no rule panicked").get(&thing).cloned()
    }

    /// A `[[destination]]` that leads here and waits a second for an answer.
    pub fn destination(&self, name: &str, interfaces: &[&str]) -> String {
        format!(
            "[[destination]]\nname = \"{name}\"\nurl = \"http://{}\"\ninterfaces = {interfaces:?}\n\
             answer_seconds = 1\n",
            self.cloud.address
        )
    }

    /// The same for settlements.
    pub fn for_settlements(&self) -> String {
        self.destination("cloud", &["ic-settlement-push"])
    }
}

/// A settlement of an insured patient; two numbers are two settlements of two studies.
pub fn settlement(number: u32) -> Value {
    json!({
        "hospitalld": "123456",
        "accessionNo": format!("ACC{number:09}"),
        "studyOrderId": format!("ORD{number:09}"),
        "setlId": format!("71{number:018}"),
        "feedetlSn": format!("72{number:018}"),
        "medListCodg": "C00012",
        "examPart": "B02010ZZZ",
    })
}

/// The values of settlements that no log line and no file may show.
pub fn personal(settlements: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let records = match settlements.get("list").unwrap_or(settlements) {
        Value::Array(records) => records.as_slice(),
        one => std::slice::from_ref(one),
    };
    for record in records {
        let texts = NUMBERS.iter().filter_map(|key| record.get(key)?.as_str());
        let secret = |text: &&str| text.len() >= 6 && *text != SELF_PAY;
        found.extend(texts.filter(secret).map(str::to_owned));
    }
    found
}

fn body(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap_or(Value::Null)
}

/// What is upserted: the serial numbers of a study, and where those are everybody's, the item.
fn thing(path: &str, body: &Value) -> String {
    let self_pay = body["setlId"] == SELF_PAY || body["feedetlSn"] == SELF_PAY;
    let more: &[&str] = if self_pay { &["medListCodg", "examPart"] } else { &[] };
    let texts = NUMBERS.iter().chain(more).map(|key| body[*key].as_str().unwrap_or_default());
    format!("{path} {}", texts.collect::<Vec<_>>().join(" "))
}

fn act(weather: Weather) -> Act {
    let json = |value: Value| {
        let media = ("Content-Type", "application/json;charset=UTF-8".to_owned());
        Act::Answer(200, vec![media], value.to_string().into_bytes())
    };
    let success = json!({ "message": "请求成功", "code": 200 });
    match weather {
        Weather::Fair => json(success),
        Weather::Kept(body) => json(body),
        Weather::Slow(wait) => Act::Later(wait, Box::new(json(success))),
        Weather::Says(status, headers, body) => Act::Answer(status, headers, body.into_bytes()),
        Weather::Half => Act::Half(success.to_string().into_bytes()),
        Weather::Breaks => Act::Break,
        Weather::Hangs => Act::Hang,
    }
}
