//! `tributary fleet`: who is enrolled and connected.

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::GetFleetRequest;

use crate::arguments::Global;
use crate::client::Coordinator;
use crate::exit::Exit;
use crate::output::{Align, Cell, Output, Palette, Table, Tone, count};
use crate::view::FleetView;

/// Verbs of `fleet`.
#[derive(Debug, Subcommand)]
pub enum FleetVerb {
    /// Count devices by region and profile
    #[command(after_help = "Examples:\n  tributary fleet ls\n  tributary fleet ls --format json")]
    Ls,
}

/// Does what was asked.
pub async fn dispatch(verb: FleetVerb, global: &Global, output: Output) -> Result<Exit> {
    let FleetVerb::Ls = verb;
    let coordinator = Coordinator::at(&global.coordinator)?;
    let answer = coordinator.control().get_fleet(GetFleetRequest {}).await;
    let fleet = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner();
    output.answer(&FleetView::from(fleet), table)?;
    Ok(Exit::Done)
}

fn table(fleet: &FleetView, colours: Palette) -> String {
    let columns = [
        ("region", Align::Left),
        ("profile", Align::Left),
        ("enrolled", Align::Right),
        ("connected", Align::Right),
    ];
    let mut table = Table::new(&columns);
    for group in &fleet.groups {
        let tone = match group.connected {
            0 => Tone::Bad,
            connected if connected < group.enrolled => Tone::Warn,
            _ => Tone::Good,
        };
        table.row(vec![
            group.region.as_str().into(),
            group.profile.as_str().into(),
            count(group.enrolled).into(),
            Cell::toned(tone, count(group.connected)),
        ]);
    }
    table.render(
        colours,
        "no devices yet: start some with `tributary device`",
    )
}
