//! Where ONNX Runtime's library is.

use std::path::{Path, PathBuf};

use super::EngineError;

/// The environment variable that names the library.
pub(super) const VARIABLE: &str = "FAMAM_ONNXRUNTIME";
/// The folder under the user's cache, named by the version it holds.
const CACHE: &str = "famam/onnxruntime-1.31.1";

#[cfg(target_os = "windows")]
const NAMES: &[&str] = &["onnxruntime.dll"];
#[cfg(target_os = "macos")]
const NAMES: &[&str] = &["libonnxruntime.1.31.1.dylib", "libonnxruntime.dylib"];
#[cfg(not(any(target_os = "windows", target_os = "macos")))]
const NAMES: &[&str] = &["libonnxruntime.so.1.31.1", "libonnxruntime.so"];

/// ONNX Runtime's library: the file that `FAMAM_ONNXRUNTIME` names; or one beside this module (the
/// plugin, wherever a host loads it from) or in the folder above it (a VST3's `Contents`); beside
/// the executable; in the user's cache, `famam/onnxruntime-1.31.1` (`$XDG_CACHE_HOME`, `~/.cache`,
/// `%LOCALAPPDATA%`).
///
/// # Errors
/// [`EngineError::Missing`] with the files that were looked for.
pub fn find() -> Result<PathBuf, EngineError> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(missing(&[path]))
        };
    }
    let files: Vec<PathBuf> = folders()
        .iter()
        .flat_map(|folder| NAMES.iter().map(|name| folder.join(name)))
        .collect();
    files
        .iter()
        .find(|path| path.is_file())
        .cloned()
        .ok_or_else(|| missing(&files))
}

fn missing(files: &[PathBuf]) -> EngineError {
    let names: Vec<String> = files
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    EngineError::Missing {
        looked: names.join(", "),
    }
}

fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some(folder) = module().as_deref().and_then(Path::parent) {
        folders.push(folder.to_path_buf());
        folders.extend(folder.parent().map(Path::to_path_buf));
    }
    if let Ok(executable) = std::env::current_exe() {
        folders.extend(executable.parent().map(Path::to_path_buf));
    }
    let cache = |variable: &str| std::env::var_os(variable).filter(|path| !path.is_empty());
    let cache = if cfg!(windows) {
        cache("LOCALAPPDATA").map(PathBuf::from)
    } else {
        let home = || std::env::home_dir().map(|home| home.join(".cache"));
        cache("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
    };
    folders.extend(cache.map(|cache| cache.join(CACHE)));
    folders.retain(|folder| folder.is_absolute());
    folders.dedup();
    folders
}

/// The version of ONNX Runtime's library at `path`, which is loaded already.
pub(super) fn version(path: &Path) -> Result<String, String> {
    let failed = |error: libloading::Error| error.to_string();
    // SAFETY: the library's initializers ran when it was loaded.
    let library = unsafe { libloading::Library::new(path) }.map_err(failed)?;
    // SAFETY: the type is that of `onnxruntime_c_api.h`.
    let base = unsafe {
        library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
    };
    let base = base.map_err(failed)?;
    // SAFETY: the library returns its static table or null, and the version is a static string.
    let version = unsafe {
        let base = base().as_ref().ok_or("it has no API")?;
        std::ffi::CStr::from_ptr((base.GetVersionString)())
    };
    Ok(version.to_string_lossy().into_owned())
}

/// The file that this code was loaded from.
#[cfg(unix)]
fn module() -> Option<PathBuf> {
    use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
    use std::os::unix::ffi::OsStrExt;

    /// `Dl_info` of `dlfcn.h`.
    #[repr(C)]
    struct Info {
        file: *const c_char,
        base: *mut c_void,
        symbol: *const c_char,
        address: *mut c_void,
    }
    unsafe extern "C" {
        fn dladdr(address: *const c_void, info: *mut Info) -> c_int;
    }

    let here = module as fn() -> Option<PathBuf> as *const c_void;
    let mut info = std::mem::MaybeUninit::<Info>::zeroed();
    // SAFETY: `info` is large enough for what `dladdr` writes, and zeros are a valid `Info`.
    let info = unsafe { (dladdr(here, info.as_mut_ptr()) != 0).then(|| info.assume_init()) }?;
    if info.file.is_null() {
        return None;
    }
    // SAFETY: the loader's string lives as long as this module is loaded, which is while this runs.
    let name = unsafe { CStr::from_ptr(info.file) };
    Path::new(OsStr::from_bytes(name.to_bytes()))
        .canonicalize()
        .ok()
}

/// The file that this code was loaded from.
#[cfg(windows)]
fn module() -> Option<PathBuf> {
    use std::ffi::{OsString, c_void};
    use std::os::windows::ffi::OsStringExt;

    unsafe extern "system" {
        fn GetModuleHandleExW(flags: u32, address: *const c_void, module: *mut *mut c_void) -> i32;
        fn GetModuleFileNameW(module: *mut c_void, name: *mut u16, size: u32) -> u32;
    }
    /// `GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT`.
    const BY_ADDRESS: u32 = 4 | 2;

    let here = module as fn() -> Option<PathBuf> as *const c_void;
    let mut handle = std::ptr::null_mut();
    let mut name = [0u16; 1 << 15];
    // SAFETY: both calls write only into the variables given, `name` with its true size.
    let length = unsafe {
        if GetModuleHandleExW(BY_ADDRESS, here, &mut handle) == 0 {
            return None;
        }
        GetModuleFileNameW(handle, name.as_mut_ptr(), name.len() as u32)
    };
    let name = name
        .get(..length as usize)
        .filter(|name| !name.is_empty())?;
    Some(PathBuf::from(OsString::from_wide(name)))
}
