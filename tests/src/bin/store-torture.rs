//! Tortures the metadata store and says what it lost.
//!
//! ```text
//! cargo run --release -p tributary-tests --bin store-torture -- --engine sled --kills 10000 --opening 2000 --flips 400 --cuts 1000
//! ```
//! `--seed N` repeats a series of choices (not the moments of the kills), `--folder DIR` says where the
//! stores are; what shows a fault stays there. Prints one JSON object; exits 1 when anything was lost.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use tributary_tests::torture::child::{Children, FAULT, REFUSED};
use tributary_tests::torture::work::{self, Finding, Marks, Task};
use tributary_tests::torture::{cuts, flips, kills};

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.split_first() {
        Some((verb, rest)) if verb == "work" => child(&Options::parse(rest)?),
        _ => parent(&Options::parse(&words)?),
    }
}

/// `--name value` pairs.
struct Options(BTreeMap<String, String>);

impl Options {
    const NAMES: [&str; 10] = [
        "engine", "kills", "opening", "flips", "cuts", "seed", "folder", "expected", "batches",
        "marks",
    ];

    fn parse(words: &[String]) -> Result<Self, Failure> {
        let mut options = BTreeMap::new();
        for pair in words.chunks(2) {
            let name = pair[0].strip_prefix("--").unwrap_or_default();
            let (true, Some(value)) = (Self::NAMES.contains(&name), pair.get(1)) else {
                return Err(format!("{:?}: --NAME VALUE with {:?}", pair, Self::NAMES).into());
            };
            options.insert(name.to_owned(), value.clone());
        }
        Ok(Self(options))
    }

    fn text(&self, name: &str) -> Result<&str, Failure> {
        let given = self.0.get(name).map(String::as_str);
        given.ok_or_else(|| format!("--{name} is missing").into())
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, Failure> {
        let given = self.0.get(name).map_or(Ok(default), |text| text.parse());
        given.map_err(|error| format!("--{name}: {error}").into())
    }
}

fn child(options: &Options) -> Result<ExitCode, Failure> {
    let task = Task {
        engine: options.text("engine")?.parse()?,
        folder: options.text("folder")?.into(),
        seed: options.number("seed", 1)?,
        expected: options.text("expected")?.parse()?,
        batches: options.number("batches", 0)?,
    };
    let marks = match options.0.get("marks") {
        Some(path) => Marks::to(std::fs::File::create(path)?),
        None => Marks::to(std::io::stdout()),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    Ok(match runtime.block_on(work::run(&task, &marks)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Finding::Refused(text)) => {
            eprintln!("{text}");
            ExitCode::from(REFUSED)
        }
        Err(Finding::Fault(text)) => {
            eprintln!("{text}");
            ExitCode::from(FAULT)
        }
    })
}

fn parent(options: &Options) -> Result<ExitCode, Failure> {
    let children = Children {
        program: std::env::current_exe()?,
        engine: options.text("engine")?.parse()?,
        seed: options.number("seed", 1)?,
    };
    let temporary = tempfile::tempdir()?;
    let root = match options.0.get("folder") {
        Some(folder) => PathBuf::from(folder),
        None => temporary.path().to_owned(),
    };
    std::fs::create_dir_all(&root)?;
    let begun = std::time::Instant::now();
    let mut lost = 0;
    let mut report = serde_json::json!({
        "engine": children.engine.to_string(),
        "seed": children.seed,
    });
    let wanted = options.number("kills", 0)?;
    if wanted > 0 {
        let opening = options.number("opening", wanted / 5)?;
        let killed = kills::run(&children, &root, wanted, opening)?;
        lost += killed.faults.len();
        report["kills"] = killed.json();
    }
    let wanted = options.number("flips", 0)?;
    if wanted > 0 {
        let flipped = flips::run(&children, &root, wanted)?;
        lost += flipped.faults.len();
        report["flips"] = flipped.json();
    }
    let wanted = options.number("cuts", 0)?;
    if wanted > 0 {
        let cut = cuts::run(&children, &root, wanted)?;
        lost += cut.faults.len();
        report["cuts"] = cut.json();
    }
    report["seconds"] = begun.elapsed().as_secs().into();
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(ExitCode::from(u8::from(lost > 0)))
}
