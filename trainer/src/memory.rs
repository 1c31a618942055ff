//! How much memory this process may still take, and what happens when it has taken too much.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

/// What libtorch says when a device or the machine has no more memory, in parts of its sentences.
const EXHAUSTED: [&str; 3] = [
    "out of memory",
    "can't allocate memory",
    "not enough memory",
];

/// Memory has run out.
#[derive(Debug, PartialEq, Eq)]
pub struct Exhausted;

/// Runs `work`, in which libtorch may find no more memory: it panics then, as every other operation
/// of `tch` would.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Exhausted> {
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|why| match is_exhausted(&*why) {
        true => Exhausted,
        false => panic::resume_unwind(why),
    })
}

/// Panics for want of memory say nothing: [`guarded`] makes a sentence of them.
pub fn silence_exhaustion() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !is_exhausted(info.payload()) {
            usual(info);
        }
    }));
}

fn is_exhausted(why: &(dyn Any + Send)) -> bool {
    let said = why.downcast_ref::<String>().map(String::as_str);
    said.or(why.downcast_ref::<&str>().copied())
        .is_some_and(|said| EXHAUSTED.iter().any(|part| said.contains(part)))
}

/// Bytes that are free: the least of what the machine has, what the process's control groups leave
/// it and what its own limit does. `None` where the system does not say.
pub fn available() -> Option<u64> {
    let of_machine = field(&read("/proc/meminfo")?, "MemAvailable:")? * 1024;
    let limits = [control_groups(), address_space()];
    limits.into_iter().flatten().chain([of_machine]).min()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// The number behind a name.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// What `ulimit -v` leaves.
fn address_space() -> Option<u64> {
    let limit = field(&read("/proc/self/limits")?, "Max address space")?;
    let taken = field(&read("/proc/self/status")?, "VmSize:")? * 1024;
    Some(limit.saturating_sub(taken))
}

/// What the group of the process and those around it leave, of version 1 or 2. A cluster's jobs and
/// containers are limited so.
fn control_groups() -> Option<u64> {
    let text = read("/proc/self/cgroup")?;
    let groups = text.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, names) = match controllers {
            "" => ("/sys/fs/cgroup", ["memory.max", "memory.current"]),
            "memory" => (
                "/sys/fs/cgroup/memory",
                ["memory.limit_in_bytes", "memory.usage_in_bytes"],
            ),
            _ => return None,
        };
        let folder = Path::new(root).join(path.trim_start_matches('/'));
        let up = folder
            .ancestors()
            .take_while(|group| group.starts_with(root));
        up.filter_map(|group| left(group, names)).min()
    });
    groups.min()
}

/// What one group leaves. Files that it holds in memory can be let go of.
fn left(group: &Path, [limit, taken]: [&str; 2]) -> Option<u64> {
    let number = |name: &str| read(group.join(name))?.trim().parse::<u64>().ok();
    let stat = read(group.join("memory.stat")).unwrap_or_default();
    let files = ["inactive_file ", "active_file "].map(|name| field(&stat, name).unwrap_or(0));
    let taken = number(taken)?.saturating_sub(files.iter().sum());
    Some(number(limit)?.saturating_sub(taken))
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::parallel::each;

    #[test]
    fn memory_that_runs_out_in_a_worker_is_told_from_other_panics() {
        let allocate = |size: i64| {
            guarded(|| {
                each(&mut [(), ()], vec![16, size, 32], |_, size| {
                    Tensor::zeros([size], (Kind::Float, Device::Cpu)).numel()
                })
            })
        };
        assert_eq!(allocate(8), Ok(vec![16, 8, 32]));
        assert_eq!(allocate(1 << 55), Err(Exhausted));
        let other = panic::catch_unwind(|| allocate(-1));
        let why = other.unwrap_err();
        assert!(why.downcast_ref::<String>().unwrap().contains("negative"));
        let cuda = "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to \
                    allocate 20.00 MiB. GPU 0 has a total capacity of 79.10 GiB\")";
        let cuda = guarded(|| panic::resume_unwind(Box::new(cuda.to_owned())));
        assert_eq!(cuda, Err::<(), _>(Exhausted));
    }

    #[test]
    fn what_a_group_leaves_is_its_limit_without_what_it_took_but_for_files() {
        let group = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(group.path().join(name), text).unwrap();
        let left = || left(group.path(), ["memory.max", "memory.current"]);
        assert_eq!(left(), None);
        write("memory.max", "max\n");
        write("memory.current", "700\n");
        assert_eq!(left(), None);
        write("memory.max", "1000\n");
        assert_eq!(left(), Some(300));
        write("memory.stat", "anon 1\ninactive_file 150\nactive_file 50\n");
        assert_eq!(left(), Some(500));
        write("memory.current", "7000\n");
        assert_eq!(left(), Some(0));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn something_is_free_here() {
        let free = available().unwrap();
        assert!((1 << 20..1 << 50).contains(&free), "{free}");
    }
}
