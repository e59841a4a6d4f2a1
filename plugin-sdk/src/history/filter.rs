//! Which builds a list wants.

use serde_json::{Map, Value};

use super::{Build, BuildFilter};

impl BuildFilter {
    /// Whether the build is among those that are wanted.
    pub fn fits(&self, build: &Build) -> bool {
        self.component.as_ref().is_none_or(|component| *component == build.id.component)
            && (self.statuses.is_empty() || self.statuses.contains(&build.status))
            && self.started_after.is_none_or(|after| build.started_at > after)
            && self.started_before.is_none_or(|before| build.started_at < before)
            && self.fits_metadata(&build.metadata)
    }

    fn fits_metadata(&self, metadata: &str) -> bool {
        if self.metadata.is_empty() {
            return true;
        }
        let known: Map<String, Value> = serde_json::from_str(metadata).unwrap_or_default();
        self.metadata.iter().all(|(key, text)| known.get(key).and_then(Value::as_str) == Some(text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{BuildId, Status};
    use super::*;

    #[test]
    fn a_build_fits_when_all_that_is_asked_for_does() {
        let build = Build {
            id: BuildId { component: "shop".into(), number: 7 },
            run_id: "run".into(),
            status: Status::Failure,
            started_at: 1000,
            finished_at: None,
            lease_expires_at: 0,
            as_of: 0,
            next_seq: 0,
            metadata: r#"{"branch":"main","dirty":true}"#.into(),
            summary: None,
            pruned: false,
        };
        let any = BuildFilter {
            component: None,
            statuses: Vec::new(),
            started_after: None,
            started_before: None,
            metadata: Vec::new(),
        };
        let with = |key: &str, text: &str| BuildFilter {
            metadata: vec![(key.to_owned(), text.to_owned())],
            ..any.clone()
        };
        assert!(any.fits(&build));
        assert!(BuildFilter { component: Some("shop".into()), ..any.clone() }.fits(&build));
        assert!(!BuildFilter { component: Some("sho".into()), ..any.clone() }.fits(&build));
        assert!(!BuildFilter { statuses: vec![Status::Success], ..any.clone() }.fits(&build));
        assert!(!BuildFilter { started_after: Some(1000), ..any.clone() }.fits(&build));
        assert!(BuildFilter { started_before: Some(1001), ..any.clone() }.fits(&build));
        assert!(with("branch", "main").fits(&build));
        assert!(!with("branch", "mai").fits(&build));
        assert!(!with("dirty", "true").fits(&build), "only texts");
        assert!(!with("commit", "").fits(&build));
    }
}
