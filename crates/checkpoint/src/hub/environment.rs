//! The environment variables of Python's `huggingface_hub`, with the meaning that they have there.
//!
//! Reference: its
//! [`constants.py`](https://github.com/huggingface/huggingface_hub/blob/v0.36.0/src/huggingface_hub/constants.py).

use std::path::{Path, PathBuf};

use spanwise_artifact::UserError;

/// Values of a variable that mean yes, in any case.
const TRUE: [&str; 4] = ["1", "on", "yes", "true"];

/// Where files are fetched from and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    /// Address of the hub: `HF_ENDPOINT`.
    pub(super) endpoint: String,
    /// The cache: `HF_HUB_CACHE`, `HUGGINGFACE_HUB_CACHE`, or `hub` in `HF_HOME`, which is
    /// `huggingface` in `XDG_CACHE_HOME` or in `~/.cache`.
    pub(super) cache: PathBuf,
    /// `HF_TOKEN`, `HUGGING_FACE_HUB_TOKEN`, or what the file `HF_TOKEN_PATH` holds, which is
    /// `token` in `HF_HOME`.
    pub(super) token: Option<String>,
    /// The variable that asks for the cache alone: `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
    pub(super) offline: Option<&'static str>,
}

impl Environment {
    /// Reads the variables through `get`. One that is empty counts as not set.
    ///
    /// # Errors
    /// Fails with a [`UserError`] if no variable says where the cache is.
    pub(super) fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, UserError> {
        let variable = |name: &str| get(name).filter(|value| !value.is_empty());
        let expand = |path: String| PathBuf::from(expand(&path, &variable));
        let home = variable("HF_HOME").map(expand).or_else(|| {
            let cache = variable("XDG_CACHE_HOME").map(expand);
            let cache = cache.or_else(|| Some(Path::new(&variable("HOME")?).join(".cache")));
            Some(cache?.join("huggingface"))
        });
        let in_home = |file: &str| home.as_ref().map(|home| home.join(file));
        let cache = variable("HF_HUB_CACHE")
            .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
            .map(expand)
            .or_else(|| in_home("hub"))
            .ok_or_else(|| {
                UserError::new("neither HF_HOME nor HOME is set, so downloads cannot be kept")
                    .hint("set HF_HOME to a directory")
            })?;
        let token = variable("HF_TOKEN")
            .or_else(|| variable("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| {
                let file = variable("HF_TOKEN_PATH").map(expand);
                fs_err::read_to_string(file.or_else(|| in_home("token"))?).ok()
            })
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        // The second variable counts only where the first is not set.
        let offline = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"]
            .into_iter()
            .find_map(|name| Some((name, variable(name)?)))
            .filter(|(_, value)| TRUE.contains(&value.to_lowercase().as_str()))
            .map(|(name, _)| name);
        if let Some(token) = &token
            && !token.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        {
            return Err(UserError::new(
                "the hub's token is none: it has other characters than ASCII's printable ones",
            )
            .hint("copy it once more into HF_TOKEN, or into the file that HF_TOKEN_PATH names"));
        }
        let endpoint = variable("HF_ENDPOINT").unwrap_or("https://huggingface.co".to_owned());
        if !["https://", "http://"]
            .iter()
            .any(|scheme| endpoint.starts_with(scheme))
        {
            return Err(UserError::new(format!(
                "HF_ENDPOINT = {endpoint:?}: must begin with https://"
            )));
        }
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache,
            token,
            offline,
        })
    }
}

/// Returns a path with its `~` and its `$NAME` and `${NAME}` replaced, as Python's
/// `os.path.expandvars(os.path.expanduser(path))`. What is not set stays as it is.
fn expand(path: &str, variable: &impl Fn(&str) -> Option<String>) -> String {
    let mut rest = path;
    let mut expanded = String::new();
    if let Some(behind) = path.strip_prefix('~')
        && (behind.is_empty() || behind.starts_with('/'))
        && let Some(home) = variable("HOME")
    {
        expanded.push_str(home.trim_end_matches('/'));
        rest = behind;
    }
    while let Some((before, behind)) = rest.split_once('$') {
        expanded.push_str(before);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (written, name) = match behind
            .strip_prefix('{')
            .and_then(|name| name.split_once('}'))
        {
            Some((name, _)) => (name.len() + 2, name),
            None => {
                let length = behind.find(|c| !is_part(c)).unwrap_or(behind.len());
                (length, &behind[..length])
            }
        };
        match variable(name) {
            Some(value) => expanded.push_str(&value),
            None => {
                expanded.push('$');
                expanded.push_str(&behind[..written]);
            }
        }
        rest = &behind[written..];
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Environment {
        let get = |name: &str| {
            let mut variables = variables.iter();
            let (_, value) = variables.find(|(other, _)| *other == name)?;
            Some((*value).to_owned())
        };
        Environment::read(get).unwrap()
    }

    #[test]
    fn the_cache_is_where_python_looks() {
        let check = |variables: &[(&str, &str)], expected: &str| {
            let all = [&[("HOME", "/home/me"), ("DISK", "/disk")], variables].concat();
            let cache = read(&all).cache;
            assert_eq!(cache, Path::new(expected), "{variables:?}");
        };
        check(&[], "/home/me/.cache/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "/xdg")], "/xdg/huggingface/hub");
        check(&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/xdg")], "/hf/hub");
        check(&[("HF_HOME", "")], "/home/me/.cache/huggingface/hub");
        check(&[("HF_HOME", "~/hf")], "/home/me/hf/hub");
        check(&[("HF_HOME", "~")], "/home/me/hub");
        check(&[("HF_HOME", "~other/hf")], "~other/hf/hub");
        check(&[("HF_HOME", "/a~/hf")], "/a~/hf/hub");
        check(&[("HF_HOME", "$DISK/hf")], "/disk/hf/hub");
        check(&[("HF_HOME", "${DISK}hf")], "/diskhf/hub");
        check(&[("HF_HOME", "/$NONE/${NONE}/$")], "/$NONE/${NONE}/$/hub");
        check(&[("HUGGINGFACE_HUB_CACHE", "~/old")], "/home/me/old");
        check(
            &[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")],
            "/new",
        );
        check(
            &[("HF_HUB_CACHE", "$HOME/c"), ("HF_HOME", "/hf")],
            "/home/me/c",
        );
    }

    #[test]
    fn a_cache_without_a_home_is_refused() {
        let error = Environment::read(|_| None).expect_err("nowhere to keep files");
        assert!(error.message.contains("HF_HOME"), "{error}");
    }

    #[test]
    fn offline_is_what_python_takes_for_yes() {
        let check = |variables: &[(&str, &str)], expected: Option<&str>| {
            let all = [&[("HOME", "/home/me")], variables].concat();
            assert_eq!(read(&all).offline, expected, "{variables:?}");
        };
        for yes in ["1", "ON", "on", "Yes", "true", "TRUE"] {
            check(&[("HF_HUB_OFFLINE", yes)], Some("HF_HUB_OFFLINE"));
            check(
                &[("TRANSFORMERS_OFFLINE", yes)],
                Some("TRANSFORMERS_OFFLINE"),
            );
        }
        for no in ["", "0", "off", "foo", "2"] {
            check(&[("HF_HUB_OFFLINE", no)], None);
        }
        check(
            &[("HF_HUB_OFFLINE", ""), ("TRANSFORMERS_OFFLINE", "1")],
            Some("TRANSFORMERS_OFFLINE"),
        );
        check(
            &[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")],
            None,
        );
    }

    #[test]
    fn a_token_comes_from_a_variable_or_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path().to_str().unwrap();
        fs_err::write(directory.path().join("token"), "of home\n").unwrap();
        fs_err::write(directory.path().join("other"), "of path\n").unwrap();
        let check = |variables: &[(&str, &str)], expected: &str| {
            let all = [&[("HF_HOME", home), ("D", home)], variables].concat();
            assert_eq!(read(&all).token.as_deref(), Some(expected), "{variables:?}");
        };
        check(&[], "of home");
        check(&[("HF_TOKEN_PATH", "$D/other")], "of path");
        check(&[("HUGGING_FACE_HUB_TOKEN", "old")], "old");
        check(
            &[("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN", " new\n")],
            "new",
        );
    }
}
