//! The accepted specs. The newest is the last good one: it is what a restart with a broken file works with.

use std::{collections::BTreeMap, path::PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension as _, Row, Transaction, params};

use super::{
    database::WriteError,
    value::{At, Count, Json},
};
use crate::model::{Generation, SpecDigest};

/// A spec that was found valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedSpec {
    /// SHA-256 of the effective spec.
    pub digest: SpecDigest,
    /// The effective spec, as JSON of [`crate::spec::Spec`].
    pub canonical: String,
    /// The files that it was made of, with their text.
    pub sources: BTreeMap<PathBuf, String>,
    /// The git commit of the files, if they are under git.
    pub revision: Option<String>,
}

/// A generation without its texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationEntry {
    /// Its number.
    pub generation: Generation,
    /// SHA-256 of the effective spec.
    pub digest: SpecDigest,
    /// The git commit of the files, if they were under git.
    pub revision: Option<String>,
    /// When it was accepted.
    pub accepted_at: Timestamp,
}

/// The number and digest of the present generation.
pub(super) fn newest(connection: &Connection) -> rusqlite::Result<Option<(Generation, SpecDigest)>> {
    connection
        .query_row("SELECT number, digest FROM generation ORDER BY number DESC LIMIT 1", [], |row| {
            Ok((Generation(row.get::<_, Count>(0)?.0), SpecDigest(row.get(1)?)))
        })
        .optional()
}

/// Writes a new generation, unless the digest is the present one's.
pub(super) fn accept(transaction: &Transaction<'_>, spec: &AcceptedSpec, at: Timestamp) -> Result<Generation, WriteError> {
    let present = newest(transaction)?;
    if let Some((generation, digest)) = &present
        && *digest == spec.digest
    {
        return Ok(*generation);
    }
    let next = Generation(present.map_or(0, |(generation, _)| generation.0) + 1);
    transaction.execute(
        "INSERT INTO generation (number, digest, canonical, sources, revision, accepted_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![Count(next.0), spec.digest.0, spec.canonical, Json(&spec.sources), spec.revision, At(at)],
    )?;
    Ok(next)
}

/// A generation with its texts; without a number, the newest.
pub(super) fn spec(connection: &Connection, number: Option<Generation>) -> rusqlite::Result<Option<(GenerationEntry, AcceptedSpec)>> {
    connection
        .query_row(
            "SELECT number, digest, revision, accepted_at, canonical, sources FROM generation
             WHERE ?1 IS NULL OR number = ?1 ORDER BY number DESC LIMIT 1",
            params![number.map(|number| Count(number.0))],
            |row| {
                let entry = entry(row)?;
                let spec = AcceptedSpec {
                    digest: entry.digest.clone(),
                    canonical: row.get(4)?,
                    sources: row.get::<_, Json<_>>(5)?.0,
                    revision: entry.revision.clone(),
                };
                Ok((entry, spec))
            },
        )
        .optional()
}

/// All generations that are kept, newest first.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<GenerationEntry>> {
    connection.prepare("SELECT number, digest, revision, accepted_at FROM generation ORDER BY number DESC")?.query_map([], entry)?.collect()
}

/// Forgets all but the newest `keep`.
pub(super) fn prune(transaction: &Transaction<'_>, keep: u32) -> Result<(), WriteError> {
    transaction.execute(
        "DELETE FROM generation WHERE number IN (SELECT number FROM generation ORDER BY number DESC LIMIT -1 OFFSET ?1)",
        params![keep],
    )?;
    Ok(())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<GenerationEntry> {
    Ok(GenerationEntry {
        generation: Generation(row.get::<_, Count>(0)?.0),
        digest: SpecDigest(row.get(1)?),
        revision: row.get(2)?,
        accepted_at: row.get::<_, At>(3)?.0,
    })
}
