//! The build that a person means.

use crate::{
    commands::builds::{Builds, Criteria, Found, Remote, backend_error, store_error, warn_local},
    error::CommandError,
    event::UnixMs,
    journal::{Lookup, StoreError},
    report::Summary,
};

/// How far apart the time in a build's id and the one that it starts at may be.
const SLACK: UnixMs = 10 * 60 * 1000;
/// How many of a backend's newest builds are searched for a number of an unknown component.
const SEARCHED: usize = 1000;
/// How many builds are named where more than one fits.
const NAMED: usize = 8;

impl Builds {
    /// By a number, an id, a prefix of one, or `latest`: of the workspace first, then of the backend.
    pub(in crate::commands) fn find(&mut self, build: &str) -> Result<Found, CommandError> {
        if build == "latest" {
            return self.latest();
        }
        let lookup = Lookup { build: build.to_owned(), component: self.component.clone() };
        match self.store.find(&lookup) {
            Ok(place) => return Ok(Found::Local(place)),
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(store_error(&error)),
        }
        if let Some(found) = self.by_number(build)? {
            return Ok(Found::Remote(Box::new(found)));
        }
        self.by_id(build)
    }

    fn latest(&mut self) -> Result<Found, CommandError> {
        let criteria = Criteria { component: self.component.clone(), ..Criteria::default() };
        let newest = self.newest(&criteria, 1)?.next();
        let newest = newest.ok_or_else(|| self.not_found("latest"))?;
        let place = self.store.place(&newest.id);
        Ok(if place.journal().exists() { Found::Local(place) } else { Found::Remote(Box::new(newest)) })
    }

    /// What the pipeline says that it builds, or what was built here last.
    fn likely_component(&self) -> Option<String> {
        let newest = || self.store.builds().ok()?.first()?.glance().ok();
        let built = || newest().map(|build| build.component).filter(|component| !component.is_empty());
        self.own.clone().or_else(built)
    }

    /// One call, where the component is known: that which was named, or the likely one.
    fn by_number(&mut self, build: &str) -> Result<Option<Summary>, CommandError> {
        let Some(number) = build.parse::<u64>().ok().filter(|_| self.backend.is_some()) else {
            return Ok(None);
        };
        if let Some(component) = self.component.clone().or_else(|| self.likely_component()) {
            match self.record(&component, number) {
                Ok(Some(found)) => return Ok(Some(Summary::listed(found))),
                Ok(None) if self.component.is_some() => return Ok(None),
                Ok(None) => {}
                Err(error) => {
                    warn_local(&error, false);
                    return Err(self.not_found(build));
                }
            }
        }
        let newest = Remote::new(self.backend.as_mut(), Criteria::default(), SEARCHED).take(SEARCHED);
        let fits = newest.filter(|found| found.number == number).map(Summary::listed).take(NAMED).collect();
        one_of(build, fits)
    }

    fn by_id(&mut self, build: &str) -> Result<Found, CommandError> {
        match self.find_remote(build) {
            Ok(Some(found)) => Ok(Found::Remote(Box::new(found))),
            Ok(None) => Err(self.not_found(build)),
            Err(error) => Err(error),
        }
    }

    /// The backend's build whose id begins so. An id begins with the time, so that says about when it started.
    pub(in crate::commands) fn find_remote(&mut self, build: &str) -> Result<Option<Summary>, CommandError> {
        let Some((earliest, latest)) = times(build) else { return Ok(None) };
        let criteria = Criteria {
            component: self.component.clone(),
            since: Some(earliest.saturating_sub(SLACK)),
            until: Some(latest.saturating_add(SLACK)),
            ..Criteria::default()
        };
        let mut remote = Remote::new(self.backend.as_mut(), criteria, usize::MAX).silent();
        let fits = remote.by_ref().filter(|found| found.id.starts_with(build)).map(Summary::listed);
        let fits = fits.take(NAMED).collect();
        match remote.failed() {
            Some(error) => Err(backend_error(error)),
            None => one_of(build, fits),
        }
    }

    fn not_found(&self, build: &str) -> CommandError {
        let place = if self.backend.is_some() {
            "in this workspace or in the history backend"
        } else {
            "in this workspace"
        };
        let is_number = build.parse::<u64>().is_ok();
        let help = match self.store.builds() {
            Ok(builds) if builds.is_empty() && self.backend.is_none() => "run one first: dcd run",
            _ if is_number && self.backend.is_some() && self.component.is_none() => {
                "`dcd history list` shows which builds there are; the number of another component's build is found with \
                 --component NAME"
            }
            _ => "`dcd history list` shows which builds there are",
        };
        CommandError::usage(format!("there is no build `{build}` {place}"), help)
    }
}

fn one_of(build: &str, mut fits: Vec<Summary>) -> Result<Option<Summary>, CommandError> {
    if fits.len() < 2 {
        return Ok(fits.pop());
    }
    let found = fits.iter().map(|found| format!("{} ({})", found.component, found.id)).collect();
    Err(store_error(&StoreError::Ambiguous { asked: build.to_owned(), found }))
}

/// The first and last moment that a UUID of version 7 may stand for which begins so; `None` if none does.
fn times(prefix: &str) -> Option<(UnixMs, UnixMs)> {
    let fits = |(at, c): (usize, char)| match at {
        8 | 13 | 18 | 23 => c == '-',
        _ => matches!(c, '0'..='9' | 'a'..='f'),
    };
    if prefix.is_empty() || prefix.len() > 36 || !prefix.chars().enumerate().all(fits) {
        return None;
    }
    let digits: String = prefix.chars().filter(|c| *c != '-').take(12).collect();
    let filled = |with: char| {
        let rest: String = std::iter::repeat_n(with, 12 - digits.len()).collect();
        UnixMs::from_str_radix(&format!("{digits}{rest}"), 16).ok()
    };
    Some((filled('0')?, filled('f')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_says_when() {
        assert_eq!(times("01a203e2-3295-7162-b630-1285573927c9"), Some((0x01a2_03e2_3295, 0x01a2_03e2_3295)));
        assert_eq!(times("01a203e2-3"), Some((0x01a2_03e2_3000, 0x01a2_03e2_3fff)));
        assert_eq!(times("01a2"), Some((0x01a2_0000_0000, 0x01a2_ffff_ffff)));
        for no_id in ["", "shop", "01A2", "01a203e23295", "01a203e2-3295-7162-b630-1285573927c9a"] {
            assert_eq!(times(no_id), None, "{no_id}");
        }
    }
}
