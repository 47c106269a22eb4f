//! Arrows between files and the circles in them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::resolve;
use super::source::Crate;

/// Which file names something of which other, and one example of what.
pub struct Graph<'a> {
    krate: &'a Crate,
    arrows: BTreeMap<usize, BTreeMap<usize, String>>,
}

/// Files that all reach each other.
pub struct Circle {
    /// Their paths.
    pub files: Vec<String>,
    /// The shortest way round: one arrow a line.
    pub shortest: Vec<String>,
}

impl<'a> Graph<'a> {
    /// The arrows of a crate.
    pub fn of(krate: &'a Crate) -> Self {
        let mut arrows: BTreeMap<usize, BTreeMap<usize, String>> = BTreeMap::new();
        for (number, module) in krate.modules.iter().enumerate() {
            for path in &module.named {
                let Some(target) = resolve::file_of(krate, number, path) else {
                    continue;
                };
                if target != module.file {
                    let from = arrows.entry(module.file).or_default();
                    from.entry(target).or_insert_with(|| path.join("::"));
                }
            }
        }
        Self { krate, arrows }
    }

    /// Number of arrows.
    pub fn arrows(&self) -> usize {
        self.arrows.values().map(BTreeMap::len).sum()
    }

    /// Prints every arrow.
    pub fn print(&self) {
        for (&from, targets) in &self.arrows {
            for &to in targets.keys() {
                println!("    {}", self.shown(from, to));
            }
        }
    }

    /// The circles: sets of two files or more, each of which reaches all others of its set.
    pub fn circles(&self) -> Vec<Circle> {
        let reached: Vec<BTreeSet<usize>> = (0..self.krate.files.len())
            .map(|file| self.reached(file))
            .collect();
        let mut circles = Vec::new();
        let mut placed: BTreeSet<usize> = BTreeSet::new();
        for file in 0..self.krate.files.len() {
            if placed.contains(&file) || !reached[file].contains(&file) {
                continue;
            }
            let set: BTreeSet<usize> = reached[file]
                .iter()
                .copied()
                .filter(|&other| reached[other].contains(&file))
                .collect();
            placed.extend(&set);
            circles.push(Circle {
                files: set.iter().map(|&file| self.path(file)).collect(),
                shortest: self.shortest(&set),
            });
        }
        circles
    }

    fn targets(&self, file: usize) -> impl Iterator<Item = usize> + '_ {
        let targets = self.arrows.get(&file).into_iter();
        targets.flat_map(|targets| targets.keys().copied())
    }

    fn reached(&self, file: usize) -> BTreeSet<usize> {
        let mut reached = BTreeSet::new();
        let mut waiting: Vec<usize> = self.targets(file).collect();
        while let Some(next) = waiting.pop() {
            if reached.insert(next) {
                waiting.extend(self.targets(next));
            }
        }
        reached
    }

    fn shortest(&self, set: &BTreeSet<usize>) -> Vec<String> {
        let ways = set.iter().filter_map(|&file| self.way_round(file, set));
        let Some(way) = ways.min_by_key(Vec::len) else {
            return Vec::new();
        };
        way.windows(2)
            .map(|step| self.shown(step[0], step[1]))
            .collect()
    }

    /// The shortest way from a file back to itself.
    fn way_round(&self, file: usize, set: &BTreeSet<usize>) -> Option<Vec<usize>> {
        let mut came_from: BTreeMap<usize, usize> = BTreeMap::new();
        let mut waiting = VecDeque::from([file]);
        while let Some(next) = waiting.pop_front() {
            for target in self.targets(next).filter(|target| set.contains(target)) {
                if target == file {
                    let mut way = vec![file, next];
                    let mut at = next;
                    while at != file {
                        at = came_from[&at];
                        way.push(at);
                    }
                    way.reverse();
                    return Some(way);
                }
                if target != file && !came_from.contains_key(&target) {
                    came_from.insert(target, next);
                    waiting.push_back(target);
                }
            }
        }
        None
    }

    fn path(&self, file: usize) -> String {
        self.krate.files[file].path.clone()
    }

    fn shown(&self, from: usize, to: usize) -> String {
        let what = &self.arrows[&from][&to];
        format!("{} -> {} ({what})", self.path(from), self.path(to))
    }
}
