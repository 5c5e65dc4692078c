//! Readings of usage windows, one file for each source.
