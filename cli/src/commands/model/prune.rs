//! Deleting old versions, and keeping some for good.

use anyhow::Result;
use serde_json::json;
use tributary_proto::v1::{PinModelRequest, PruneModelsRequest, PruneModelsResponse};

use super::show;
use crate::client::Coordinator;
use crate::output::{Output, Palette, Tone, bytes, count, short_digest};
use crate::view::ModelView;

/// What goes, or went.
struct Gone {
    models: Vec<ModelView>,
    all: u64,
    bytes: u64,
    deleted: bool,
}

/// Says which versions would go, or with `delete` lets them go.
pub async fn prune(
    coordinator: &Coordinator,
    keep: u32,
    run: &str,
    delete: bool,
    output: Output,
) -> Result<()> {
    let mut gone = Gone {
        models: Vec::new(),
        all: 0,
        bytes: 0,
        deleted: delete,
    };
    loop {
        let request = PruneModelsRequest {
            keep,
            run_id: run.to_owned(),
            delete,
        };
        let answer = coordinator.control().prune_models(request).await;
        let page = answer
            .map_err(|status| coordinator.failure(&status))?
            .into_inner();
        let more = gone.take(page);
        if !delete || !more {
            break;
        }
    }
    let body = json!({
        "deleted": gone.deleted,
        "models": gone.models,
        "versions": gone.all,
        "bytes": gone.bytes,
    });
    output.answer(&body, |_, colours| gone.text(colours))
}

impl Gone {
    /// Takes a page; true when there are more.
    fn take(&mut self, page: PruneModelsResponse) -> bool {
        let more = page.all > page.models.len() as u64;
        self.all = if self.deleted {
            self.all + page.models.len() as u64
        } else {
            page.all
        };
        self.bytes += page.bytes;
        self.models
            .extend(page.models.into_iter().map(ModelView::from));
        more
    }

    fn text(&self, colours: Palette) -> String {
        if self.all == 0 {
            return colours.paint(Tone::Dim, "nothing to prune");
        }
        let (versions, size) = (count(self.all), bytes(self.bytes));
        let last = if self.deleted {
            format!("deleted {versions} versions, {size}")
        } else {
            format!("{versions} versions would go, {size}: add --yes to delete them")
        };
        let tone = if self.deleted { Tone::Good } else { Tone::Warn };
        let table = show::list(&self.models, colours);
        format!("{table}\n\n{}", colours.paint(tone, &last))
    }
}

/// Keeps a version for good, or no longer.
pub async fn pin(
    coordinator: &Coordinator,
    digest: &str,
    pinned: bool,
    output: Output,
) -> Result<()> {
    let request = PinModelRequest {
        digest: digest.to_owned(),
        pinned,
    };
    let answer = coordinator.control().pin_model(request).await;
    let model = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner()
        .model;
    let model = ModelView::from(model.unwrap_or_default());
    output.answer(&model, |model, colours| {
        let digest = colours.paint(Tone::Strong, short_digest(&model.digest));
        let what = if model.pinned {
            "is kept whatever its age"
        } else {
            "may go when it is old"
        };
        format!("{digest} {what}")
    })
}
