//! Which file a granted program is. None is ever taken from the workspace: whoever can write there, the plugin
//! included, could plant one.

use std::{
    ffi::OsStr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use crate::plugin::Grants;

/// Where programs are looked for when nothing says it.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Why a program is not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    NotPermitted(String),
    NotFound(String),
}

/// Where programs are looked for.
pub(crate) struct Search {
    directories: Vec<PathBuf>,
    /// Without links.
    workspace: PathBuf,
}

impl Search {
    pub(crate) fn new(path: Option<&OsStr>, workspace: &Path) -> Self {
        let directories = std::env::split_paths(path.unwrap_or(OsStr::new(PATH))).collect();
        let workspace = workspace.canonicalize().unwrap_or_else(|_| workspace.to_owned());
        Search { directories, workspace }
    }

    /// The file to execute, absolute.
    pub(crate) fn resolve(&self, grants: &Grants, program: &str) -> Result<PathBuf, Refusal> {
        let is_path = program.contains('/');
        let granted = grants.programs();
        let denied = || {
            let name = Path::new(program).file_name().map_or(program.into(), OsStr::to_string_lossy);
            let grant = if program.starts_with('/') { program } else { &name };
            Refusal::NotPermitted(grants.denial(
                "exec",
                &format!("to run `{program}`"),
                &serde_json::Value::from(grant).to_string(),
            ))
        };
        let file = if is_path {
            let file = Path::new(program);
            // Before the grants: no line could grant it.
            self.outside_of_the_workspace(grants, program, &self.workspace.join(file))?;
            let same = |grant: &String| self.file_of(grant).is_some_and(|granted| same_file(&granted, file));
            if !file.is_absolute() || !granted.iter().any(same) {
                return Err(denied());
            }
            file.to_owned()
        } else {
            let by_name = granted.iter().any(|grant| grant == program);
            let by_path = |file: &Path| {
                granted.iter().any(|grant| grant.starts_with('/') && same_file(Path::new(grant), file))
            };
            match self.find(program) {
                Some(file) if by_name || by_path(&file) => file,
                None if by_name => {
                    return Err(Refusal::NotFound(format!(
                        "there is no program `{program}` in PATH; install it in the image"
                    )));
                }
                Some(_) | None => return Err(denied()),
            }
        };
        self.outside_of_the_workspace(grants, program, &file)?;
        if !file.exists() {
            return Err(Refusal::NotFound(format!("there is no program {program}; install it in the image")));
        }
        Ok(file)
    }

    /// What a grant means.
    fn file_of(&self, grant: &str) -> Option<PathBuf> {
        if grant.starts_with('/') { Some(grant.into()) } else { self.find(grant) }
    }

    /// The first of that name in the directories of `PATH`; a relative one is in the workspace, where dcd runs.
    fn find(&self, name: &str) -> Option<PathBuf> {
        let is_program = |file: &PathBuf| {
            file.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
        };
        self.directories.iter().map(|directory| self.workspace.join(directory).join(name)).find(is_program)
    }

    fn outside_of_the_workspace(&self, grants: &Grants, program: &str, file: &Path) -> Result<(), Refusal> {
        let target = file.canonicalize();
        let inside = |file: &Path| file.starts_with(&self.workspace);
        if !inside(&real_place(file)) && !target.as_ref().is_ok_and(|target| inside(target)) {
            return Ok(());
        }
        Err(Refusal::NotPermitted(format!(
            "plugin {} may not run `{program}`: {} is in the workspace, where anybody can put a program; \
             install it in the image, and keep the workspace out of PATH",
            grants.plugin(),
            real_place(file).display()
        )))
    }
}

/// Whether both are one file, whatever links lead to its directory. Links to the file itself are not followed: a
/// program may do another thing by another name.
fn same_file(one: &Path, other: &Path) -> bool {
    real_place(one) == real_place(other)
}

/// The path without links in its directory.
fn real_place(file: &Path) -> PathBuf {
    let directory = file.parent().and_then(|directory| directory.canonicalize().ok());
    match (directory, file.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => file.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::{
        pipeline::{Allow, Limits, Spanned},
        plugin::{Ask, Kind, Manifest},
    };

    fn grants(exec: &[String]) -> Grants {
        let manifest = Manifest {
            api: "dcd:plugin@0.1.0".into(),
            kind: Kind::StepType,
            name: "p".into(),
            version: "1".into(),
            asks: vec![Ask { kind: "exec".into(), reason: "why".into() }],
        };
        let exec = exec.iter().map(|value| Spanned { value: value.clone(), span: 0..0 }).collect();
        Grants::new(&manifest, &Allow { exec, ..Allow::default() }, &Limits::default(), Path::new("/w"))
    }

    fn program(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "#!/bin/sh\n").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn names_are_found_in_path_and_never_in_the_workspace() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for path in ["bin/helm", "bin/other", "w/bin/helm", "w/bin/planted", "w/here"] {
            program(&at(path));
        }
        symlink(at("w/bin/planted"), at("bin/linked")).unwrap();
        symlink(at("bin"), at("also")).unwrap();
        symlink(at("bin/helm"), at("bin/multi")).unwrap();
        let text = |path: &str| at(path).display().to_string();
        let path = std::env::join_paths([at("bin"), at("w/bin"), "".into()]).unwrap();
        let search = Search::new(Some(&path), &at("w"));
        let exec = ["helm", "planted", "linked", "here", "missing"].map(str::to_owned);
        let grants_by_name = grants(&exec);
        let resolve = |program: &str| search.resolve(&grants_by_name, program);
        let denied = |program: &str| matches!(resolve(program), Err(Refusal::NotPermitted(_)));

        assert_eq!(resolve("helm"), Ok(at("bin/helm")));
        assert_eq!(resolve(&text("also/helm")), Ok(at("also/helm")), "by another path to its directory");
        for planted in ["planted", "linked", "here"] {
            assert!(denied(planted), "{planted}");
        }
        let not_granted =
            ["other", "./helm", "bin/helm", "../bin/helm", &text("w/bin/helm"), &text("bin/multi"), "", "/"];
        for program in not_granted {
            assert!(denied(program), "{program}");
        }
        assert!(matches!(resolve("missing"), Err(Refusal::NotFound(_))));

        let by_path = grants(&[text("also/helm"), text("w/here"), text("bin/gone")]);
        assert_eq!(search.resolve(&by_path, "helm"), Ok(at("bin/helm")));
        assert!(matches!(search.resolve(&by_path, &text("w/here")), Err(Refusal::NotPermitted(_))));
        assert!(matches!(search.resolve(&by_path, &text("bin/gone")), Err(Refusal::NotFound(_))));
    }

    #[test]
    fn a_planted_program_shadows_no_other() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        program(&at("w/bin/helm"));
        program(&at("bin/helm"));
        for first in [at("w/bin"), "bin".into()] {
            let path = std::env::join_paths([first, at("bin")]).unwrap();
            let found = Search::new(Some(&path), &at("w")).resolve(&grants(&["helm".to_owned()]), "helm");
            let Err(Refusal::NotPermitted(message)) = found else { panic!("{found:?}") };
            assert!(message.contains("in the workspace"), "{message}");
        }
    }
}
