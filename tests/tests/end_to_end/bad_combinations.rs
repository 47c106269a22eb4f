//! Options that void each other's guarantee are refused when a run is created, with the reason and the
//! nearest choice that is valid.

use tonic::Code;

use crate::harness::operator::assert_refusal;
use crate::harness::{Coordinator, Recipe};

fn table(text: &str) -> toml::Value {
    let table: toml::Table = toml::from_str(text).unwrap();
    table.into()
}

fn robust(recipe: Recipe) -> Recipe {
    recipe.set("aggregation.mode", "robust")
}

fn algorithm(recipe: Recipe, text: &str) -> Recipe {
    recipe.set("training.algorithm", table(text))
}

fn scaffold() -> Recipe {
    algorithm(Recipe::new(), "kind = 'scaffold'").set("rounds.population", 8)
}

fn local() -> Recipe {
    Recipe::private().set("privacy.mode", "local")
}

fn personal(recipe: Recipe, text: &str) -> Recipe {
    recipe.set("training.personalisation", table(text))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn combinations_that_void_a_guarantee_are_refused_with_a_way_out() {
    let coordinator = Coordinator::start().await;
    let operator = coordinator.operator().await;
    let (new, private) = (Recipe::new, Recipe::private);
    let bulyan = "kind = 'bulyan'";
    let cases: Vec<(Recipe, &[&str])> = vec![
        // privacy
        (
            private().set("training.codec", "int8+zstd"),
            &["training.codec", "shrinks", "leave +zstd out"],
        ),
        (
            private().set("privacy.answer_window_ms", vec![40, 20]),
            &["privacy.answer_window_ms", "later end"],
        ),
        (
            private().set("privacy.answer_window_ms", vec![20, 40_000]),
            &["privacy.answer_window_ms", "rounds.deadline_ms", "end it earlier"],
        ),
        (
            private().set("privacy.answer_time", "as-trained"),
            &["privacy.answer_window_ms", "no moment is drawn"],
        ),
        (
            new().set("privacy.answer_time", "as-trained"),
            &["privacy.answer_time", "privacy.mode is none", "dp"],
        ),
        (
            robust(private()),
            &["aggregation.mode", "guarantee nothing", "use mode mean"],
        ),
        (
            algorithm(private(), "kind = 'fednova'"),
            &["training.algorithm", "numbers of steps", "fedprox"],
        ),
        (
            algorithm(private(), "kind = 'qfedavg'\nq = 1.0"),
            &["training.algorithm", "losses", "privacy.mode to none"],
        ),
        (
            personal(private(), "kind = 'ifca'\nclusters = 2"),
            &["training.personalisation", "private", "region_heads"],
        ),
        (
            private()
                .set("privacy.adaptive_clip", table("count_noise = 0.25"))
                .set("privacy.noise_multiplier", 0.5),
            &["privacy.adaptive_clip", "count_noise"],
        ),
        (
            private().set("privacy.adaptive_clip", table("quantile = 1.0")),
            &["privacy.adaptive_clip", "quantile"],
        ),
        (
            private().set("privacy.adaptive_clip", table("count_noise = 0.0")),
            &["privacy.adaptive_clip", "count_noise"],
        ),
        (
            private().set(
                "privacy.adaptive_clip",
                table("count_noise = 2.0\nrounds = 2"),
            ),
            &[
                "privacy.adaptive_clip.rounds",
                "none trains",
                "rounds.count",
            ],
        ),
        (
            new().set("privacy.adaptive_clip", table("count_noise = 2.0")),
            &["privacy.adaptive_clip", "mode dp", "remove it"],
        ),
        (
            private()
                .set("privacy.adaptive_clip", table("count_noise = 2.0"))
                .set("rounds.staleness_cap", 1),
            &["privacy.adaptive_clip", "staleness_cap"],
        ),
        (
            private()
                .set("privacy.mechanism", "blt")
                .set("privacy.adaptive_clip", table("count_noise = 2.0")),
            &["privacy.adaptive_clip", "one clip", "frozen"],
        ),
        (
            new().set("privacy.mechanism", "tree"),
            &[
                "privacy.mechanism",
                "privacy.mode is not dp",
                "set privacy.mode to dp",
            ],
        ),
        (
            private()
                .set("privacy.mechanism", "blt")
                .set("rounds.staleness_cap", 1),
            &["rounds.staleness_cap", "min_separation", "independent"],
        ),
        (
            personal(
                private().set("privacy.mechanism", "tree"),
                "kind = 'region_heads'\nlayers = ['2.']",
            ),
            &["training.personalisation", "one sum", "independent"],
        ),
        (
            private().rounds(300, 4).set("privacy.mechanism", "blt"),
            &["rounds.max_participations", "300", "256"],
        ),
        (
            local().set(
                "drift",
                table("interval_ms = 1000\nnoise_votes = 2.0\nquantities = [{ source = 'prediction' }]"),
            ),
            &["privacy.mode", "single votes", "privacy.mode to dp"],
        ),
        (
            local().rounds(2, 4_000).set("rounds.over_selection", 4.0),
            &["rounds.over_selection", "16000", "12000"],
        ),
        (
            private()
                .set("privacy.adaptive_clip", table("count_noise = 2.0\nrounds = 1"))
                .set("training.momentum", 0.5),
            &["privacy.adaptive_clip.rounds", "as sent", "remove rounds"],
        ),
        (
            local().set("training.codec", "topk:0.1"),
            &["training.codec", "topk", "privacy.mode local"],
        ),
        (
            local().set("training.momentum", 0.5),
            &["training.algorithm", "momentum", "privacy.mode dp"],
        ),
        (
            robust(local().rounds(2, 6)),
            &["aggregation.mode", "privacy.mode local", "use mode mean"],
        ),
        // rules and what they can bear
        (
            robust(new().rounds(2, 6))
                .set("aggregation.byzantine", 1)
                .set("aggregation.rule", table(bulyan)),
            &["aggregation", "6", "7"],
        ),
        (
            robust(new().rounds(2, 4)).set("aggregation.byzantine", 2),
            &["aggregation", "rounds.minimum"],
        ),
        (
            robust(new().rounds(1, 1)).set("aggregation.byzantine", 1),
            &["aggregation", "round of 1"],
        ),
        (
            robust(new()).set("aggregation.rule", table("kind = 'fltrust'")),
            &["aggregation.trusted", "clean data"],
        ),
        (
            new().set("aggregation.byzantine", 1),
            &["aggregation.byzantine", "mode is mean"],
        ),
        (robust(scaffold()), &["aggregation.mode", "fedprox"]),
        (
            robust(new().set("training.examples_cap", 10)),
            &["aggregation.mode", "examples_cap"],
        ),
        (
            robust(new()).set("rounds.staleness_cap", 2),
            &["aggregation.mode", "staleness_cap to 0"],
        ),
        // rounds that overlap
        (
            new().set("rounds.staleness_cap", 2).seeded(1),
            &["rounds.staleness_cap", "remove the seed"],
        ),
        (
            scaffold().set("rounds.staleness_cap", 2),
            &["training.algorithm", "staleness_cap"],
        ),
        (
            personal(new(), "kind = 'ifca'\nclusters = 2").set("rounds.staleness_cap", 2),
            &["training.personalisation", "staleness_cap"],
        ),
        // halves and groups
        (
            algorithm(new(), "kind = 'feddyn'\nalpha = 0.1"),
            &["server.optimiser", "feddyn", "together"],
        ),
        (
            personal(scaffold(), "kind = 'ditto'\nlambda = 0.1\nepochs = 1"),
            &["training.personalisation", "ditto", "scaffold"],
        ),
        (
            personal(new(), "kind = 'region_heads'\nlayers = ['2.']").set("regions", vec!["eu"]),
            &["training.personalisation", "one region", "fedper"],
        ),
        (
            algorithm(new(), "kind = 'scaffold'"),
            &["rounds.population", "mean over all devices"],
        ),
        (
            scaffold().set("training.examples_cap", 5),
            &["training.examples_cap", "scaffold"],
        ),
        (
            personal(new(), "kind = 'ifca'\nclusters = 2").set("training.codec", "topk:0.1"),
            &["training.codec", "ifca"],
        ),
        (
            robust(new().rounds(2, 6))
                .set("aggregation.rule", table("kind = 'fltrust'"))
                .set("aggregation.pre", toml::Value::Array(Vec::new()))
                .set("aggregation.trusted", "d")
                .set("rounds.min_separation", 2),
            &["aggregation.trusted", "every round", "min_separation"],
        ),
        (
            robust(new().rounds(2, 1))
                .set("aggregation.byzantine", 0)
                .set("aggregation.rule", table("kind = 'fltrust'"))
                .set("aggregation.pre", toml::Value::Array(Vec::new()))
                .set("aggregation.trusted", "d"),
            &["aggregation", "round of 0"],
        ),
        (
            personal(new(), "kind = 'fedper'\nlayers = ['2.']")
                .set("builds.calibration_noise_votes", 2.0),
            &["training.personalisation", "[builds]", "region_heads"],
        ),
        // values
        (
            personal(new(), "kind = 'fedper'\nlayers = ['7.']"),
            &[
                "training.personalisation.layers must be prefixes of the model's tensor paths",
                "got \"7.\", where it has 0.",
            ],
        ),
        (
            personal(new(), "kind = 'fedper'\nlayers = ['']"),
            &["personalisation.layers", "tensor paths"],
        ),
        (
            personal(new(), "kind = 'fedper'\nlayers = ['0.', '2.']"),
            &["personalisation.layers", "leave some"],
        ),
        (
            personal(new(), "kind = 'ifca'\nclusters = 1"),
            &["personalisation.clusters", "2 to 16"],
        ),
        (
            algorithm(new(), "kind = 'fedprox'\nmu = -1.0"),
            &["training.algorithm", "mu", "above 0"],
        ),
        (
            scaffold().set("training.momentum", 0.5),
            &["training.momentum", "scaffold", "fedprox"],
        ),
        (
            algorithm(new(), "kind = 'qfedavg'\nq = 1.0").set("training.examples_cap", 5),
            &["training.examples_cap", "losses"],
        ),
        (
            new().set("training.momentum", 1.0),
            &["training.momentum", "below 1"],
        ),
        (
            new().set("training.examples_cap", 0),
            &["training.examples_cap", "use 1 to"],
        ),
        (
            new().set("training.codec", "topk:0"),
            &["training.codec", "topk"],
        ),
        (
            new().set("training.codec", "eden:9"),
            &["training.codec", "eden"],
        ),
    ];
    for (recipe, named) in cases {
        let refused = operator.refused(&recipe.text()).await;
        assert_refusal(&refused, Code::InvalidArgument, "TRB-0110", named);
    }
    assert!(operator.runs().await.is_empty(), "nothing was started");
}
