//! What a device is and keeps: its identity, its record of each run, and its counters.
//!
//! Everything is kept in memory, for simulations, or in files that are replaced as a whole and synced. The
//! device's sources of time and randomness are here too, for all that is above.
//!
//! | module | holds |
//! |---|---|
//! | `identity`, `hardware`, `folder` | who the device is, what it is made of, and how that survives a restart |
//! | `memory`, `file_memory` | vectors that stay on the device from round to round |
//! | `participation`, `record`, `file_record`, `pass` | how often it took part, and its right to do so again |
//! | `ticket`, `ticket_record`, `file_tickets` | what it has answered, and what it answers no more |
//! | `framed_file` | the frame of those files |
//! | `clock`, `randomness`, `tally` | time of day, random streams, counters |

pub(crate) mod clock;
pub(crate) mod file_memory;
pub(crate) mod file_record;
pub(crate) mod file_tickets;
pub(crate) mod folder;
pub(crate) mod framed_file;
pub(crate) mod hardware;
pub(crate) mod identity;
pub(crate) mod memory;
pub(crate) mod participation;
pub(crate) mod permit;
pub(crate) mod randomness;
pub(crate) mod record;
pub(crate) mod tally;
pub(crate) mod ticket;
pub(crate) mod ticket_record;

pub use self::clock::{Clock, SystemClock};
pub use self::file_memory::FileMemory;
pub use self::file_record::FileRecord;
pub use self::file_tickets::FileTickets;
pub use self::folder::StateFolder;
pub use self::hardware::{Hardware, INT8_FORMAT};
pub use self::identity::{Identity, IdentityError, Token};
pub use self::memory::{DeviceMemory, Kept, MemoryError, RUNS_KEPT, RunState, VolatileMemory};
pub use self::participation::{LimitError, Limits, ParticipationRequest, Participations};
pub use self::randomness::{Purposes, seeded};
pub use self::record::{MAX_RUNS_RECORDED, ParticipationRecord, RecordError, VolatileRecord};
pub use self::tally::{OpenSession, Tally, TallySnapshot};
pub use self::ticket::{Answered, Place, StaleError};
pub use self::ticket_record::{MAX_ANSWERED, SHOWN, TicketError, TicketRecord, VolatileTickets};
