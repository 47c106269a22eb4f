//! Invariant 10 for whoever starts a server.

use std::sync::Arc;

use tributary_coordinator::{Server, ServerConfig, ServerError};

use crate::harness::coordinator::any_port;
use crate::harness::{Coordinator, Recipe};

async fn refused(config: ServerConfig) -> ServerError {
    match Server::start(config).await {
        Ok(server) => panic!("a server started at {}", server.listen_addr()),
        Err(error) => error,
    }
}

fn assert_words(error: &ServerError, words: &[&str]) {
    let text = error.to_string();
    for word in words {
        assert!(text.contains(word), "{word:?} is missing in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_addresses_that_can_not_be_served_are_refused_by_flag() {
    let folder = tempfile::tempdir().unwrap();
    let config = |listen: &str, admin: &str| ServerConfig {
        admin: Some(admin.parse().unwrap()),
        ..ServerConfig::new(folder.path().join("data"), listen.parse().unwrap())
    };
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let error = refused(config(&taken, "127.0.0.1:0")).await;
    assert!(matches!(error, ServerError::Bind { .. }), "{error}");
    assert_words(&error, &["--listen", &taken, "choose a free port"]);
    let error = refused(config("127.0.0.1:0", &taken)).await;
    assert_words(&error, &["--admin", &taken, "choose a free port"]);
    for (listen, admin, flag) in [
        ("0.0.0.0:0", "127.0.0.1:0", "--listen"),
        ("[::]:0", "127.0.0.1:0", "--listen"),
        ("127.0.0.1:0", "0.0.0.0:0", "--admin"),
    ] {
        let error = refused(config(listen, admin)).await;
        assert!(matches!(error, ServerError::NotLoopback { .. }), "{error}");
        assert_words(&error, &[flag, "loopback", "use 127.0.0.1"]);
    }
    assert!(
        !folder.path().join("data").exists(),
        "a refused server leaves no folder behind"
    );
    drop(holder);
    let server = Server::start(config(&taken, "127.0.0.1:0")).await.unwrap();
    assert_eq!(server.listen_addr().to_string(), taken);
    server.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invariant_10_folders_of_others_are_refused_and_left_as_they_are() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let run = operator.start(&Recipe::new()).await;
    let data = coordinator.data();
    let config = || ServerConfig::new(data.clone(), any_port());
    let error = refused(config()).await;
    assert_words(
        &error,
        &["data folder", "in use by another process", "stop it"],
    );

    let folder = coordinator.crash();
    let format = data.join("meta/FORMAT");
    let ours = std::fs::read(&format).unwrap();
    for (text, words) in [
        (
            "tributary-store 999\n",
            ["format 999", "use the version of Tributary that wrote it"],
        ),
        ("something else", ["data folder", "meta"]),
    ] {
        std::fs::write(&format, text).unwrap();
        let error = loop {
            // the crashed server may hold the folder for a moment
            let error = refused(config()).await;
            if !error.to_string().contains("in use") {
                break error;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        assert_words(&error, &words);
        assert_eq!(
            std::fs::read_to_string(&format).unwrap(),
            text,
            "it is left as it was"
        );
    }
    std::fs::write(&format, ours).unwrap();
    let coordinator = Coordinator::open(folder, 2).await;
    let runs = coordinator.operator().await.runs().await;
    assert_eq!(runs.len(), 1);
    assert_eq!(runs[0].run_id, run);

    let foreign = Arc::new(tempfile::tempdir().unwrap());
    std::fs::create_dir_all(foreign.path().join("data/meta")).unwrap();
    std::fs::write(foreign.path().join("data/meta/thesis.tex"), "precious").unwrap();
    let error = match Coordinator::try_open(foreign.clone(), 1).await {
        Ok(_) => panic!("a folder of another program was taken"),
        Err(error) => error,
    };
    assert_words(
        &error,
        &[
            "not a Tributary store",
            "thesis.tex",
            "choose an empty or a new folder",
        ],
    );
    let kept = std::fs::read_to_string(foreign.path().join("data/meta/thesis.tex")).unwrap();
    assert_eq!(kept, "precious");
}
