//! The first versions of a new run.

use tributary_model::{Digest, Marks, ModelFile, Personalisation, initialise};
use tributary_proto::RunId;

use crate::CoordinatorError;
use crate::core::Core;
use crate::random::seeded_bytes;
use crate::registry::ModelRecord;
use tributary_recipe::{ModelSource, RunSpec};
use tributary_store::Batch;

/// The first models of all clusters; no digests and the one model where there are no clusters.
pub(super) async fn first_clusters(
    core: &Core,
    spec: &RunSpec,
    id: &RunId,
    key: [u8; 32],
    (model, base): (Digest, ModelFile),
    batch: &mut Batch,
) -> Result<(Vec<Digest>, Vec<ModelFile>), CoordinatorError> {
    let Some(Personalisation::Ifca { clusters }) = spec.training.personalisation else {
        return Ok((Vec::new(), vec![base]));
    };
    let (mut digests, mut files) = (vec![model], vec![base]);
    for cluster in 1..clusters {
        let purpose: &[&[u8]] = &[b"cluster", &key, &cluster.to_be_bytes()];
        let weights = initialise(&files[0].spec.graph()?, seeded_bytes(0, purpose));
        let file = ModelFile {
            spec: files[0].spec.clone(),
            weights,
        };
        let describe = |digest, parameters| ModelRecord {
            name: format!("{} cluster {}", file.spec.name, cluster + 1),
            ..first_record(core, spec, id, digest, parameters)
        };
        let none = Marks::default();
        digests.push(
            core.registry
                .add_model(&file, none, describe, batch)
                .await?,
        );
        files.push(file);
    }
    Ok((digests, files))
}

fn first_record(
    core: &Core,
    spec: &RunSpec,
    id: &RunId,
    digest: Digest,
    parameters: u64,
) -> ModelRecord {
    ModelRecord {
        digest,
        name: String::new(),
        parent: None,
        run_id: id.to_string(),
        round: 0,
        parameters,
        created_ms: core.clock.now_ms(),
        regions: spec.regions.iter().map(ToString::to_string).collect(),
        // nothing was trained yet
        marks: Marks::default(),
        pinned: false,
    }
}

/// The version that a run starts from: one that is there, or a new one of its architecture.
///
/// # Errors
/// When it is not known or damaged, or can't be written.
pub(super) async fn first_model(
    core: &Core,
    spec: &RunSpec,
    id: &RunId,
    key: [u8; 32],
    batch: &mut Batch,
) -> Result<(Digest, ModelFile), CoordinatorError> {
    match &spec.model {
        ModelSource::Version(source) => {
            let record = core.registry.find(&source.version)?;
            let file = match core.registry.file(&record.digest).await {
                // named, so that whoever reads `/readyz` knows too
                Err(CoordinatorError::Blob(error)) => core.judged(&record.digest, Err(error)),
                file => file,
            };
            Ok((record.digest, file?))
        }
        ModelSource::Architecture(architecture) => {
            let graph = architecture.graph()?;
            let purpose: &[&[u8]] = &[b"initialise", &key];
            let seed = seeded_bytes(0, purpose);
            let file = ModelFile {
                spec: architecture.clone(),
                weights: initialise(&graph, seed),
            };
            let describe = |digest, parameters| ModelRecord {
                name: architecture.name.clone(),
                ..first_record(core, spec, id, digest, parameters)
            };
            let none = Marks::default();
            let digest = core
                .registry
                .add_model(&file, none, describe, batch)
                .await?;
            Ok((digest, file))
        }
    }
}
