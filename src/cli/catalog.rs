//! What services for calls need: the entries of the program and the user's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::exit::CliError;
use super::settings;
use crate::address::{Host, OtherKind};
use crate::plan::ProbePlan;
use crate::plan::catalog::Service;

/// Fills in what the plan's service needs; other plans stay as they are. `dir` comes instead of the user's usual folder.
pub(super) fn needs(plan: ProbePlan, dir: Option<&Path>) -> Result<ProbePlan, CliError> {
    if plan.target.kind != OtherKind::Service {
        return Ok(plan);
    }
    let service = service(&plan.target.host, dir)?;
    Ok(plan.of_service(Arc::new(service)))
}

/// The entry of this name: of the user's own, then of those that come with the program.
fn service(host: &Host, catalog: Option<&Path>) -> Result<Service, CliError> {
    let usual = settings::services_dir(&settings::process_env).filter(|dir| dir.is_dir());
    let mut all = match catalog.or(usual.as_deref()) {
        Some(dir) => services_in(dir)?,
        None => Vec::new(),
    };
    all.extend(Service::shipped().map_err(|error| CliError::Usage(error.to_string()))?);
    let wanted = host.to_string();
    if let Some(at) = all.iter().position(|service| service.name == wanted) {
        return Ok(all.swap_remove(at));
    }
    let mut names: Vec<&str> = all.iter().map(|service| service.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    Err(CliError::Usage(format!(
        "no service {wanted:?} is known; known are {}. Describe others in files of your own: --catalog DIR",
        names.join(", ")
    )))
}

/// The entries in a folder: each file that ends in .toml.
fn services_in(dir: &Path) -> Result<Vec<Service>, CliError> {
    let listed = fs::read_dir(dir).map_err(|error| CliError::input(dir, &error))?;
    let mut files = Vec::new();
    for entry in listed {
        let path = entry.map_err(|error| CliError::input(dir, &error))?.path();
        if path.extension().is_some_and(|ext| ext == "toml") {
            files.push(path);
        }
    }
    files.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).map_err(|error| CliError::input(path, &error))?;
        settings::parse_toml(path, &text, Service::parse)
    };
    files.iter().map(read).collect()
}
