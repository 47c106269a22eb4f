//! The real `tributary serve` as a process that can be killed.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use super::{GLANCE, PATIENCE};

/// A serving process.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub address: String,
    /// Where its admin page is.
    admin: String,
}

impl Process {
    /// Starts `tributary serve` on a folder and an address, and waits until it serves.
    pub fn serve(data: &Path, listen: &str) -> Self {
        Self::serve_logging(data, listen, Stdio::null())
    }

    /// The same with its log, which panics would be in.
    pub fn serve_logging(data: &Path, listen: &str, log: impl Into<Stdio>) -> Self {
        Self::serve_within::<&str, &str>(data, listen, log, [])
    }

    /// The same with more in its environment.
    pub fn serve_within<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        data: &Path,
        listen: &str,
        log: impl Into<Stdio>,
        environment: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut child = Command::new(binary())
            .args([
                "--format",
                "json",
                "serve",
                "--listen",
                listen,
                "--admin",
                "127.0.0.1:0",
            ])
            .arg("--data")
            .arg(data)
            .env_remove("RUST_LOG")
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let announced: serde_json::Value = serde_json::from_str(&line)
            .unwrap_or_else(|error| panic!("serve announced {line:?}: {error}"));
        let address = |name: &str| announced[name].as_str().unwrap().to_owned();
        Self {
            child,
            address: address("listen"),
            admin: address("admin"),
        }
    }

    /// Status and body of a page of its admin address; none when it does not answer.
    pub fn page(&self, path: &str) -> Option<(u16, String)> {
        let answer = self.fetch(path)?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    fn fetch(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.admin).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// Waits until it ends by itself.
    pub fn ended(&mut self) -> ExitStatus {
        let begun = std::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(GLANCE);
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its admin page is.
    pub fn admin(&self) -> std::net::SocketAddr {
        self.admin.parse().unwrap()
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether it has not ended by itself.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// `kill -9`.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.address.clone()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // it may have been killed already
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The real program, for a command that runs to its end.
pub fn tributary() -> Command {
    let mut command = Command::new(binary());
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    command
}

/// The program beside this test's folder; built when it is not there.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let program = profile.join(format!("tributary{}", std::env::consts::EXE_SUFFIX));
    if !serves(&program) {
        let mut build = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        build.args(["build", "--quiet", "--package", "tributary"]);
        match profile.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => {}
            Some(name) => {
                build.args(["--profile", name]);
            }
        }
        let built = build
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(built.success(), "`cargo build --package tributary` failed");
    }
    program
}

fn serves(program: &Path) -> bool {
    let asked = Command::new(program).args(["serve", "--help"]).output();
    asked.is_ok_and(|answer| answer.status.success())
}
