//! Parses, calls, renders. Data goes to stdout, logs to stderr, and exit codes are a contract.
