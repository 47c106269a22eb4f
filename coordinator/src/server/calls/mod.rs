//! What every call passes before and after its service.
//!
//! - [`layer`]: the way of a call
//! - [`arriving`], [`leaving`]: its request and its answer, within the bytes that there are for all of them
//! - [`room`]: those bytes; [`streams`]: how many calls there may be; `framing`: lengths of messages

pub(super) mod arriving;
mod framing;
pub(super) mod layer;
pub(super) mod leaving;
pub(super) mod room;
pub(super) mod streams;
