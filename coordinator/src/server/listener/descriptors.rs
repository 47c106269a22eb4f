//! How many connections the process' limit of open files leaves room for.

use crate::limits::Limits;

/// Descriptors that are not for connections: files of the store, listeners, the admin page.
const RESERVED_DESCRIPTORS: u64 = 64;

/// The most connections that `open_files` leave room for.
pub(in crate::server) fn connections(limits: &Limits, open_files: Option<u64>) -> usize {
    let Some(files) = open_files else {
        return limits.connections;
    };
    let room = files
        .saturating_sub(RESERVED_DESCRIPTORS)
        .max(files / 2)
        .max(1);
    limits
        .connections
        .min(usize::try_from(room).unwrap_or(usize::MAX))
}

/// Files that this process may have open, from `/proc`; none where that can't be read.
pub(in crate::server) fn open_files() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_store_and_the_admin_page() {
        let limits = Limits::default();
        assert_eq!(connections(&limits, None), 16_384);
        assert_eq!(connections(&limits, Some(1 << 20)), 16_384);
        assert_eq!(connections(&limits, Some(1_024)), 960);
        assert_eq!(connections(&limits, Some(64)), 32);
        assert_eq!(connections(&limits, Some(0)), 1);
    }

    #[test]
    fn the_limit_of_this_process_can_be_read() {
        if cfg!(target_os = "linux") {
            assert!(open_files().is_some());
        }
    }
}
