//! Embeds the directories under `templates/`: the bytes of every file, and whether it is
//! executable. They contain no symbolic links, because some systems that build this cannot check
//! one out.

#![expect(clippy::disallowed_methods, reason = "a build script")]

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let templates = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("templates");
    println!("cargo::rerun-if-changed={}", templates.display());
    let mut code = String::from("static TEMPLATES: &[(&str, &[Embedded])] = &[\n");
    for template in children(&templates)? {
        writeln!(code, "({:?}, &[", name(&template)?)?;
        embed(&mut code, &template, "")?;
        code.push_str("]),\n");
    }
    code.push_str("];\n");
    fs::write(
        PathBuf::from(std::env::var("OUT_DIR")?).join("templates.rs"),
        code,
    )?;
    Ok(())
}

fn embed(code: &mut String, folder: &Path, prefix: &str) -> Result<(), Box<dyn Error>> {
    for child in children(folder)? {
        let path = format!("{prefix}{}", name(&child)?);
        let metadata = fs::symlink_metadata(&child)?;
        if metadata.is_dir() {
            embed(code, &child, &format!("{path}/"))?;
        } else if metadata.is_file() {
            let executable = is_executable(&metadata);
            writeln!(
                code,
                "Embedded {{ path: {path:?}, bytes: include_bytes!({child:?}), executable: {executable} }},"
            )?;
        } else {
            return Err(format!("{} is neither a file nor a folder", child.display()).into());
        }
    }
    Ok(())
}

/// Content of a directory, in an order that does not depend on the file system.
fn children(folder: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    paths.sort();
    Ok(paths)
}

fn name(path: &Path) -> Result<&str, Box<dyn Error>> {
    path.file_name()
        .and_then(|name| name.to_str())
        .ok_or_else(|| "a template has a name that is not UTF-8".into())
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o100 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}
