//! The dependency graph as `cargo metadata` prints it.

use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// Packages by id, and what each is built from.
pub(crate) struct Graph {
    pub(crate) packages: BTreeMap<String, Package>,
    edges: BTreeMap<String, Vec<Edge>>,
}

#[derive(Deserialize)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: Option<String>,
    /// `None` for crates of this workspace.
    pub(crate) source: Option<String>,
}

struct Edge {
    to: String,
    /// Used by tests alone.
    dev: bool,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dep>,
}

#[derive(Deserialize)]
struct Dep {
    pkg: String,
    dep_kinds: Vec<DepKind>,
}

#[derive(Deserialize)]
struct DepKind {
    kind: Option<String>,
}

impl Graph {
    /// Reads the JSON of `cargo metadata --format-version 1`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let metadata: Metadata = serde_json::from_str(text).context("cargo metadata's JSON")?;
        let edge = |dep: Dep| {
            let dev = dep.dep_kinds.iter().all(|kind| kind.kind.as_deref() == Some("dev"));
            Edge { to: dep.pkg, dev }
        };
        let nodes = metadata.resolve.nodes.into_iter();
        let edges =
            nodes.map(|node| (node.id, node.deps.into_iter().map(edge).collect())).collect();
        let packages = metadata.packages.into_iter().map(|p| (p.id.clone(), p)).collect();
        Ok(Self { packages, edges })
    }

    /// Crates of this workspace.
    pub(crate) fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.source.is_none())
    }

    /// What a package uses directly, tests left out.
    pub(crate) fn uses<'a>(&'a self, package: &Package) -> impl Iterator<Item = &'a Package> {
        let edges = self.edges.get(&package.id).map(Vec::as_slice).unwrap_or_default();
        edges.iter().filter(|edge| !edge.dev).filter_map(|edge| self.packages.get(&edge.to))
    }

    /// The package and everything below it that is built into it, tests left out.
    pub(crate) fn below<'a>(&'a self, package: &'a Package) -> Vec<&'a Package> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        let mut open = vec![package];
        while let Some(package) = open.pop() {
            if seen.insert(&package.id) {
                found.push(package);
                open.extend(self.uses(package));
            }
        }
        found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        found
    }
}

/// A graph of `name -> uses`; names with the prefix `hearth-` are ours. For tests of the rules.
#[cfg(test)]
pub(crate) fn of(uses: &[(&str, &[&str])]) -> Graph {
    let package = |name: &str| Package {
        id: name.to_owned(),
        name: name.to_owned(),
        version: "1.0.0".to_owned(),
        license: Some("MIT".to_owned()),
        source: (!name.starts_with("hearth-")).then(|| super::sources::CRATES_IO.to_owned()),
    };
    let edge = |to: &&str| Edge { to: (*to).to_owned(), dev: false };
    let mut graph = Graph { packages: BTreeMap::new(), edges: BTreeMap::new() };
    for (name, below) in uses {
        graph.edges.insert((*name).to_owned(), below.iter().map(edge).collect());
        for name in below.iter().chain([name]) {
            graph.packages.insert((*name).to_owned(), package(name));
        }
    }
    graph
}
