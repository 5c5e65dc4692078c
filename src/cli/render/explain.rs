//! One object for people: what is wanted, what was seen, what each condition says, and what is waited for.
