//! Versions, and what a change makes of them.

use std::{fmt, str::FromStr};

/// `MAJOR.MINOR.PATCH`
///
/// ```
/// use semver::{Change, Version};
///
/// let version: Version = "1.4.2".parse().unwrap();
/// assert_eq!(version.after(Change::Feature).to_string(), "1.5.0");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u64,
    pub minor: u64,
    pub patch: u64,
}

/// What a commit does, by Conventional Commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    Fix,
    Feature,
    Breaking,
}

/// Not a version.
#[derive(Debug, PartialEq, Eq)]
pub struct NotAVersion(pub String);

impl fmt::Display for NotAVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a version like 1.4.2", self.0)
    }
}

impl std::error::Error for NotAVersion {}

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let wrong = || NotAVersion(text.to_owned());
        let number = |part: Option<&str>| {
            // As SemVer says: no sign, and no zero before other digits.
            let part = part.filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
            part.filter(|part| *part == "0" || !part.starts_with('0'))?.parse().ok()
        };
        let mut parts = text.strip_prefix('v').unwrap_or(text).split('.');
        let version = Version {
            major: number(parts.next()).ok_or_else(wrong)?,
            minor: number(parts.next()).ok_or_else(wrong)?,
            patch: number(parts.next()).ok_or_else(wrong)?,
        };
        if parts.next().is_some() { Err(wrong()) } else { Ok(version) }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl Version {
    /// The next version. Before 1.0.0 a breaking change raises only the minor number.
    #[must_use]
    pub fn after(self, change: Change) -> Self {
        let Version { major, minor, patch } = self;
        match change {
            Change::Breaking if major > 0 => Version { major: major + 1, minor: 0, patch: 0 },
            Change::Breaking | Change::Feature => Version { major, minor: minor + 1, patch: 0 },
            Change::Fix => Version { major, minor, patch: patch + 1 },
        }
    }
}

impl Change {
    /// What a commit's subject says: `feat: …`, `fix(parser): …`, `feat!: …`. Others change nothing for users.
    #[must_use]
    pub fn of(subject: &str) -> Option<Self> {
        let (kind, _) = subject.split_once(": ")?;
        let (kind, breaking) = kind.strip_suffix('!').map_or((kind, false), |kind| (kind, true));
        let kind = kind.split_once('(').map_or(kind, |(kind, _)| kind);
        match kind {
            _ if breaking => Some(Change::Breaking),
            "feat" => Some(Change::Feature),
            "fix" | "perf" => Some(Change::Fix),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn versions_are_read_and_written() {
        assert_eq!(version("v1.20.3"), Version { major: 1, minor: 20, patch: 3 });
        assert_eq!(version("0.0.0").to_string(), "0.0.0");
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", "1", "1.2", "1.2.3.4", "1.02.3", "1.-2.3", "1.+2.3", "a.b.c", "1..3"] {
            assert_eq!(text.parse::<Version>(), Err(NotAVersion(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(version("1.10.0") > version("1.9.9"));
    }

    #[test]
    fn the_largest_change_counts() {
        assert_eq!(version("1.4.2").after(Change::Breaking), version("2.0.0"));
        assert_eq!(version("0.4.2").after(Change::Breaking), version("0.5.0"));
        assert_eq!(version("0.4.2").after(Change::Fix), version("0.4.3"));
        assert!(Change::Breaking > Change::Feature && Change::Feature > Change::Fix);
    }

    #[test]
    fn subjects_say_what_they_change() {
        assert_eq!(Change::of("feat(api): add it"), Some(Change::Feature));
        assert_eq!(Change::of("refactor!: drop it"), Some(Change::Breaking));
        assert_eq!(Change::of("docs: explain it"), None);
        assert_eq!(Change::of("Add it"), None);
    }
}
