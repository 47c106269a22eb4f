//! What a device does when it is spoken to: it holds a session and works off orders, one at a time.
//!
//! | module | holds |
//! |---|---|
//! | `runner`, `options`, `environment` | the device itself, what it is made of, what many of a process share |
//! | `core`, `queue` | what session and work share, and the queues between them |
//! | `session`, `stream` | holding a stream or polling |
//! | `work`, `lease`, `recent` | orders, the time they leave, what is remembered from one to the next |
//! | `standing` | what was answered: looked at before the work, written before anything is sent |
//! | `assignment`, `train`, `accept`, `models`, `look`, `job` | an assignment from its check to the receipt |
//! | `answer`, `constant_form`, `in_time` | answers that say nothing of the data, and whose time does not either |
//! | `abandoned`, `drop_reason` | why an assignment is given back |
//! | `vote` | answering a window |
//! | `builds` | taking up an offered build |

mod abandoned;
mod accept;
mod answer;
mod assignment;
mod builds;
mod constant_form;
mod core;
mod drop_reason;
mod environment;
mod in_time;
mod job;
mod lease;
mod look;
mod models;
mod options;
mod queue;
mod recent;
mod runner;
mod session;
mod standing;
mod stream;
mod train;
mod vote;
mod work;

pub use self::environment::Environment;
pub use self::options::{AgentError, AgentOptions, SessionMode};
pub use self::runner::{Agent, AgentView};
