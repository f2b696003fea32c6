//! Answers with their receipts, from whichever door, and how they are shown.

use crate::terminal::{Paint, Terminal};
use crate::wall::words;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// What a read brought.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The server's address, or `embedded`.
    pub(crate) asked: String,
    /// In the order asked.
    pub(crate) answers: Vec<Answer>,
    /// What a later read must present to not go behind these answers.
    pub(crate) session: Option<String>,
}

/// The answer for one key.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) key: Vec<String>,
    /// `None` where the source has no row.
    pub(crate) value: Option<Box<RawValue>>,
    /// The members of `Candor-Receipt`.
    pub(crate) receipt: Map<String, Value>,
}

/// The shape of an answer in JSON.
#[derive(Serialize)]
pub(crate) struct AnswerJson<'a> {
    pub(crate) key: &'a [String],
    pub(crate) found: bool,
    pub(crate) value: Option<&'a RawValue>,
    pub(crate) receipt: &'a Map<String, Value>,
}

impl Answer {
    /// For programs.
    pub(crate) fn json(&self) -> AnswerJson<'_> {
        AnswerJson {
            key: &self.key,
            found: self.value.is_some(),
            value: self.value.as_deref(),
            receipt: &self.receipt,
        }
    }

    /// The receipt in one line for people.
    pub(crate) fn sentence(&self) -> String {
        let text = |name: &str| self.receipt.get(name).and_then(Value::as_str);
        let millis = |name: &str| self.receipt.get(name).and_then(Value::as_u64).map(words);
        let from = match text("from") {
            Some("l1") => "from memory",
            Some("l2") => "from the shared tier",
            Some("flight") => "from a load another read had begun",
            Some("source") => "from the source",
            _ => "from somewhere",
        };
        let worth = match (text("proof"), millis("bound")) {
            (Some("log"), Some(bound)) => {
                format!("proven by the log to reflect everything up to {bound} ago")
            }
            (Some("clock"), Some(bound)) => format!("by the clock: the source was asked {bound} ago"),
            _ => "nothing is proven".to_owned(),
        };
        let mut sentence = format!("{from}; {worth}");
        if let Some(age) = millis("age") {
            sentence.push_str(&format!("; filled {age} ago"));
        }
        if let Some(position) = text("position") {
            sentence.push_str(&format!("; position {position}"));
        }
        if let Some(degraded) = text("degraded") {
            sentence.push_str(&format!("; DEGRADED: {degraded}"));
        }
        sentence
    }
}

impl Reply {
    /// Everything about the reply, for people who asked for it.
    pub(crate) fn tell(&self, answer: &Answer, paint: Paint, terminal: &Terminal) {
        let row =
            |name: &str, text: &str| terminal.note(format!("  {} {text}", paint.dim(&format!("{name:9}"))));
        row("asked", &self.asked);
        for (name, value) in &answer.receipt {
            let unit = if matches!(name.as_str(), "bound" | "age") { " ms" } else { "" };
            let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            row(name, &format!("{shown}{unit}"));
        }
        row("session", self.session.as_deref().unwrap_or("none: no log is followed"));
    }
}

/// Reads a receipt's dictionary (RFC 8941): tokens, integers, and strings in quotes.
pub(crate) fn dictionary(text: &str) -> Map<String, Value> {
    let mut members = Map::new();
    let mut rest = text.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            Some(quoted) => match quoted.split_once('"') {
                Some((value, after)) => (Value::from(value), after),
                None => (Value::from(quoted), ""),
            },
            None => {
                let (value, after) = after.split_at(after.find(',').unwrap_or(after.len()));
                let value = value.trim();
                (value.parse::<u64>().map_or_else(|_| Value::from(value), Value::from), after)
            }
        };
        members.insert(name.trim().to_owned(), value);
        rest = after.trim_start().strip_prefix(',').unwrap_or("").trim_start();
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_receipt_reads_back() {
        let read =
            dictionary("from=l1, proof=log, bound=38, age=5120, position=\"1/16B,3748\", degraded=feed-down");
        let expected = json!({
            "from": "l1", "proof": "log", "bound": 38, "age": 5120, "position": "1/16B,3748", "degraded": "feed-down"
        });
        assert_eq!(Value::Object(read), expected);
        assert!(dictionary("").is_empty() && dictionary("nonsense").is_empty());
    }

    #[test]
    fn a_receipt_is_told_in_one_line() {
        let receipt = dictionary("from=l1, proof=log, bound=38, age=5120, position=\"1034\"");
        let answer = Answer { key: vec![], value: None, receipt };
        assert_eq!(
            answer.sentence(),
            "from memory; proven by the log to reflect everything up to 38 ms ago; filled 5.1 s ago; position 1034"
        );
    }
}
