//! The documentation holds together: every link leads somewhere, every page is reached from the README, and every condition has a heading.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Markdown file that people read, by its path in the repository.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut files: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from).to_vec();
    let mut directories = vec![PathBuf::from("docs")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root().join(&directory)).expect("the directory can be read") {
            let entry = entry.expect("an entry");
            let path = directory.join(entry.file_name());
            if entry.file_type().expect("its type").is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    files.into_iter().map(|path| (path.clone(), fs::read_to_string(root().join(&path)).expect("the page can be read"))).collect()
}

/// The page without its fenced blocks: what stands in them is no text.
fn prose(page: &str) -> String {
    let mut fenced = false;
    let mut text = String::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The targets of the links `[words](target)` of a page.
fn links(page: &str) -> Vec<String> {
    let text = prose(page);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page's headings, as forges make them: lower case, spaces to hyphens, everything else but letters, digits, `-` and `_` gone.
fn anchors(page: &str) -> BTreeSet<String> {
    let text = prose(page);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchor = |heading: &str| {
        let kept = heading.to_lowercase().chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>();
        kept.replace(' ', "-")
    };
    headings.map(anchor).collect()
}

/// `a/b/../c` as `a/c`, in text.
fn plain(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(resolved.pop()),
            Component::CurDir => {}
            other => resolved.push(other),
        }
    }
    resolved
}

/// Where the relative links of a page lead: page, target in the repository, anchor.
fn relative_links(pages: &BTreeMap<PathBuf, String>) -> Vec<(PathBuf, PathBuf, Option<String>)> {
    let mut found = Vec::new();
    for (page, text) in pages {
        for link in links(text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = match link.split_once('#') {
                Some((path, anchor)) => (path, Some(anchor.to_owned())),
                None => (link.as_str(), None),
            };
            let base = page.parent().unwrap_or(Path::new(""));
            let target = if path.is_empty() { page.clone() } else { plain(&base.join(path)) };
            found.push((page.clone(), target, anchor));
        }
    }
    found
}

#[test]
fn every_relative_link_leads_somewhere() {
    let pages = pages();
    let mut broken = Vec::new();
    for (page, target, anchor) in relative_links(&pages) {
        let shown = page.display();
        if !root().join(&target).exists() {
            broken.push(format!("{shown}: there is no {}", target.display()));
        } else if let (Some(anchor), Some(text)) = (anchor, pages.get(&target))
            && !anchors(text).contains(&anchor)
        {
            broken.push(format!("{shown}: {} has no heading for #{anchor}", target.display()));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_page_is_at_most_two_links_from_the_readme() {
    let pages = pages();
    let links = relative_links(&pages);
    let from =
        |origin: &Path| links.iter().filter(|(page, ..)| page == origin).map(|(_, target, _)| target.clone()).collect::<BTreeSet<_>>();
    let first = from(Path::new("README.md"));
    // A link to a directory counts for its own index only: forges show that one.
    let second: BTreeSet<_> = first.iter().flat_map(|page| from(page)).collect();
    let lost: Vec<_> =
        pages.keys().filter(|page| *page != Path::new("README.md") && !first.contains(*page) && !second.contains(*page)).collect();
    assert!(lost.is_empty(), "not to be found from the README: {lost:?}");
}
