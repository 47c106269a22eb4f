//! One binary, so that everything is linked once: each module holds one promise to its users.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    reason = "clippy.toml covers test functions, not what they call"
)]

mod harness;

mod bad_combinations;
mod bad_configuration;
mod bad_recipes;
mod bad_requests;
mod bad_updates;
mod bad_uploads;
mod busy_runs;
mod caps;
mod caught_up;
mod clock_steps;
mod counted_once;
mod crashes;
mod damaged_objects;
mod drift_loop;
mod ended_runs;
mod exhaustion;
mod folder_faults;
mod forgotten;
mod full_disk;
mod garbage;
mod hints;
mod imports;
mod invariant_1;
mod invariant_11;
mod invariant_2;
mod invariant_3;
mod invariant_4;
mod invariant_5;
mod invariant_6;
mod invariant_7;
mod invariant_8;
mod invariant_9;
mod late_caps;
mod limits;
mod log_readers;
mod marks;
mod marks_after_loss;
mod mechanisms;
mod methods;
mod monitor_crashes;
mod monitors;
mod moves;
mod operators;
mod polling;
mod quarantine;
mod regions;
mod reservations;
mod restored;
mod restored_monitors;
mod retention;
mod returning;
mod selection;
mod sensitivity;
mod sensitivity_of_agents;
mod stopping;
mod store_commands;
mod strangers;
mod tricklers;
mod true_advice;
mod unheard;
mod waiting_for_space;
mod watching;
