//! The JSON files that say what to build and what to train.

use std::path::PathBuf;

use serde::de::DeserializeOwned;

pub mod dataset;
pub mod training;

/// A path of a config names what is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the path {path}: the environment variable {variable} is not set")]
pub struct UnsetVariable {
    /// The path as the config has it.
    pub path: String,
    /// The variable.
    pub variable: String,
}

/// A path of a config, with a leading `~` and every `$NAME` and `${NAME}` replaced.
pub fn expand(path: &str) -> Result<PathBuf, UnsetVariable> {
    expand_with(path, |name| std::env::var(name).ok()).map(PathBuf::from)
}

/// Why a text is no config: the field that is wrong, and what is wrong with it where.
pub type JsonError = serde_path_to_error::Error<serde_json::Error>;

/// The config in a text.
fn parse<T: DeserializeOwned>(text: &str) -> Result<T, JsonError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut fields = serde_path_to_error::Track::new();
    let config = T::deserialize(serde_path_to_error::Deserializer::new(
        &mut json,
        &mut fields,
    ));
    config
        .and_then(|config| json.end().map(|()| config))
        .map_err(|error| JsonError::new(fields.path(), error))
}

fn expand_with(
    path: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<String, UnsetVariable> {
    let value = |name: &str| {
        variable(name).ok_or_else(|| UnsetVariable {
            path: path.to_owned(),
            variable: name.to_owned(),
        })
    };
    let mut rest = path;
    let mut expanded = String::new();
    if path == "~" || path.starts_with("~/") {
        expanded = value("HOME")?;
        rest = &path[1..];
    }
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        let braced = after
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'));
        let bare = || {
            let part = |c: char| c.is_ascii_alphanumeric() || c == '_';
            after.split_at(after.find(|c| !part(c)).unwrap_or(after.len()))
        };
        let (name, after) = braced.unwrap_or_else(bare);
        if name.is_empty() {
            expanded.push('$');
        } else {
            expanded.push_str(&value(name)?);
        }
        rest = after;
    }
    Ok(expanded + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn home_and_variables_are_replaced() {
        let variable = |name: &str| match name {
            "HOME" => Some("/home/ada".to_owned()),
            "DATA" => Some("/data".to_owned()),
            _ => None,
        };
        for (path, expected) in [
            ("~/midi", "/home/ada/midi"),
            ("~", "/home/ada"),
            ("a~/b", "a~/b"),
            ("$DATA/x", "/data/x"),
            ("${DATA}set/$DATA", "/dataset//data"),
            ("cost $", "cost $"),
            ("./plain", "./plain"),
        ] {
            assert_eq!(
                expand_with(path, variable).as_deref(),
                Ok(expected),
                "{path}"
            );
        }
        let error = expand_with("$NONE/x", variable).unwrap_err();
        assert_eq!(error.variable, "NONE");
    }
}
