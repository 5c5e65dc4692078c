//! File watching: events are hints to look again, never facts.
