//! Starting a run.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;
use tributary_device::Token;
use tributary_proto::v1::{StartRunRequest, StartRunResponse};

use crate::client::Coordinator;
use crate::exit::Exit;
use crate::output::{Output, Tone, printable};

/// Longest recipe that is sent; real ones have a few hundred bytes.
const LIMIT: u64 = 1 << 20;

/// Sends the recipe and prints the run's id.
pub async fn start(
    coordinator: &Coordinator,
    recipe: &Path,
    allow_no_privacy: String,
    output: Output,
) -> Result<Exit> {
    let recipe = read(recipe)?;
    // a fresh key: a retry inside the transport starts nothing twice
    let idempotency_key = hex::encode(Token::from_os()?.secret());
    let request = StartRunRequest {
        recipe,
        idempotency_key,
        allow_no_privacy,
    };
    let answer = coordinator.control().start_run(request).await;
    let StartRunResponse { run_id, warnings } = answer
        .map_err(|status| coordinator.failure(&status))?
        .into_inner();
    let body = json!({ "run": run_id, "warnings": warnings });
    output.answer(&body, |_, colours| {
        let run = printable(&run_id);
        let warning = |text: &String| format!("\n{}", colours.paint(Tone::Warn, &printable(text)));
        let warnings: String = warnings.iter().map(warning).collect();
        let watch = colours.paint(Tone::Dim, &format!("follow it: tributary run watch {run}"));
        format!(
            "started {}{warnings}\n{watch}",
            colours.paint(Tone::Strong, &run)
        )
    })?;
    Ok(Exit::Done)
}

fn read(path: &Path) -> Result<String> {
    let name = path.display();
    let source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(
            std::fs::File::open(path).with_context(|| format!("recipe {name}: can't open it"))?,
        )
    };
    let mut text = String::new();
    let length = source.take(LIMIT + 1).read_to_string(&mut text);
    length.with_context(|| format!("recipe {name}: it is not text"))?;
    anyhow::ensure!(
        text.len() as u64 <= LIMIT,
        "recipe {name}: longer than {LIMIT} bytes"
    );
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_binary_or_huge_recipe_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let missing = folder.path().join("missing.toml");
        let binary = write("binary.toml", &[0xff, 0xfe]);
        let huge = write("huge.toml", &vec![b'#'; LIMIT as usize + 1]);
        for path in [missing, binary, huge] {
            let error = format!("{:#}", read(&path).unwrap_err());
            assert!(error.contains(path.to_str().unwrap()), "{error}");
        }
        let good = write("good.toml", b"name = \"x\"");
        assert_eq!(read(&good).unwrap(), "name = \"x\"");
    }
}
