//! Which characters names may have. Each check says what is wrong, or what to write instead.

use super::diagnostic::{is_unprintable, printable};

/// Names are columns of a list on a terminal.
const MAX_CHARS: usize = 100;

/// What is wrong with a name, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Objection {
    pub message: String,
    pub help: String,
}

fn objection<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Objection> {
    Err(Objection { message: message.into(), help: help.into() })
}

/// A character that has no place, in a sentence.
fn character(c: char) -> String {
    match c {
        ' ' => "a space".to_owned(),
        '\t' => "a tab".to_owned(),
        '\n' | '\r' => "a line break".to_owned(),
        c if is_unprintable(c) => format!("the unprintable character U+{:04X}", u32::from(c)),
        c => format!("the character `{c}`"),
    }
}

/// The name of a pipeline or a step: anything that can be shown on one line.
pub(super) fn check_name(name: &str) -> Result<(), Objection> {
    if name.trim().is_empty() {
        return objection("is empty", "name what it does, such as \"test\"");
    }
    if name.trim() != name {
        let help = format!("write \"{}\"", printable(name.trim()));
        return objection("starts or ends with a space", help);
    }
    if let Some(c) = name.chars().find(|c| is_unprintable(*c)) {
        return objection(format!("has {}", character(c)), "use letters, digits, spaces and . _ - / :");
    }
    check_length(name)
}

/// A component: it is part of keys and paths in history backends.
pub(super) fn check_component(name: &str) -> Result<(), Objection> {
    const HELP: &str = "use letters (a-z), digits and . _ - / as in \"shop/web\"";
    if name.is_empty() {
        return objection(
            "is empty",
            "name what is built, or leave it out: then it is the repository's name",
        );
    }
    if let Some(c) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/'))
    {
        return objection(format!("has {}", character(c)), HELP);
    }
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return objection("has an empty part, or one that is `.` or `..`", HELP);
    }
    check_length(name)
}

fn check_length(name: &str) -> Result<(), Objection> {
    let chars = name.chars().count();
    if chars > MAX_CHARS {
        return objection(
            format!("is too long: {chars} characters"),
            format!("use at most {MAX_CHARS} characters"),
        );
    }
    Ok(())
}

/// A plugin's name, as in its manifest.
pub(super) fn check_plugin(name: &str) -> Result<(), Objection> {
    const HELP: &str = "a plugin's name has letters (a-z), digits, - and _ only, such as \"postgres\"";
    if name.is_empty() {
        return objection("is empty", HELP);
    }
    if name.contains(['/', '.']) {
        let help = "write the plugin's name; its file stands under \"plugins\": { \"NAME\": { \"path\": \"FILE\" } }";
        return objection("looks like a file", help);
    }
    match name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
        Some(c) => objection(format!("has {}", character(c)), HELP),
        None => Ok(()),
    }
}

/// The name of an environment variable, as POSIX wants it at least.
pub(super) fn check_variable(name: &str) -> Result<(), Objection> {
    if name.is_empty() {
        return objection("is empty", "write the variable's name, such as \"RUST_LOG\"");
    }
    match name.chars().find(|c| *c == '=' || c.is_control() || c.is_whitespace()) {
        Some('=') => objection("has a `=`", "write name and value apart: \"NAME\": \"value\""),
        Some(c) => objection(format!("has {}", character(c)), "use letters, digits and _ as in \"RUST_LOG\""),
        None => Ok(()),
    }
}

/// The name of a param or of a matrix key: it stands in expressions.
pub(super) fn check_identifier(name: &str) -> Result<(), Objection> {
    const HELP: &str = "use letters (a-z), digits and _, the first not a digit: it stands in expressions";
    if name.is_empty() {
        return objection("is empty", HELP);
    }
    if let Some(c) = name.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '_') {
        return objection(format!("has {}", character(c)), HELP);
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return objection("starts with a digit", HELP);
    }
    check_length(name)
}

/// An origin that a plugin may reach: `scheme://host[:port]`, the host may start with `*.`.
pub(super) fn check_origin(origin: &str) -> Result<(), Objection> {
    const FORM: &str =
        "write it like \"https://api.example.com\", \"http://localhost:8080\" or \"https://*.example.com\"";
    let Some((scheme, rest)) = origin.split_once("://") else {
        return objection("has no scheme", without_scheme(origin).unwrap_or_else(|| FORM.to_owned()));
    };
    if !matches!(scheme, "http" | "https") {
        return objection(format!("has the scheme `{}`", printable(scheme)), "use http:// or https://");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return objection(
            "has a user or password",
            "leave out what is before the @; grant a variable with `env` for it",
        );
    }
    let (host, port) = split_port(authority);
    check_host(host.strip_prefix("*.").unwrap_or(host), FORM)?;
    if port.is_some_and(|port| !is_port(port)) {
        return objection("has a port that is not a number from 1 to 65535", FORM);
    }
    if authority.len() < rest.len() {
        return objection(
            "has a path; the grant is for all of a host",
            format!("write \"{scheme}://{}\"", printable(authority)),
        );
    }
    Ok(())
}

/// What a plugin may connect to: `host:port`, the host may start with `*.`.
pub(super) fn check_address(address: &str) -> Result<(), Objection> {
    const FORM: &str = "write it like \"db.example.com:5432\", \"10.1.2.3:6379\" or \"*.example.com:443\"";
    if let Some((scheme, rest)) = address.split_once("://") {
        let help = match check_address(rest) {
            Ok(()) => format!("write \"{}\"", printable(rest)),
            Err(_) => FORM.to_owned(),
        };
        return objection(format!("has the scheme `{}`", printable(scheme)), help);
    }
    if address.contains(['/', '?', '#']) {
        return objection("has a path", FORM);
    }
    if address.contains('@') {
        return objection("has a user", FORM);
    }
    let (host, port) = split_port(address);
    check_host(host.strip_prefix("*.").unwrap_or(host), FORM)?;
    match port {
        Some(port) if is_port(port) => Ok(()),
        Some(_) => objection("has a port that is not a number from 1 to 65535", FORM),
        None => objection("has no port", FORM),
    }
}

/// A program that a plugin may run: a name, which is found in `PATH`, or an absolute path.
pub(super) fn check_program(program: &str) -> Result<(), Objection> {
    const FORM: &str = "write a name that is found in PATH, such as \"helm\", or an absolute path";
    if program.is_empty() {
        return objection("is empty", FORM);
    }
    if program.contains('*') {
        return objection("has a `*`", "name each program");
    }
    if let Some(path) = program.strip_prefix('/') {
        return if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            objection("has an empty part, or one that is `.` or `..`", FORM)
        } else {
            Ok(())
        };
    }
    if program.contains('/') || matches!(program, "." | "..") {
        return objection("is a relative path", format!("{FORM}; what lies in the workspace is not granted"));
    }
    match program.chars().find(|c| c.is_whitespace() || is_unprintable(*c)) {
        Some(c) => objection(format!("has {}", character(c)), "name the program only, without arguments"),
        None => Ok(()),
    }
}

fn is_port(port: &str) -> bool {
    // `parse` alone would take a sign.
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// An address in brackets has colons of its own.
fn split_port(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn check_host(host: &str, form: &str) -> Result<(), Objection> {
    if let Some(address) = host.strip_prefix('[') {
        return match address.strip_suffix(']').map(str::parse::<std::net::Ipv6Addr>) {
            Some(Ok(_)) => Ok(()),
            _ => objection("has an invalid IPv6 address", "write it like \"http://[::1]:8080\""),
        };
    }
    if host.is_empty() {
        return objection("has no host", form);
    }
    if host.contains('*') {
        return objection("has a `*` that is not a whole first part of the host", form);
    }
    if let Some(c) = host.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | '_')) {
        let help = if c.is_ascii() {
            form.to_owned()
        } else {
            format!("{form}; other scripts in Punycode (xn--...)")
        };
        return objection(format!("has {} in its host", character(c)), help);
    }
    if host.contains(|c: char| c.is_ascii_uppercase()) {
        return objection(
            "has capital letters in its host",
            format!("write the host as \"{}\"", host.to_ascii_lowercase()),
        );
    }
    if host.split('.').any(str::is_empty) {
        return objection("has an empty part in its host", form);
    }
    Ok(())
}

/// For a bare host: the same with a scheme, if that is right.
fn without_scheme(origin: &str) -> Option<String> {
    let guess = format!("https://{origin}");
    check_origin(&guess).is_ok().then(|| format!("write \"{guess}\""))
}

/// Names of variables that a plugin may read: a name, or its beginning and a `*`.
pub(super) fn check_variable_pattern(pattern: &str) -> Result<(), Objection> {
    check_pattern(pattern, "variable")
}

/// Names of secrets that a plugin may have: a name, or its beginning and a `*`.
pub(super) fn check_secret_pattern(pattern: &str) -> Result<(), Objection> {
    check_pattern(pattern, "secret")
}

fn check_pattern(pattern: &str, what: &str) -> Result<(), Objection> {
    let help = || format!("name the {what}s, or a common beginning such as \"AWS_*\"");
    if pattern == "*" {
        return objection(format!("would grant every {what}"), help());
    }
    let name = pattern.strip_suffix('*').unwrap_or(pattern);
    if name.contains('*') {
        return objection("has a `*` that is not at its end", help());
    }
    check_variable(name)
}

/// A SHA-256 as `sha256sum` prints it.
pub(super) fn check_sha256(text: &str) -> Result<(), Objection> {
    const HELP: &str = "write what `sha256sum FILE` prints first";
    let bare = text.strip_prefix("sha256:").unwrap_or(text);
    if bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let right = bare.to_ascii_lowercase();
        return if right == text {
            Ok(())
        } else {
            objection("is not bare lower-case hex", format!("write \"{right}\""))
        };
    }
    let chars = bare.chars().count();
    if chars == 64 {
        return objection("has characters that are not hex digits", HELP);
    }
    objection(format!("has {chars} characters instead of 64"), HELP)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_anything_on_one_line() {
        for good in ["test", "a b", "build: linux/amd64", "Prüfung", "日本", "👩‍💻", "a.b_c-d", "(x) [y] {z}"]
        {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let long = "x".repeat(101);
        for bad in
            ["", " ", " a", "a ", "a\nb", "a\tb", "\u{1b}[0m", "a\u{202e}b", "a\u{200b}b", long.as_str()]
        {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn components_are_safe_in_keys_and_paths() {
        for good in ["shop", "shop/web", "a.b_c-d/1"] {
            assert_eq!(check_component(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "/a", "a/", "a//b", "..", "a/../b", "ä", "a\\b"] {
            assert!(check_component(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn origins() {
        for good in [
            "https://example.com",
            "http://localhost:8080",
            "https://*.example.com",
            "https://*.example.com:8443",
            "http://127.0.0.1:1",
            "http://[::1]:80",
            "http://[::1]",
        ] {
            assert_eq!(check_origin(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "example.com",
            "ftp://example.com",
            "HTTPS://example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://a.*.com",
            "https://*example.com",
            "https://example.com/",
            "https://example.com?x",
            "https://u:p@example.com",
            "https://example.com:0",
            "https://example.com:65536",
            "https://example.com:+80",
            "https://example.com:",
            "https://Example.com",
            "https://exämple.com",
            "https://a..b",
            "http://[::1",
            "http://[zz]",
            "https://a b",
        ] {
            assert!(check_origin(bad).is_err(), "{bad}");
        }
        let help = |origin| check_origin(origin).err().map(|objection| objection.help);
        assert_eq!(help("api.example.com"), Some("write \"https://api.example.com\"".to_owned()));
        assert_eq!(help("https://example.com/v1?x"), Some("write \"https://example.com\"".to_owned()));
    }

    #[test]
    fn addresses() {
        for good in ["db:5432", "db.example.com:1", "*.example.com:443", "10.1.2.3:6379", "[::1]:65535"] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for bad in
            ["", "db", ":80", "db:", "db:0", "db:65536", "db:+1", "*:1", "a*:1", "[::1]", "::1:80", "a b:1"]
        {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn programs() {
        for good in ["helm", "a.b-c_d+e", "/usr/bin/helm", "/opt/my tools/helm"] {
            assert_eq!(check_program(good), Ok(()), "{good}");
        }
        for bad in
            ["", ".", "..", "./helm", "bin/helm", "/", "//bin/sh", "/usr/../bin/sh", "/bin/", "a b", "h*"]
        {
            assert!(check_program(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn variables_and_their_patterns() {
        for good in ["A", "AWS_*", "lower", "a.b"] {
            assert_eq!(check_variable_pattern(good), Ok(()), "{good}");
        }
        for bad in ["", "*", "**", "A*B", "*A", "A=B", "A B", "A\0", "=*"] {
            assert!(check_variable_pattern(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn digests() {
        let right = "0123456789abcdef".repeat(4);
        assert_eq!(check_sha256(&right), Ok(()));
        let write = Some(format!("write \"{right}\""));
        assert_eq!(check_sha256(&right.to_uppercase()).err().map(|objection| objection.help), write);
        assert_eq!(check_sha256(&format!("sha256:{right}")).err().map(|objection| objection.help), write);
        assert!(
            check_sha256("abc").is_err()
                && check_sha256(&"g".repeat(64)).is_err()
                && check_sha256("").is_err()
        );
    }
}
