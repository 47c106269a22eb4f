//! `tributary fleet`: who is enrolled and connected, and moving a device to another region.

use anyhow::Result;
use clap::Subcommand;
use tributary_proto::v1::MoveDeviceRequest;
use tributary_proto::{DeviceId, RegionId};

use crate::client::Coordinator;
use crate::exit::Exit;
use crate::global::Global;
use crate::output::{Align, Cell, Output, Palette, Table, Tone, count, printable};
use crate::pages;
use crate::view::{FleetView, MovedView};

/// Verbs of `fleet`.
#[derive(Debug, Subcommand)]
pub enum FleetVerb {
    /// Count devices by region and profile
    #[command(after_help = "Examples:\n  tributary fleet ls\n  tributary fleet ls --format json")]
    Ls,
    /// Move a device to another region, with what it spent and took part in
    #[command(after_help = AFTER_MOVE)]
    Move {
        /// The device
        #[arg(value_name = "DEVICE")]
        device: DeviceId,
        /// Where to
        #[arg(value_name = "REGION")]
        region: RegionId,
    },
}

const AFTER_MOVE: &str = "\
Examples:
  tributary fleet move eu-ward-12 us
  tributary fleet move eu-ward-12 us --format json

The device keeps its privacy account, its participations and its builds. It is
refused while it holds a lease of a running round; moving it to where it is
changes nothing.";

/// Does what was asked.
pub async fn dispatch(verb: FleetVerb, global: &Global, output: Output) -> Result<Exit> {
    let coordinator = Coordinator::at(&global.coordinator)?;
    match verb {
        FleetVerb::Ls => {
            let fleet = pages::fleet(&coordinator)
                .await
                .map_err(|status| coordinator.failure(&status))?;
            output.answer(&FleetView::from(fleet), table)?;
        }
        FleetVerb::Move { device, region } => {
            let request = MoveDeviceRequest {
                device_id: device.into(),
                region: region.into(),
            };
            let answer = coordinator.control().move_device(request).await;
            let moved = answer
                .map_err(|status| coordinator.failure(&status))?
                .into_inner();
            output.answer(&MovedView::from(moved), moved_text)?;
        }
    }
    Ok(Exit::Done)
}

fn moved_text(moved: &MovedView, colours: Palette) -> String {
    let device = colours.paint(Tone::Strong, &printable(&moved.device));
    let region = printable(&moved.region);
    if moved.from_region == moved.region {
        return format!("{device} is in {region} already");
    }
    let from = printable(&moved.from_region);
    let to = colours.paint(Tone::Accent, &region);
    format!("{device} moved from {from} to {to}; its account went with it")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_move_says_where_from_and_where_to() {
        let moved = |from: &str| MovedView {
            device: "eu-ward-12".into(),
            from_region: from.into(),
            region: "us".into(),
        };
        assert_eq!(
            moved_text(&moved("eu"), Palette::PLAIN),
            "eu-ward-12 moved from eu to us; its account went with it"
        );
        assert_eq!(
            moved_text(&moved("us"), Palette::PLAIN),
            "eu-ward-12 is in us already"
        );
    }
}
