//! The closed list of tables.

use std::fmt;

/// A table of the store. Each is one sled tree, named by [`Table::name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Table {
    /// Facts about the deployment itself: keys, settings, counters.
    Meta,
    /// Enrolled devices and their profiles.
    Devices,
    /// Runs and their current state.
    Runs,
    /// What happened to a run, in order.
    RunEvents,
    /// Sealed segments of partial sums with the contributors that hold receipts for them.
    Segments,
    /// Model versions.
    Models,
    /// The privacy ledger, append-only.
    Ledger,
    /// Privacy spent and participations per device.
    DeviceAccounts,
    /// State of the drift monitors.
    Monitors,
    /// Summaries of past monitoring windows.
    DriftWindows,
    /// Builds of model versions for device profiles.
    Builds,
    /// Which build is installed on which device.
    Installs,
}

impl Table {
    /// Every table, in declaration order.
    pub const ALL: [Self; 12] = [
        Self::Meta,
        Self::Devices,
        Self::Runs,
        Self::RunEvents,
        Self::Segments,
        Self::Models,
        Self::Ledger,
        Self::DeviceAccounts,
        Self::Monitors,
        Self::DriftWindows,
        Self::Builds,
        Self::Installs,
    ];

    /// The table's name on disk and in messages. Never changes once released.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Devices => "devices",
            Self::Runs => "runs",
            Self::RunEvents => "run-events",
            Self::Segments => "segments",
            Self::Models => "models",
            Self::Ledger => "ledger",
            Self::DeviceAccounts => "device-accounts",
            Self::Monitors => "monitors",
            Self::DriftWindows => "drift-windows",
            Self::Builds => "builds",
            Self::Installs => "installs",
        }
    }

    /// Position in [`Table::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_stands_at_its_own_index_under_its_own_name() {
        let mut names = std::collections::BTreeSet::new();
        for (position, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table.index(), position);
            assert!(names.insert(table.name()), "{table} is used twice");
        }
    }
}
