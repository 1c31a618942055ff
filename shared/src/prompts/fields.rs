//! The fields of a config, as they stand in its JSON: a field that a config gains is asked for by itself.

use std::io;

use serde_json::{Map, Value};

use super::{Form, Row, choose, edit, line};

/// A config, whatever its fields are.
pub struct Fields<'a> {
    /// The config as JSON, all of its fields in it.
    pub values: Map<String, Value>,
    /// What a field is, where it is known.
    pub help: &'a dyn Fn(&str) -> String,
    /// Whether these are values of the config's types: serde's refusal.
    pub parse: &'a dyn Fn(&Value) -> Result<(), String>,
    /// Whether the config can be used: its own refusal.
    pub check: &'a dyn Fn(&Value) -> Result<(), String>,
}

impl Fields<'_> {
    /// Shows all fields until the config is gone on with (true), which it can be when it can be used, or left.
    pub fn edit(&mut self, question: &str, go: &str) -> io::Result<bool> {
        edit(self, question, go)
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut values = self.values.clone();
        values.insert(name.to_owned(), value);
        Value::Object(values)
    }

    /// The value that `text` means for a field: JSON, or the text itself; nothing is null.
    fn read(&self, name: &str, text: &str) -> Result<Value, String> {
        let word = Value::String(text.to_owned());
        let json = match text {
            "" => Some(Value::Null),
            text => serde_json::from_str(text).ok(),
        };
        let refusal = match json {
            Some(json) => match (self.parse)(&self.with(name, json.clone())) {
                Ok(()) => return Ok(json),
                Err(why) => Some(why),
            },
            None => None,
        };
        match (self.parse)(&self.with(name, word.clone())) {
            Ok(()) => Ok(word),
            Err(why) => Err(refusal.unwrap_or(why)),
        }
    }

    /// The words that a field takes where it takes a few only: those that serde names when it refuses another.
    fn words(&self, name: &str) -> Vec<String> {
        let impossible = Value::String("\u{0}".to_owned());
        let Err(why) = (self.parse)(&self.with(name, impossible)) else {
            return Vec::new();
        };
        match why.split_once("expected ") {
            Some((_, words)) if why.contains("unknown variant") => {
                let quoted = words.split('`').skip(1).step_by(2);
                quoted.map(str::to_owned).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// A value as it is typed.
fn typed(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl Form for Fields<'_> {
    fn rows(&self) -> Vec<Row> {
        let row = |(name, value): (&String, &Value)| Row {
            name: name.clone(),
            value: match value {
                Value::Null => "–".to_owned(),
                value => typed(value),
            },
            help: (self.help)(name),
        };
        self.values.iter().map(row).collect()
    }

    fn ask(&mut self, row: usize) -> io::Result<()> {
        let Some((name, value)) = self.values.iter().nth(row) else {
            return Ok(());
        };
        let (name, value) = (name.clone(), value.clone());
        let help = (self.help)(&name);
        if !help.is_empty() {
            eprintln!("  {help}");
        }
        let words = match value {
            Value::Bool(_) => vec!["false".to_owned(), "true".to_owned()],
            _ => self.words(&name),
        };
        let text = if words.is_empty() {
            line(&name, &typed(&value), |text| {
                self.read(&name, text).map(drop)
            })?
        } else {
            let now = words.iter().position(|word| *word == typed(&value));
            match choose(&name, &words, now.unwrap_or(0))? {
                Some(word) => words[word].clone(),
                None => return Ok(()),
            }
        };
        if let Ok(value) = self.read(&name, &text) {
            self.values.insert(name, value);
            // Fields that depend on one another are changed one by one: said now, refused at the end.
            if let Some(why) = self.wrong() {
                eprintln!("  note: {why}");
            }
        }
        Ok(())
    }

    fn wrong(&self) -> Option<String> {
        (self.check)(&Value::Object(self.values.clone())).err()
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code, reason = "only read")]
    enum Kind {
        Small,
        VeryLarge,
    }

    #[derive(Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Config {
        name: String,
        kind: Kind,
        other: Option<Kind>,
        layers: usize,
        bars: Option<usize>,
        classes: Vec<u8>,
    }

    #[test]
    fn what_is_typed_becomes_what_the_field_is() {
        let json = serde_json::json!({
            "name": "a", "kind": "small", "other": null, "layers": 1, "bars": null, "classes": []
        });
        let Value::Object(values) = json else {
            unreachable!()
        };
        let parse = |value: &Value| {
            Config::deserialize(value)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let fields = Fields {
            values,
            help: &|_| String::new(),
            parse: &parse,
            check: &parse,
        };
        for (name, text, expected) in [
            ("name", "12", serde_json::json!("12")),
            ("name", "my piano", serde_json::json!("my piano")),
            ("kind", "very_large", serde_json::json!("very_large")),
            ("other", "", Value::Null),
            ("other", "small", serde_json::json!("small")),
            ("layers", "12", serde_json::json!(12)),
            ("bars", "", Value::Null),
            ("bars", "8", serde_json::json!(8)),
            ("classes", "[1, 2]", serde_json::json!([1, 2])),
        ] {
            assert_eq!(fields.read(name, text), Ok(expected), "{name} {text}");
        }
        for (name, text) in [
            ("layers", "many"),
            ("layers", "-1"),
            ("layers", ""),
            ("classes", "[300]"),
        ] {
            assert!(fields.read(name, text).is_err(), "{name} {text}");
        }
        for (name, words) in [
            ("kind", &["small", "very_large"][..]),
            ("other", &["small", "very_large"]),
            ("name", &[]),
            ("layers", &[]),
        ] {
            assert_eq!(fields.words(name), words, "{name}");
        }
    }
}
