//! What a commit is made of, and the limits it is checked against.

use std::collections::HashSet;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Expect, StoreError, Table};

/// Most bytes of a key.
pub const MAX_KEY_BYTES: usize = 1024;
/// Most bytes of a value. Larger things belong in the blob store, named by their digest.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Most operations of a batch.
pub const MAX_OPERATIONS: usize = 16_384;
/// Most bytes of a batch, keys and values together.
pub const MAX_BATCH_BYTES: usize = 8 * 1024 * 1024;

impl From<Option<&Versioned>> for Expect {
    /// The expectation that a record has not changed since it was read.
    fn from(read: Option<&Versioned>) -> Self {
        read.map_or(Self::Absent, |record| Self::Version(record.version))
    }
}

/// A value with the number of the commit that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned {
    /// Number of the commit that put this record; at least 1.
    pub version: u64,
    /// The bytes that were put.
    pub value: Vec<u8>,
}

impl Versioned {
    /// Reads the value as JSON.
    ///
    /// # Errors
    /// [`StoreError::Encoding`] if it is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, StoreError> {
        serde_json::from_slice(&self.value).map_err(|error| StoreError::Encoding {
            message: error.to_string(),
        })
    }
}

/// One change, or one condition, of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Writes a record.
    Put {
        /// Table of the record.
        table: Table,
        /// Its key, 1 to [`MAX_KEY_BYTES`] bytes.
        key: Vec<u8>,
        /// Its value, at most [`MAX_VALUE_BYTES`] bytes.
        value: Vec<u8>,
        /// What must stand there before.
        expect: Expect,
    },
    /// Removes a record. Removing what is not there is no error unless a version was expected.
    Delete {
        /// Table of the record.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// What must stand there before.
        expect: Expect,
    },
    /// Changes nothing: the batch is refused unless the expectation holds.
    Check {
        /// Table of the record.
        table: Table,
        /// Its key.
        key: Vec<u8>,
        /// What must stand there.
        expect: Expect,
    },
}

impl Operation {
    /// Table, key and expectation, whatever the kind.
    pub(crate) fn target(&self) -> (Table, &[u8], Expect) {
        match self {
            Self::Put {
                table, key, expect, ..
            }
            | Self::Delete { table, key, expect }
            | Self::Check { table, key, expect } => (*table, key, *expect),
        }
    }

    /// Refuses the operation unless `found` is what it expects.
    pub(crate) fn check(&self, found: Option<u64>) -> Result<(), StoreError> {
        let (table, key, expected) = self.target();
        if expected.holds(found) {
            return Ok(());
        }
        Err(StoreError::Conflict {
            table,
            key: key.to_vec(),
            expected,
            found,
        })
    }

    fn size(&self) -> usize {
        match self {
            Self::Put { key, value, .. } => key.len() + value.len(),
            Self::Delete { key, .. } | Self::Check { key, .. } => key.len(),
        }
    }
}

/// A list of operations that take effect together or not at all. Each key may occur once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    operations: Vec<Operation>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a [`Operation::Put`].
    pub fn put(
        &mut self,
        table: Table,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        expect: Expect,
    ) -> &mut Self {
        self.push(Operation::Put {
            table,
            key: key.into(),
            value: value.into(),
            expect,
        })
    }

    /// Adds a [`Operation::Put`] of `value` as JSON.
    ///
    /// # Errors
    /// [`StoreError::Encoding`] if `value` has no JSON form.
    pub fn put_json<T: Serialize + ?Sized>(
        &mut self,
        table: Table,
        key: impl Into<Vec<u8>>,
        value: &T,
        expect: Expect,
    ) -> Result<&mut Self, StoreError> {
        let value = serde_json::to_vec(value).map_err(|error| StoreError::Encoding {
            message: error.to_string(),
        })?;
        Ok(self.put(table, key, value, expect))
    }

    /// Adds a [`Operation::Delete`].
    pub fn delete(&mut self, table: Table, key: impl Into<Vec<u8>>, expect: Expect) -> &mut Self {
        self.push(Operation::Delete {
            table,
            key: key.into(),
            expect,
        })
    }

    /// Adds a [`Operation::Check`].
    pub fn check(&mut self, table: Table, key: impl Into<Vec<u8>>, expect: Expect) -> &mut Self {
        self.push(Operation::Check {
            table,
            key: key.into(),
            expect,
        })
    }

    /// Adds any operation.
    pub fn push(&mut self, operation: Operation) -> &mut Self {
        self.operations.push(operation);
        self
    }

    /// The operations in the order in which they were added.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// How many operations the batch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether the batch has no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn size(&self) -> usize {
        self.operations.iter().map(Operation::size).sum()
    }

    /// Checks the limits and that no key occurs twice.
    pub(crate) fn validate(&self) -> Result<(), StoreError> {
        let bytes = self.size();
        if self.len() > MAX_OPERATIONS || bytes > MAX_BATCH_BYTES {
            return Err(StoreError::BatchTooLarge {
                operations: self.len(),
                bytes,
                max_operations: MAX_OPERATIONS,
                max_bytes: MAX_BATCH_BYTES,
            });
        }
        let mut seen = HashSet::with_capacity(self.len());
        for operation in &self.operations {
            let (table, key, _) = operation.target();
            if key.is_empty() || key.len() > MAX_KEY_BYTES {
                return Err(StoreError::KeySize {
                    table,
                    size: key.len(),
                    limit: MAX_KEY_BYTES,
                });
            }
            if let Operation::Put { value, .. } = operation
                && value.len() > MAX_VALUE_BYTES
            {
                let size = value.len();
                return Err(StoreError::ValueTooLarge {
                    table,
                    size,
                    limit: MAX_VALUE_BYTES,
                });
            }
            if !seen.insert((table, key)) {
                return Err(StoreError::DuplicateKey { table });
            }
        }
        Ok(())
    }
}

/// Proof that a batch is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitReceipt {
    /// Number of the commit, and the version of every record it put. A batch that wrote nothing
    /// gets the number of the last commit before it.
    pub version: u64,
}
