//! Music that some tests and benches run over: not ours to publish, so not in the repository.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::packages::{self, Package};
use crate::step::{Outcome, command};
use crate::workspace::Workspace;

/// Its archives, and the folder in each.
const PARTS: [&str; 3] = ["train", "test", "hard"];
/// What unpacks them.
const TOOLS: [Package; 1] = [packages::program("xz-utils", &["xz", "--version"])];

/// The folder for `FAMAM_DATA`, which holds `train/`, `test/` and `hard/`: the user's own, or
/// unpacked from `../shared/data` beside the checkout; `None` where neither is there.
pub fn folder(workspace: &Workspace) -> Outcome<Option<PathBuf>> {
    if let Some(own) = env::var_os("FAMAM_DATA") {
        return Ok(Some(own.into()));
    }
    let archives = workspace.root.join("../shared/data");
    let archives = PARTS.map(|part| archives.join(format!("{part}.tar.xz")));
    if !archives.iter().all(|archive| archive.exists()) {
        return Ok(None);
    }
    let folder = workspace.target.join("music");
    if folder.exists() {
        return Ok(Some(folder));
    }
    packages::provide(&TOOLS)?;
    // Beside, so that what is there is whole.
    let part = folder.with_extension("part");
    let cannot = |error| format!("could not unpack music into {}: {error}", part.display());
    if part.exists() {
        fs::remove_dir_all(&part).map_err(cannot)?;
    }
    fs::create_dir_all(&part).map_err(cannot)?;
    for archive in &archives {
        let tar = command("tar").arg("xJf").arg(archive);
        tar.arg("-C").arg(&part).run()?;
    }
    fs::rename(&part, &folder).map_err(cannot)?;
    Ok(Some(folder))
}
