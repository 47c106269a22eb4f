//! The recipes that are compiled in, by name.

use crate::attacks::ATTACK_LABORATORY;
use crate::audit::PRIVACY_AUDIT;

/// Names and texts of the experiments that need no file.
pub const BUILT_IN: [(&str, &str); 9] = [
    ("attack-laboratory", ATTACK_LABORATORY),
    (
        "digits-codecs",
        include_str!("../../recipes/digits-codecs.toml"),
    ),
    (
        "digits-iid-dirichlet",
        include_str!("../../recipes/digits-iid-dirichlet.toml"),
    ),
    (
        "digits-non-iid",
        include_str!("../../recipes/digits-non-iid.toml"),
    ),
    (
        "digits-personal",
        include_str!("../../recipes/digits-personal.toml"),
    ),
    (
        "digits-privacy",
        include_str!("../../recipes/digits-privacy.toml"),
    ),
    (
        "digits-robust",
        include_str!("../../recipes/digits-robust.toml"),
    ),
    ("privacy-audit", PRIVACY_AUDIT),
    (
        "watch-by-user",
        include_str!("../../recipes/watch-by-user.toml"),
    ),
];

/// The recipe of that name.
pub fn built_in(name: &str) -> Option<&'static str> {
    let found = BUILT_IN.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}
