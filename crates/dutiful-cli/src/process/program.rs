//! Finds the program of a command once, when the worker starts, and says so when there is none.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Returns the absolute path of a program: as a shell finds it, by `PATH` or relative to here.
pub(crate) fn find(program: &str) -> Result<PathBuf, String> {
    if program.contains('/') {
        let path = Path::new(program);
        return match std::fs::metadata(path) {
            Err(error) => Err(format!("the program {program:?} cannot be read ({error})")),
            Ok(facts) if facts.is_dir() => Err(format!("the program {program:?} is a directory")),
            Ok(_) if !is_program(path) => {
                Err(format!("the program {program:?} is not executable; chmod +x it"))
            }
            Ok(_) => std::path::absolute(path).map_err(|error| error.to_string()),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|path| is_program(path))
        .and_then(|path| std::path::absolute(path).ok())
        .ok_or_else(|| format!("the program {program:?} does not exist in PATH"))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|f| f.is_file() && f.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_a_shell_finds() {
        assert!(find("sh").unwrap().is_absolute());
        assert_eq!(find("/bin/sh").unwrap(), Path::new("/bin/sh"));
    }

    #[test]
    fn says_why_a_program_cannot_run() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("notes.txt");
        std::fs::write(&text, "hello").unwrap();
        let say = |path: &Path| find(path.to_str().unwrap()).unwrap_err();
        assert!(say(&text).contains("is not executable"));
        assert!(say(dir.path()).contains("is a directory"));
        assert!(say(&dir.path().join("none")).contains("cannot be read"));
        assert!(find("no-such-program-anywhere").unwrap_err().contains("does not exist in PATH"));
    }
}
