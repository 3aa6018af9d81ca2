//! What the machine lets this process have: memory and open files. Linux tells;
//! elsewhere neither is known.

use std::fs;
use std::path::Path;

/// No control group is given so much; it is how the older kind says "no limit".
const NO_LIMIT: u64 = 1 << 60;

/// The memory of this process's control group, in bytes, if that is limited.
pub(super) fn memory() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    memory_of(&groups, Path::new("/sys/fs/cgroup"))
}

/// How many files this process may have open.
pub(super) fn open_files() -> Option<usize> {
    soft_limit(&fs::read_to_string("/proc/self/limits").ok()?)
}

/// `groups` is a line for each hierarchy: number, controllers, path. What the
/// groups above are given holds as well, and in a container the path may be one
/// of the host's: then only the top is there, which is the container's own.
fn memory_of(groups: &str, root: &Path) -> Option<u64> {
    let limits = groups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let (root, file) = if controllers.is_empty() {
            (root.to_owned(), "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            (root.join("memory"), "memory.limit_in_bytes")
        } else {
            return None;
        };
        let group = Path::new(path.trim_start_matches('/'));
        let limit = move |group: &Path| {
            let text = fs::read_to_string(root.join(group).join(file)).ok()?;
            text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
        };
        group.ancestors().filter_map(limit).min()
    });
    limits.min()
}

fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn the_least_of_a_group_and_those_above_it_counts() {
        let root = TempDir::new().unwrap();
        let write = |group: &str, file: &str, text: &str| {
            let group = root.path().join(group);
            fs::create_dir_all(&group).unwrap();
            fs::write(group.join(file), text).unwrap();
        };
        let memory = |groups: &str| memory_of(groups, root.path());
        assert_eq!(memory("0::/a/b\n"), None);
        write("a/b", "memory.max", "max\n");
        assert_eq!(memory("0::/a/b\n"), None);
        write("a", "memory.max", "1073741824\n");
        assert_eq!(memory("0::/a/b\n"), Some(1 << 30));
        write("", "memory.max", "536870912\n");
        assert_eq!(memory("0::/a/b\n"), Some(512 << 20));
        assert_eq!(memory("0::/of/the/host\n"), Some(512 << 20));
        let older = "5:cpu,cpuacct:/x\n4:memory:/x\n";
        assert_eq!(memory(older), None);
        write("memory/x", "memory.limit_in_bytes", "9223372036854771712");
        assert_eq!(memory(older), None);
        write("memory/x", "memory.limit_in_bytes", "268435456\n");
        assert_eq!(memory(older), Some(256 << 20));
    }

    #[test]
    fn the_soft_limit_of_open_files_is_the_first() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units\n\
                      Max processes             63700                63700                processes\n\
                      Max open files            1024                 524288               files\n";
        assert_eq!(soft_limit(limits), Some(1_024));
        assert_eq!(
            soft_limit("Max open files  unlimited  unlimited  files"),
            None
        );
        assert_eq!(soft_limit(""), None);
    }
}
