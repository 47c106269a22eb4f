//! The modules of a crate: what each defines, passes on and names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree, Visibility};

/// What stands behind a name in a module.
#[derive(Clone, Debug)]
pub enum Meaning {
    /// Something that the module's file defines.
    Defined,
    /// A module below; its number.
    Module(usize),
    /// Another name for a path.
    Alias(Vec<String>),
}

/// One module, in a file of its own or inside another's.
#[derive(Default)]
pub struct Module {
    /// Number of its file.
    pub file: usize,
    /// Number of the module that holds it.
    pub parent: Option<usize>,
    /// Its names.
    pub names: BTreeMap<String, Meaning>,
    /// Paths whose names it takes all.
    pub globs: Vec<Vec<String>>,
    /// Paths that its code names.
    pub named: Vec<Vec<String>>,
}

/// One file.
pub struct File {
    /// From the workspace's folder.
    pub path: String,
    /// Its text.
    pub text: String,
    /// Functions: name and lines.
    pub functions: Vec<(String, usize)>,
}

/// A library or a program.
pub struct Crate {
    /// Its modules; the first is the root.
    pub modules: Vec<Module>,
    /// Its files; the first is the root's.
    pub files: Vec<File>,
}

/// Folders of the workspace's members, from the list in its manifest.
pub fn members(root: &Path) -> Result<Vec<String>> {
    let manifest =
        std::fs::read_to_string(root.join("Cargo.toml")).context("reading Cargo.toml")?;
    let list = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once(']'))
        .context("Cargo.toml has a list of members")?
        .0;
    Ok(list
        .split(',')
        .map(|word| word.trim().trim_matches('"').to_owned())
        .filter(|word| !word.is_empty())
        .collect())
}

/// Root files of a package.
pub fn roots(folder: &Path) -> Vec<PathBuf> {
    let source = folder.join("src");
    let mut found: Vec<PathBuf> = ["lib.rs", "main.rs"]
        .iter()
        .map(|name| source.join(name))
        .filter(|path| path.is_file())
        .collect();
    if let Ok(entries) = std::fs::read_dir(source.join("bin")) {
        let mut programs: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        programs.retain(|path| path.extension().is_some_and(|end| end == "rs"));
        programs.sort();
        found.append(&mut programs);
    }
    found
}

impl Crate {
    /// Reads the crate that begins with the file `entry`.
    pub fn read(root: &Path, entry: &Path) -> Result<Self> {
        let mut krate = Self {
            modules: Vec::new(),
            files: Vec::new(),
        };
        let below = entry
            .parent()
            .context("a source lies in a folder")?
            .to_owned();
        krate.file(root, entry, &below, None)?;
        Ok(krate)
    }

    /// Reads a file as a module; `below` is the folder of the modules that it names.
    fn file(
        &mut self,
        root: &Path,
        path: &Path,
        below: &Path,
        parent: Option<usize>,
    ) -> Result<usize> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        let parsed =
            syn::parse_file(&text).with_context(|| format!("parsing {}", path.display()))?;
        let shown = path.strip_prefix(root).unwrap_or(path);
        let file = self.files.len();
        self.files.push(File {
            path: shown.display().to_string(),
            text,
            functions: Vec::new(),
        });
        self.items(root, &parsed.items, below, file, parent)
    }

    fn items(
        &mut self,
        root: &Path,
        items: &[Item],
        below: &Path,
        file: usize,
        parent: Option<usize>,
    ) -> Result<usize> {
        let number = self.modules.len();
        self.modules.push(Module {
            file,
            parent,
            ..Module::default()
        });
        for item in items {
            if attributes(item).iter().any(is_test) {
                continue;
            }
            match item {
                Item::Mod(module) => {
                    let name = module.ident.to_string();
                    let folder = below.join(&name);
                    let child = match &module.content {
                        Some((_, items)) => self.items(root, items, &folder, file, Some(number))?,
                        None => {
                            let beside = below.join(format!("{name}.rs"));
                            let path = if beside.is_file() {
                                beside
                            } else {
                                folder.join("mod.rs")
                            };
                            self.file(root, &path, &folder, Some(number))?
                        }
                    };
                    self.modules[number]
                        .names
                        .insert(name, Meaning::Module(child));
                }
                Item::Use(import) => {
                    let passed_on = !matches!(import.vis, Visibility::Inherited);
                    self.import(number, &import.tree, &mut Vec::new(), passed_on);
                }
                _ => {
                    if let Some(name) = defined(item) {
                        self.modules[number].names.insert(name, Meaning::Defined);
                    }
                    let mut reader = Reader::default();
                    reader.visit_item(item);
                    self.modules[number].named.append(&mut reader.named);
                    self.files[file].functions.append(&mut reader.functions);
                }
            }
        }
        Ok(number)
    }

    fn import(&mut self, at: usize, tree: &UseTree, path: &mut Vec<String>, passed_on: bool) {
        match tree {
            UseTree::Path(step) => {
                path.push(step.ident.to_string());
                self.import(at, &step.tree, path, passed_on);
                path.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(at, tree, path, passed_on);
                }
            }
            UseTree::Glob(_) => self.modules[at].globs.push(path.clone()),
            UseTree::Name(name) => self.alias(
                at,
                name.ident.to_string(),
                name.ident.to_string(),
                path,
                passed_on,
            ),
            UseTree::Rename(rename) => self.alias(
                at,
                rename.ident.to_string(),
                rename.rename.to_string(),
                path,
                passed_on,
            ),
        }
    }

    fn alias(&mut self, at: usize, name: String, shown: String, path: &[String], passed_on: bool) {
        let mut target = path.to_vec();
        let mut shown = shown;
        if name == "self" {
            if shown == "self" {
                shown = path.last().cloned().unwrap_or_default();
            }
        } else {
            target.push(name);
        }
        let module = &mut self.modules[at];
        if !passed_on {
            module.named.push(target.clone());
        }
        if shown != "_" && target.as_slice() != [shown.clone()] {
            module.names.entry(shown).or_insert(Meaning::Alias(target));
        }
    }
}

/// Collects the paths that code names and the lengths of its functions.
#[derive(Default)]
struct Reader {
    named: Vec<Vec<String>>,
    functions: Vec<(String, usize)>,
}

impl Reader {
    fn function(&mut self, name: String, block: &syn::Block) {
        let span = block.brace_token.span;
        let lines = span.close().end().line - span.open().start().line + 1;
        self.functions.push((name, lines));
    }

    /// Paths in what a macro is given: names joined by `::`, and single ones.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        self.named.push(std::mem::take(&mut path));
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    if !path.is_empty() {
                        self.named.push(std::mem::take(&mut path));
                    }
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        if !path.is_empty() {
            self.named.push(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes(item).iter().any(is_test) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, import: &'ast syn::ItemUse) {
        // an import inside a function
        let mut trees = vec![(Vec::new(), &import.tree)];
        while let Some((mut path, tree)) = trees.pop() {
            match tree {
                UseTree::Path(step) => {
                    path.push(step.ident.to_string());
                    trees.push((path, &step.tree));
                }
                UseTree::Group(group) => {
                    trees.extend(group.items.iter().map(|tree| (path.clone(), tree)));
                }
                UseTree::Name(name) => {
                    path.push(name.ident.to_string());
                    self.named.push(path);
                }
                UseTree::Rename(rename) => {
                    path.push(rename.ident.to_string());
                    self.named.push(path);
                }
                UseTree::Glob(_) => self.named.push(path),
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let steps = path.segments.iter().map(|step| step.ident.to_string());
        self.named.push(steps.collect());
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(item.sig.ident.to_string(), &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !item.attrs.iter().any(is_test) {
            self.function(item.sig.ident.to_string(), &item.block);
            visit::visit_impl_item_fn(self, item);
        }
    }
}

fn is_test(attribute: &Attribute) -> bool {
    let path = attribute.path();
    if path.is_ident("test") {
        return true;
    }
    path.is_ident("cfg")
        && attribute
            .meta
            .require_list()
            .is_ok_and(|list| list.tokens.to_string() == "test")
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn defined(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
