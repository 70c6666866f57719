//! The envelope: what is sent back, in the keys and order of the document.

use std::borrow::Cow;

use serde_json::Value;

use super::check::FieldFault;
use super::table::{Empty, Envelope, Form, Holds, Interface, Outcome, Slot};

/// What is to be said.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Code of the document.
    pub code: i32,
    /// Sentence for the caller.
    pub message: Cow<'static, str>,
    /// Data, where the envelope has a place for it.
    pub data: Option<Value>,
}

impl Answer {
    /// The document's own code and sentence for an outcome; HTTP-like numbers where the
    /// interface has no envelope or its document says nothing.
    pub fn of(interface: &Interface, outcome: Outcome) -> Self {
        let replies = interface.envelope.map_or(&[][..], |it| it.replies);
        if let Some(reply) = replies.iter().find(|it| it.outcome == outcome) {
            return Self { code: reply.code, message: reply.message.into(), data: None };
        }
        let (code, message) = match outcome {
            Outcome::Success => (200, "请求成功"),
            Outcome::Faulty => (400, "参数值异常"),
            Outcome::Denied => (401, "权限校验不通过"),
            Outcome::Failed => (500, "服务异常"),
        };
        Self { code, message: message.into(), data: None }
    }

    /// The refusal that names every wrong field at once.
    pub fn faults(interface: &Interface, faults: &[FieldFault]) -> Self {
        let mut sentences: Vec<&str> = Vec::new();
        for fault in faults {
            if !sentences.contains(&fault.message_zh.as_str()) {
                sentences.push(&fault.message_zh);
            }
        }
        let told = Self::of(interface, Outcome::Faulty);
        let message =
            if sentences.is_empty() { told.message } else { sentences.join("；").into() };
        Self { message, ..told }
    }

    /// The same with data.
    pub fn with(self, data: Value) -> Self {
        Self { data: Some(data), ..self }
    }
}

/// Writes an answer in the envelope of its interface. An interface without one answers
/// nothing by its document; it gets `code` and `message` as JSON.
pub fn answer(interface: &Interface, answer: Answer) -> Vec<u8> {
    let Some(envelope) = interface.envelope else {
        let value = serde_json::json!({"code": answer.code, "message": answer.message});
        return value.to_string().into_bytes();
    };
    match envelope.form {
        Form::Json | Form::Output => json(envelope, &answer, None),
        Form::Xml => xml(envelope, &answer),
    }
}

/// Writes a success whose data is a long list, already written as JSON: a dictionary of 100,000
/// rows would take ten times its size as values. `None` where the interface's envelope has no
/// place for a list.
pub fn answer_with_list(interface: &Interface, answer: &Answer, list: &str) -> Option<Vec<u8>> {
    let envelope = interface.envelope.filter(|it| it.form == Form::Json)?;
    envelope.slots.iter().find(|it| it.holds == Holds::Data)?;
    Some(json(envelope, answer, Some(list)))
}

fn json(envelope: &Envelope, answer: &Answer, list: Option<&str>) -> Vec<u8> {
    let mut pairs = Vec::new();
    let mut pair = |key: &str, value: &dyn std::fmt::Display| {
        pairs.push(format!("{}:{value}", Value::from(key)));
    };
    for slot in envelope.slots {
        if let (Holds::Data, Some(list)) = (slot.holds, list) {
            pair(slot.key, &list);
            continue;
        }
        match (slot.holds, &answer.data) {
            (Holds::Beside, Some(Value::Object(data))) => {
                data.iter().for_each(|(key, value)| pair(key, value));
            }
            (Holds::Beside, _) => {}
            (Holds::Data, Some(data)) => pair(slot.key, data),
            (Holds::Data, None) => match slot.empty {
                Empty::Omit => {}
                Empty::Object => pair(slot.key, &serde_json::json!({})),
                Empty::List => pair(slot.key, &serde_json::json!([])),
                Empty::Null => pair(slot.key, &Value::Null),
            },
            (Holds::Code | Holds::Message | Holds::Success, _) => {
                pair(slot.key, &scalar(envelope, slot, answer));
            }
        }
    }
    format!("{{{}}}", pairs.join(",")).into_bytes()
}

/// What an answer that came back says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The code as it stands there, number or text.
    pub code: String,
    /// What it means by the document; `None`: the document does not know that code.
    pub outcome: Option<Outcome>,
}

/// Reads the code of an answer in the envelope of `interface`. `None`: there is none to be found.
/// Tolerant in everything else: the code may be a number or a text, blanks and other keys mean
/// nothing.
pub fn read_reply(interface: &Interface, body: &Value) -> Option<Reply> {
    let envelope = interface.envelope?;
    let slot = envelope.slots.iter().find(|slot| slot.holds == Holds::Code)?;
    let code = match body.get(slot.key)? {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let number: Option<i32> = code.parse().ok();
    let accepted = number.is_some_and(|number| envelope.accepted.contains(&number));
    let known = envelope.replies.iter().find(|reply| Some(reply.code) == number);
    let outcome = match accepted {
        true => Some(Outcome::Success),
        false => known.map(|reply| reply.outcome),
    };
    Some(Reply { code, outcome })
}

fn xml(envelope: &Envelope, answer: &Answer) -> Vec<u8> {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    text.push_str(&format!("<{}>", envelope.root));
    for slot in envelope.slots {
        let value = match scalar(envelope, slot, answer) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        text.push_str(&format!("<{key}>{value}</{key}>", key = slot.key));
    }
    text.push_str(&format!("</{}>", envelope.root));
    text.into_bytes()
}

fn scalar(envelope: &Envelope, slot: &Slot, answer: &Answer) -> Value {
    match slot.holds {
        Holds::Code if slot.number => answer.code.into(),
        Holds::Code => answer.code.to_string().into(),
        Holds::Message => answer.message.as_ref().into(),
        Holds::Success => envelope.accepted.contains(&answer.code).into(),
        Holds::Data | Holds::Beside => answer.data.clone().unwrap_or_default(),
    }
}
